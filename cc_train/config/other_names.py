"""What users of other trainers type, and what it is called here."""

from __future__ import annotations

from typing import Final

#: What to use here, and the options of other trainers for the same thing, spelled with underscores.
_MEANINGS: Final = {
    "no row is cut or filled up with another; --padding-free true computes no padding": (
        "packing neat_packing packing_strategy eval_packing"
    ),
    "--train-sampling-strategy group_by_length": "group_by_length",
    "--max-length": "max_seq_length max_seq_len cutoff_len sequence_len seq_length model_max_length block_size",
    "--model": "model_name_or_path model_name base_model model_path model_id",
    "--data FILE; its columns with --columns FIELD=COLUMN": (
        "dataset dataset_name dataset_dir dataset_path train_file data_path train_data datasets "
        "dataset_text_field prompt_template"
    ),
    "--data ORG/NAME:CONFIGURATION#SPLIT": "dataset_config dataset_train_split subset",
    "--eval-data": "eval_dataset validation_file eval_file dataset_test_split val_data",
    "rows to evaluate on are a file of their own: --eval-data": "val_size validation_split_percentage",
    "--max-rows": "max_samples max_train_samples max_train_rows num_samples",
    "weights are --data A=0.3 B=2": "mix_strategy interleave_probs",
    "--overwrite": "overwrite_output_dir force",
    "--lora-rank": "lora_r peft_r r rank",
    "--lora-target": "lora_target_modules target_modules lora_modules",
    "--lora-rslora": "use_rslora rslora",
    "--lora-dora": "use_dora dora",
    "--tuning lora": "use_peft use_lora peft lora adapter",
    "--tuning full, lora or connection": "finetuning_type train_type tuner_type peft_type",
    "--method cc or sft": "stage task_type",
    "a base of 4 bits is --quantize-base 4bit, with --tuning lora on a GPU": (
        "load_in_4bit quantization_bit quantization_method bits qlora load_in_8bit double_quant"
    ),
    "--attention": "flash_attn attn_implementation attn_impl use_flash_attention_2",
    "--bf16, and --save-dtype": "torch_dtype dtype precision mixed_precision pure_bf16",
    "--warmup-steps, a share if below 1": "warmup_ratio warmup_proportion",
    "--eval-strategy": "evaluation_strategy do_eval eval_interval",
    "--eval-generate N": "predict_with_generate eval_on_generate do_generate log_completions",
    "--eval-max-tokens": "generation_max_length generation_max_new_tokens max_new_tokens",
    "--learning-rate": "lr learning_rate_init",
    "--num-train-epochs": "epochs num_epochs n_epochs train_epochs num_epoch",
    "--max-steps": "steps max_iters num_steps total_steps max_train_steps",
    "--per-device-train-batch-size": (
        "batch_size train_batch_size micro_batch_size per_device_batch_size per_gpu_train_batch_size"
    ),
    "--gradient-accumulation-steps": "grad_accum grad_accumulation_steps accumulation_steps",
    "--lr-scheduler-type": "scheduler lr_scheduler lr_schedule",
    "--optim": "optimizer optimizer_type",
    "--max-grad-norm": "grad_clip gradient_clipping clip_grad_norm max_norm",
    "--gradient-checkpointing": "gradient_checkpoint use_gradient_checkpointing activation_checkpointing",
    "--resume-from-checkpoint": "resume resume_from checkpoint checkpoint_dir",
    "--seed": "random_seed manual_seed",
    "--report-to": "logger wandb tensorboard use_wandb wandb_project swanlab",
    "only answers are trained; --train-turns all trains each of a conversation's": (
        "assistant_only_loss completion_only_loss train_on_inputs train_on_prompt mask_history train_on_source"
    ),
    "the tokenizer's chat template is used; without one, a plain one is, and is saved with the checkpoint": (
        "template chat_template chat_template_path default_system eos_token"
    ),
    """--chat-template-kwargs '{"enable_thinking": false}'""": "enable_thinking thinking reasoning reasoning_effort",
    "--early-stopping-patience": "early_stopping early_stopping_rounds patience early_stopping_steps",
    "report.html in --output has the plots": "plot_loss plot",
    "rows are kept on disk, not in memory; --max-rows uses a sample": "streaming buffer_size",
    "rows are encoded by one process": "dataset_num_proc preprocessing_num_workers num_proc",
    "--output": "export_dir output_path save_path out output_directory save_dir",
    "models here read text only": "freeze_vision_tower train_mm_proj_only",
    "--loss-chunk bounds the memory of the loss": "loss_type use_liger enable_liger_kernel liger",
    "--neftune-noise-alpha": "neftune_alpha noise_alpha",
    "an adapter is on linear layers only: --lora-target": "additional_target modules_to_save",
}
_BY_NAME: Final = {name: meaning for meaning, names in _MEANINGS.items() for name in names.split()}


def other_name(option: str) -> str | None:
    """What to use here for an unknown option of another trainer; None if the name is not known."""
    return _BY_NAME.get(option.lstrip("-").replace("-", "_").lower().removeprefix("no_"))

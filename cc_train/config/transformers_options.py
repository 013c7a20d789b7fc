"""What each of transformers' training options does here: it works, or it is refused by name.

transformers accepts many options that have no effect on a trainer of this kind. Such an option is refused, so that
nobody trains for days with less than they asked for. A test has a row for every field, runs those that work, and fails
when transformers adds one; the reference is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal

from transformers import TrainingArguments


@dataclass(frozen=True)
class Option:
    """One field of `TrainingArguments`.

    Args:
        effect: what the option changes, and so what its test looks at. ``result``: losses, steps, logs or files.
            ``speed``: only time, memory or printed text. ``several``: an effect only with several processes.
            ``accelerator``: an effect only on an accelerator; refused on a CPU. ``elsewhere``: tested by another test,
            which ``note`` names. ``refused``: any other value than the default is an error, and ``note`` says why.
            ``fixed``: set by cc-train.
        sample: a value to test it with, as flags have it.
        beside: other options that the value needs.
        note: for the reference, and for the error.
    """

    effect: Literal["result", "speed", "several", "accelerator", "elsewhere", "refused", "fixed"]
    sample: str = ""
    beside: tuple[str, ...] = ()
    note: str = ""


_EVAL: Final = ("--eval-strategy", "steps", "--eval-steps", "2")
_SAVE: Final = ("--save-strategy", "steps", "--save-steps", "2")


def _result(sample: str, *beside: str, note: str = "") -> Option:
    return Option("result", sample, beside, note)


def _speed(sample: str, *beside: str, note: str = "") -> Option:
    return Option("speed", sample, beside, note)


def _refused(note: str) -> Option:
    return Option("refused", note=note)


_NO_PREDICTIONS: Final = "an evaluation here is a loss, and keeps no predictions"
_NO_LIGER: Final = "its kernels replace the head and the layers that the two passes hook into"
_DISTRIBUTED: Final = "tests/cc_train/training/test_distributed.py"
_HUB: Final = "tests/cc_train/model/test_hub.py"
_STOPPING: Final = "tests/cc_train/training/test_early_stopping.py"
_SERVICE: Final = Option("elsewhere", note="handed to the service that --report-to names")

OPTIONS: Final[Mapping[str, Option]] = {
    "output_dir": Option("elsewhere", note="--output; tests/cc_train/commands/test_main.py"),
    "per_device_train_batch_size": _result("2"),
    "num_train_epochs": _result("1", "--max-steps", "-1"),
    "max_steps": _result("2"),
    "learning_rate": _result("0.02"),
    "lr_scheduler_type": _result("constant"),
    "lr_scheduler_kwargs": _result('{"num_cycles": 2}'),
    "warmup_steps": _result("3"),
    "optim": _result("sgd", note="those of torch; others need their package"),
    "optim_args": _result("momentum=0.9", "--optim", "sgd", note="of sgd, adagrad and rmsprop"),
    "weight_decay": _result("0.5"),
    "adam_beta1": _result("0.5"),
    "adam_beta2": _result("0.5"),
    "adam_epsilon": _result("0.1"),
    "optim_target_modules": _refused("the optimizers that read it (GaLore, APOLLO) are not tested with two passes"),
    "gradient_accumulation_steps": _result("2"),
    "average_tokens_across_devices": Option("several", "false", note=_DISTRIBUTED),
    "max_grad_norm": _result("0.0001", "--optim", "sgd"),
    "label_smoothing_factor": _result("0.5"),
    "bf16": _result("true"),
    "fp16": Option("accelerator", note="a CPU computes it in fp32 without saying so"),
    "bf16_full_eval": _refused("transformers reads it outside of training only"),
    "fp16_full_eval": _refused("transformers reads it outside of training only"),
    "tf32": Option("accelerator", note="a format of NVIDIA GPUs"),
    "gradient_checkpointing": _speed("true"),
    "gradient_checkpointing_kwargs": _speed(
        '{"preserve_rng_state": false}',
        "--gradient-checkpointing",
        note="use_reentrant is always false: the passes' hooks are set again",
    ),
    "torch_compile": _refused("the hooks of the two passes have not been tested under it"),
    "torch_compile_backend": _refused("it turns --torch-compile on"),
    "torch_compile_mode": _refused("it turns --torch-compile on"),
    "use_liger_kernel": _refused(_NO_LIGER),
    "liger_kernel_config": _refused(_NO_LIGER),
    "use_cache": _refused("the passes keep keys and values where they need them"),
    "neftune_noise_alpha": _result("100"),
    "torch_empty_cache_steps": _speed("1"),
    "auto_find_batch_size": _refused("a resumed run would read other batches; set --per-device-train-batch-size"),
    "logging_strategy": _result("epoch"),
    "logging_steps": _result("3"),
    "logging_first_step": _result("true", "--logging-steps", "3"),
    "log_on_each_node": Option("several", "false"),
    "logging_nan_inf_filter": _refused("a loss that is NaN or infinite stops the run"),
    "include_num_input_tokens_seen": _result("true"),
    "log_level": _speed("error"),
    "log_level_replica": Option("several", "error"),
    "disable_tqdm": _speed("false"),
    "report_to": Option("elsewhere", note="tests/cc_train/training/test_trackers.py"),
    "run_name": _SERVICE,
    "project": _SERVICE,
    "trackio_space_id": _SERVICE,
    "trackio_bucket_id": _SERVICE,
    "trackio_static_space_id": _SERVICE,
    "eval_strategy": _result("epoch", note="needs --eval-data"),
    "eval_steps": _result("2", "--eval-strategy", "steps"),
    "eval_delay": _result("2", "--eval-strategy", "steps", "--eval-steps", "1"),
    "per_device_eval_batch_size": _result("3", *_EVAL),
    "prediction_loss_only": Option("fixed", note=_NO_PREDICTIONS),
    "eval_on_start": _result("true", *_EVAL),
    "eval_do_concat_batches": _refused(_NO_PREDICTIONS),
    "eval_use_gather_object": _refused(_NO_PREDICTIONS),
    "eval_accumulation_steps": _refused(_NO_PREDICTIONS),
    "include_for_metrics": _refused(_NO_PREDICTIONS),
    "batch_eval_metrics": _refused(_NO_PREDICTIONS),
    "save_only_model": _result("true", *_SAVE),
    "save_strategy": _result("epoch"),
    "save_steps": _result("1", "--save-strategy", "steps"),
    "save_on_each_node": Option("several", "true"),
    "save_total_limit": _result("1", *_SAVE),
    "enable_jit_checkpoint": _refused("a run that gets SIGTERM saves a checkpoint by itself"),
    "push_to_hub": Option("elsewhere", note=f"the finished checkpoint with its card; {_HUB}"),
    "hub_token": Option("elsewhere", note=_HUB),
    "hub_private_repo": Option("elsewhere", note=_HUB),
    "hub_model_id": Option("elsewhere", note=_HUB),
    "hub_revision": Option("elsewhere", note=_HUB),
    "hub_strategy": _refused("only the finished checkpoint is pushed; what a run saves to resume from holds pickles"),
    "hub_always_push": _refused("only the finished checkpoint is pushed"),
    "load_best_model_at_end": Option("elsewhere", note=_STOPPING),
    "metric_for_best_model": Option("elsewhere", note=f"loss, or score with --eval-generate; {_STOPPING}"),
    "greater_is_better": _result("true", *_EVAL, "--save-strategy", "best", "--metric-for-best-model", "loss"),
    "ignore_data_skip": _refused("a resumed run would read rows again that it was trained on"),
    "restore_callback_states_from_checkpoint": Option("fixed", note="true where there is a patience to resume"),
    "full_determinism": _speed("true"),
    "seed": _result("7"),
    "data_seed": _result("7"),
    "use_cpu": _speed("true"),
    "accelerator_config": Option("several", note="accelerate's; recipes/parallel"),
    "parallelism_config": _refused("tensor and context parallelism split the layers that the two passes hook into"),
    "dataloader_drop_last": _result("true", "--per-device-train-batch-size", "6"),
    "dataloader_num_workers": _speed("1"),
    "dataloader_pin_memory": _speed("false"),
    "dataloader_persistent_workers": _speed("true", "--dataloader-num-workers", "1"),
    "dataloader_prefetch_factor": _speed("3", "--dataloader-num-workers", "1"),
    "dataloader_multiprocessing_context": _speed("fork", "--dataloader-num-workers", "1"),
    "dataloader_in_order": _speed("false", "--dataloader-num-workers", "1"),
    "remove_unused_columns": Option("fixed", note="the collator needs every column"),
    "label_names": _refused("labels are made by the collator"),
    "train_sampling_strategy": _result("group_by_length"),
    "length_column_name": _refused("lengths are counted, not read"),
    "ddp_find_unused_parameters": Option("several", "true", note=_DISTRIBUTED),
    "ddp_bucket_cap_mb": Option("several", "1"),
    "ddp_broadcast_buffers": Option("several", "true"),
    "ddp_static_graph": Option("several", "true"),
    "ddp_backend": Option("several", note=_DISTRIBUTED),
    "ddp_timeout": Option("several", "60"),
    "fsdp": Option("several", note=_DISTRIBUTED),
    "fsdp_config": Option("several", note=_DISTRIBUTED),
    "deepspeed": Option("several", note=_DISTRIBUTED),
    "debug": _refused("transformers' detectors hook into a forward pass of their own; a broken loss names its rows"),
    "skip_memory_metrics": _refused("its figures are logged by a trainer that is called otherwise"),
    "do_train": _refused("cc-train run always trains"),
    "do_eval": _refused("--eval-strategy says when"),
    "do_predict": _refused("cc-train eval answers"),
    "resume_from_checkpoint": Option("elsewhere", note="tests/cc_train/training/test_resume.py"),
    "local_rank": _refused("accelerate's launcher sets it"),
}


def refused_option(values: Mapping[str, Any]) -> str | None:
    """The error for the first option that has no effect here; None if every one has.

    Args:
        values: of the fields, by name; those left out have their defaults.
    """
    for option in fields(TrainingArguments):
        known = OPTIONS.get(option.name)
        if option.name not in values or known is None or known.effect != "refused":
            continue
        default = option.default if option.default_factory is MISSING else option.default_factory()
        value = values[option.name]
        if (value or default) and value not in (default, getattr(default, "value", default)):
            return f"--{option.name.replace('_', '-')} has no use here: {known.note}"
    return None

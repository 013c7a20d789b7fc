"""One training run, from rows to the deployable checkpoint: read, train, save, fit, publish."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, set_seed

from cc_train.activations import architecture_of
from cc_train.architectures import base_architecture
from cc_train.chat import ChatEncoder
from cc_train.checkpoint import CONFIG_KEY, save_connection
from cc_train.config import RunConfig, UsageError
from cc_train.connection import DecisionMaker
from cc_train.data import Example, PairCollator, PairDataset
from cc_train.fit import fit_connection
from cc_train.load import load_examples, require_connected
from cc_train.pairs import pair_counts
from cc_train.parallel import ParallelModel
from cc_train.rows import SkippedRow
from cc_train.trainer import ConnectionTrainer
from cc_train.workspace import Workspace

SKIPPED_FILE = "cc_skipped_rows.jsonl"
STATE_FILE = "trainer_state.json"
NOTICES = re.compile(r"licen[cs]e|notice|terms|use_policy", re.IGNORECASE)


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Args:
        directory: the finished checkpoint.
        method: ``cc`` or ``sft``.
        loss: mean training loss, nats per answer token.
        examples: trained rows by language.
        fit: `cc_train.fit_report.score_transforms`; empty for ``sft``.
        skipped: rows that were not used, of the evaluation's too.
    """

    directory: Path
    method: str
    loss: float
    examples: dict[str, int]
    fit: dict[str, Any]
    skipped: list[SkippedRow]


def run(config: RunConfig, say: Callable[[str], object] = lambda _line: None) -> RunResult:
    """Train, and fit; the output directory appears when everything in it is written.

    Args:
        config: from `cc_train.config.parse_run`.
        say: receives what a person should read meanwhile, line by line.

    Raises:
        UsageError, DataError, ChatError, OutputError, UnsupportedArchitectureError: the input is wrong.
        TrainingError, FitError: the loss or the activations are no numbers, or nothing determines a matrix.
    """
    training = config.training
    workspace = Workspace(config.output, overwrite=training.overwrite, keep=training.resume_from_checkpoint)
    set_seed(training.seed)
    model, tokenizer = load_base(config)
    encoder = ChatEncoder(tokenizer, model.generation_config)
    if encoder.packaged_template:
        say("The tokenizer has no chat template: the packaged plain one is used, and saved with the checkpoint.")
    examples, skipped = _load(config.data.data, config, encoder, say)
    if config.method.method == "cc":
        require_connected(examples)
    evaluation: list[Example] = []
    if config.data.eval_data:
        evaluation, unusable = _load(config.data.eval_data, config, encoder, say)
        skipped += unusable

    directory = workspace.directory
    if training.should_save:
        workspace.open()
        _write_skipped(directory, skipped)
    training.output_dir = str(directory)
    trainer = _make_trainer(config, model, encoder, examples, evaluation)
    outcome = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    decision = trainer.save_final(directory, config.save_dtype)
    fit: dict[str, Any] = {}
    if training.should_save:
        trainer.state.save_to_json(str(directory / STATE_FILE))
        tokenizer.save_pretrained(directory)
        copy_notices(Path(config.model.model), directory)
        if decision is not None:
            decision = decision.cpu()
            device = training.device
            del trainer, model  # the fit needs the room
            fit = _fit(config, directory, decision, examples, encoder, device)
        workspace.publish()
    return RunResult(workspace.output, config.method.method, outcome.training_loss, pair_counts(examples), fit, skipped)


def load_base(config: RunConfig) -> tuple[PreTrainedModel, Any]:
    """The model to train, fp32, and its tokenizer.

    Raises:
        UsageError: the directory does not hold them.
        UnsupportedArchitectureError: the model cannot be connected.
    """
    name = config.model.model
    try:
        model = _load_model(name, torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except SafetensorError as error:
        raise UsageError(f"--model {name}: its weights are truncated or corrupt ({error}); copy it again") from error
    except RuntimeError as error:
        raise UsageError(f"--model {name}: its weights do not fit its config.json: {_one_line(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        where = "" if Path(name).is_dir() else "no such directory, and "
        raise UsageError(f"--model {name}: {where}cannot be loaded: {_one_line(error)}") from error
    if config.method.method == "cc":
        base_architecture(architecture_of(model))
    if hasattr(model.config, CONFIG_KEY):
        delattr(model.config, CONFIG_KEY)  # a tuned checkpoint's connection does not fit the weights that come of it
    if config.model.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    return model, tokenizer


def _load_model(path: str | Path, dtype: torch.dtype) -> PreTrainedModel:
    # Eager attention is the only one of transformers that caps attention scores, as Gemma 2 does.
    capped = getattr(AutoConfig.from_pretrained(path), "attn_logit_softcapping", None)
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager" if capped else None)


def copy_notices(model: Path, directory: Path) -> None:
    """Copy the base model's licence files, which a model that is made of it must carry."""
    if model.is_dir():
        for path in model.iterdir():
            if path.is_file() and NOTICES.search(path.name):
                shutil.copyfile(path, directory / path.name)


def _load(
    given: list[str], config: RunConfig, encoder: ChatEncoder, say: Callable[[str], object]
) -> tuple[list[Example], list[SkippedRow]]:
    return load_examples(
        given,
        encoder,
        columns=config.data.columns,
        max_length=config.data.max_length,
        max_rows=config.data.max_rows,
        anchor_offset=config.method.anchor_offset,
        seed=config.training.seed,
        say=say,
        shows_progress=not config.training.disable_tqdm,
    )


def _make_trainer(
    config: RunConfig,
    model: PreTrainedModel,
    encoder: ChatEncoder,
    examples: list[Example],
    evaluation: list[Example],
) -> ConnectionTrainer:
    method = config.method
    decision = None
    if method.method == "cc":
        decision = DecisionMaker(
            model.config.num_hidden_layers, model.config.hidden_size, normalize=method.decision_normalize
        )
    parallel = ParallelModel(
        model,
        decision,
        temperature=method.gumbel_temperature,
        anchor_offset=method.anchor_offset,
        label_smoothing=config.training.label_smoothing_factor,
    )
    return ConnectionTrainer(
        parallel,
        config.training,
        PairDataset(examples),
        PairCollator(encoder.pad_id, method.anchor_offset),
        eval_dataset=PairDataset(evaluation) if evaluation else None,
        decision_learning_rate=method.decision_learning_rate,
    )


def _fit(
    config: RunConfig,
    directory: Path,
    decision: torch.Tensor,
    examples: list[Example],
    encoder: ChatEncoder,
    device: torch.device,
) -> dict[str, Any]:
    """Fit on the model as it was saved, write the connection, and report on held-out pairs."""
    # A CPU computes in fp32 what an accelerator computes in the saved type; the weights are the saved ones on both.
    dtype = torch.float32 if device.type == "cpu" else config.save_dtype
    model = _load_model(directory, dtype).eval()
    model.to(device)  # type: ignore[arg-type]
    fitted = fit_connection(
        model,
        decision,
        examples,
        encoder.pad_id,
        config.fit.settings(),
        directory=directory,
        anchor_offset=config.method.anchor_offset,
        batch_size=config.fit.fit_batch_size,
        seed=config.training.seed,
        shows_progress=not config.training.disable_tqdm,
    )
    details = {
        "method": config.method.method,
        "base_model": Path(config.model.model).name,
        "seed": config.training.seed,
        "fit": fitted.details(),
    }
    save_connection(directory, fitted.connection, fitted.languages, details)
    fitted.write_facts(directory)
    return fitted.facts["scores"]


def _write_skipped(directory: Path, skipped: list[SkippedRow]) -> None:
    if skipped:
        lines = [json.dumps({"file": s.file, "line": s.line, "reason": s.reason}, ensure_ascii=False) for s in skipped]
        (directory / SKIPPED_FILE).write_text("\n".join(lines) + "\n", "utf-8")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())

"""One training run, from rows to the deployable checkpoint: read, train, save, fit, publish."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, set_seed

from cc_train.activations import architecture_of
from cc_train.architectures import base_architecture
from cc_train.chat import ChatEncoder
from cc_train.checkpoint import CONFIG_KEY, save_connection
from cc_train.config import RunConfig, UsageError
from cc_train.connection import Connection, DecisionMaker
from cc_train.data import DataError, Example, PairCollator, PairDataset, SkippedRow, encode_rows, read_rows, sample_rows
from cc_train.fit_report import brief, score_transforms
from cc_train.parallel import ParallelModel
from cc_train.trainer import ConnectionTrainer
from cc_train.transform import capture_pairs, fit_transforms, pair_counts, split_pairs
from cc_train.workspace import Workspace

FIT_FILE = "cc_fit.json"
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
    examples, skipped = load_examples(config.data.data, config, encoder, say)
    evaluation: list[Example] = []
    if config.data.eval_data:
        evaluation, unusable = load_examples(config.data.eval_data, config, encoder, say)
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


def load_examples(
    paths: list[str], config: RunConfig, encoder: ChatEncoder, say: Callable[[str], object]
) -> tuple[list[Example], list[SkippedRow]]:
    """Read, sample and encode rows; names on ``say`` those that cannot be used.

    Raises:
        DataError: a file cannot be read, or no row can be used.
    """
    rows, skipped = read_rows(paths)
    rows = sample_rows(rows, config.data.max_rows, config.training.seed)
    with _progress("encoding", len(rows), config) as advance:
        examples, unusable = encode_rows(
            _counted(rows, advance), encoder, config.data.max_length, config.method.anchor_offset
        )
    skipped += unusable
    for row in skipped[:20]:
        say(f"skipped {row}")
    if len(skipped) > 20:
        say(f"skipped {len(skipped) - 20} more rows, all listed in {SKIPPED_FILE}")
    say(f"{len(examples)} rows used, {len(skipped)} skipped, from {', '.join(paths)}")
    if not examples:
        raise DataError(f"no row of {', '.join(paths)} can be used")
    return examples, skipped


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
    settings, batch_size, offset = config.fit.settings(), config.fit.fit_batch_size, config.method.anchor_offset
    # A CPU computes in fp32 what an accelerator computes in the saved type; the weights are the saved ones on both.
    dtype = torch.float32 if device.type == "cpu" else config.save_dtype
    model = _load_model(directory, dtype).eval()
    model.to(device)  # type: ignore[arg-type]
    fitted, held_out = split_pairs(examples, settings, config.training.seed)

    def batches(pairs: list[Example]) -> Any:
        return capture_pairs(model, pairs, encoder.pad_id, batch_size=batch_size, anchor_offset=offset)

    with _progress("fitting", len(fitted), config) as advance:
        transforms = fit_transforms(batches(fitted), pair_counts(fitted), settings, advance)
    connection = Connection(decision, transforms, anchor_offset=offset)
    with _progress("scoring", len(held_out), config) as advance:
        report = score_transforms(
            ParallelModel(model, None).eval(), connection, batches(held_out), encoder.pad_id, advance
        )
    facts = {"fitted_pairs": pair_counts(fitted), "held_out_pairs": pair_counts(held_out), "ridge": settings.ridge}
    details = {
        "method": config.method.method,
        "base_model": Path(config.model.model).name,
        "seed": config.training.seed,
        "fit": {"pairs": len(fitted), "ridge": settings.ridge, **brief(report)},
    }
    languages = sorted({e.row.lang for e in examples if e.row.connected})
    save_connection(directory, connection, languages, details)
    (directory / FIT_FILE).write_text(json.dumps({**facts, "scores": report}, indent=2) + "\n", "utf-8")
    return report


def _write_skipped(directory: Path, skipped: list[SkippedRow]) -> None:
    if skipped:
        lines = [json.dumps({"file": s.file, "line": s.line, "reason": s.reason}, ensure_ascii=False) for s in skipped]
        (directory / SKIPPED_FILE).write_text("\n".join(lines) + "\n", "utf-8")


@contextmanager
def _progress(what: str, total: int, config: RunConfig) -> Iterator[Callable[[int], object]]:
    """A progress bar, as long as Trainer may show one; gives the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), disable=bool(config.training.disable_tqdm) or not total
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _counted(rows: list, advance: Callable[[int], object]) -> Any:
    for row in rows:
        yield row
        advance(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())

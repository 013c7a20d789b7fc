"""One training run, from rows to the deployable checkpoint: read, train, save, fit, publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, ProgressCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from cc_core.checkpoint import save_connection
from cc_core.terminal.progress import progress
from cc_train.config.run import RunConfig, UsageError
from cc_train.data.chat import ChatEncoder
from cc_train.data.dataset import DataError, Example, PairCollator, PairDataset
from cc_train.data.loading import load_examples, require_connected
from cc_train.data.rows import SkippedRow
from cc_train.fit.fitting import fit_connection
from cc_train.fit.pairs import pair_counts
from cc_train.model.files import copy_notices, load_base, load_tuned, one_line, save_tuned
from cc_train.model.standalone import describe_base, save_alone
from cc_train.model.tuning import Adapter
from cc_train.report.facts import run_facts
from cc_train.report.page import describe
from cc_train.training.extensions import PROJECTION_PROMPTS, ExtendedDecisionMaker, initial_projection
from cc_train.training.precompute import MOST_BYTES, bytes_needed, precompute_english
from cc_train.training.projection import save_projection
from cc_train.training.stopping import StopCallback
from cc_train.training.trainer import ConnectionTrainer, TrainingError
from cc_train.training.training_bar import TrainingBar
from cc_train.training.two_pass import TwoPassModel
from cc_train.workspace import Workspace

SKIPPED_FILE = "cc_skipped_rows.jsonl"
STATE_FILE = "trainer_state.json"


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Args:
        directory: the finished checkpoint, or the connection on its own.
        method: ``cc`` or ``sft``.
        tuning: ``full``, ``lora`` or ``connection``.
        loss: mean training loss, nats per answer token.
        examples: trained rows by language.
        fit: `cc_train.fit.scores.score_transforms`; empty for ``sft``.
        skipped: rows that were not used, of the evaluation's too.
    """

    directory: Path
    method: str
    tuning: str
    loss: float
    examples: dict[str, int]
    fit: dict[str, Any]
    skipped: list[SkippedRow]


def run(config: RunConfig, say: Callable[[str], object] = lambda _line: None) -> RunResult:
    """Train, and fit; the output directory appears when everything in it is written.

    Args:
        config: from `cc_train.config.run.parse_run`.
        say: receives what a person should read meanwhile, line by line.

    Raises:
        UsageError, DataError, ChatError, OutputError, UnsupportedArchitectureError: the input is wrong.
        TrainingError, FitError: the loss or the activations are no numbers, or nothing determines a matrix.
        Stopped: a signal asked for it.
    """
    with StopCallback() as stop:
        return _run(config, say, stop)


def _run(config: RunConfig, say: Callable[[str], object], stop: StopCallback) -> RunResult:
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
    if config.fit.fit_rank is not None and config.fit.fit_rank > model.config.hidden_size:
        raise UsageError(f"--fit-rank {config.fit.fit_rank} is above the hidden size, {model.config.hidden_size}")
    if config.tuning.tuning == "connection":
        describe_base(Path(config.model.model))  # what the connection will be kept with, before hours of training
        examples = _without_english(examples, say)
    evaluation: list[Example] = []
    if config.data.eval_data:
        evaluation, unusable = _load(config.data.eval_data, config, encoder, say)
        skipped += unusable

    directory = workspace.directory
    if training.should_save:
        workspace.open()
        with workspace.writing():
            _write_skipped(directory, skipped)
    training.output_dir = str(directory)
    if training.data_seed is None:
        training.data_seed = training.seed  # every process has to draw the same order of rows
    adapter = Adapter(model, config.tuning) if config.tuning.tuning == "lora" else None
    trainer = _make_trainer(config, model, encoder, examples, evaluation)
    if trainer.model.frozen:
        trainer.english = _english(config, trainer.model, examples, encoder, say)
    trainer.add_callback(stop)
    if not training.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
    set_seed(training.seed + 1 + training.process_index)  # each process draws noise for its own rows
    try:
        with TrainingBar() as bar:
            if not training.disable_tqdm:
                trainer.add_callback(bar)
            outcome = trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    except ImportError as error:
        raise UsageError(one_line(error)) from error
    try:
        trainer.save_last()
    except TrainingError as error:
        say(f"{error}. What follows cannot be resumed.")
    stop.raise_if_asked()
    weights, decision = trainer.final_state()
    loss = _mean_loss(trainer.state.log_history, outcome.training_loss)
    fit: dict[str, Any] = {}
    if training.should_save:
        with workspace.writing():
            trainer.state.save_to_json(str(directory / STATE_FILE))
            if config.tuning.tuning != "connection":
                save_tuned(config, model, adapter, weights, directory)
                tokenizer.save_pretrained(directory)
            copy_notices(Path(config.model.model), directory)
            if decision:
                device = training.device
                del trainer, model, weights  # the fit needs the room
                fit = _fit(config, directory, ExtendedDecisionMaker.from_state(decision), examples, encoder, device)
            facts = run_facts(config, pair_counts(examples), len(skipped), loss)
            describe(directory, facts, workspace.output.name, say)
            workspace.publish()
    return RunResult(
        workspace.output,
        config.method.method,
        config.tuning.tuning,
        loss,
        pair_counts(examples),
        fit,
        skipped,
    )


def _without_english(examples: list[Example], say: Callable[[str], object]) -> list[Example]:
    connected = [example for example in examples if example.row.connected]
    left_out = len(examples) - len(connected)
    if left_out:
        say(f"{left_out} English rows are left out: they are served without the connection, and only it is trained")
    return connected


def _mean_loss(history: list[dict[str, float]], otherwise: float) -> float:
    """The mean over the logged steps, of those before a run was resumed too."""
    total, steps = 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - steps)
            steps = int(entry["step"])
    return total / steps if steps else otherwise


def _english(
    config: RunConfig,
    model: TwoPassModel,
    examples: list[Example],
    encoder: ChatEncoder,
    say: Callable[[str], object],
) -> Tensor | None:
    """The English activations of all rows, where they are wanted more than once and can be kept."""
    training = config.training
    batch = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    seen = training.max_steps * batch if training.max_steps > 0 else training.num_train_epochs * len(examples)
    if seen <= len(examples):
        return None
    needed = bytes_needed(model, len(examples))
    if needed > MOST_BYTES:
        say(
            f"English activations would take {needed / 1e9:.1f} GB, more than the {MOST_BYTES / 1e9:.1f} GB that are "
            "kept: every epoch computes them again"
        )
        return None
    with progress("English prompts", len(examples), shown=not training.disable_tqdm) as advance:
        return precompute_english(model, examples, encoder.pad_id, advance)


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
        parallels=config.method.method == "cc",
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
        decision = ExtendedDecisionMaker(
            model.config.num_hidden_layers,
            model.config.hidden_size,
            normalize=method.decision_normalize,
            projection=_projection(config, model, examples, encoder),
        )
    parallel = TwoPassModel(
        model,
        decision,
        temperature=method.gumbel_temperature,
        anchor_offset=method.anchor_offset,
        label_smoothing=config.training.label_smoothing_factor,
    )
    try:
        return ConnectionTrainer(
            parallel,
            config.training,
            PairDataset(examples),
            PairCollator(encoder.pad_id, method.anchor_offset),
            eval_dataset=PairDataset(evaluation) if evaluation else None,
            decision_learning_rate=method.decision_learning_rate,
        )
    except (ImportError, RuntimeError, ValueError) as error:  # options that transformers checks only now
        raise UsageError(one_line(error)) from error


def _projection(
    config: RunConfig, model: PreTrainedModel, examples: list[Example], encoder: ChatEncoder
) -> Tensor | None:
    """``P`` to begin with, from the English prompts of rows that every process and a resumed run draw alike."""
    method = config.method
    if method.connection_scale is None:
        return None
    connected = [example for example in examples if example.row.connected]
    sample = Random(config.training.seed).sample(connected, min(len(connected), PROJECTION_PROMPTS))
    plain = TwoPassModel(model, None, anchor_offset=method.anchor_offset).eval()
    try:
        return initial_projection(precompute_english(plain, sample, encoder.pad_id), method.connection_scale)
    except ValueError as error:
        raise DataError(f"--connection-scale: {error}") from error


def _fit(
    config: RunConfig,
    directory: Path,
    decision: ExtendedDecisionMaker,
    examples: list[Example],
    encoder: ChatEncoder,
    device: torch.device,
) -> dict[str, Any]:
    """Fit on the model as it was saved, write the connection, and report on held-out pairs."""
    # A CPU computes in fp32 what an accelerator computes in the saved type; the weights are the saved ones on both.
    dtype = torch.float32 if device.type == "cpu" else config.save_dtype
    unset_hf_deepspeed_config()  # or the model would be spread over all processes, of which only the main one is here
    model = load_tuned(config, directory, dtype).eval()
    model.to(device)  # type: ignore[arg-type]
    matrix = None if decision.projection is None else decision.projection.detach()
    if matrix is not None:
        save_projection(matrix, directory)
    fitted = fit_connection(
        model,
        decision.weight.detach(),
        examples,
        encoder.pad_id,
        config.fit.settings(),
        directory=directory,
        anchor_offset=config.method.anchor_offset,
        batch_size=config.fit.fit_batch_size,
        seed=config.training.seed,
        projection=None if matrix is None else matrix.to(device),
        shows_progress=not config.training.disable_tqdm,
    )
    details = {
        "method": config.method.method,
        "tuning": config.tuning.tuning,
        "base_model": Path(config.model.model).name,
        "seed": config.training.seed,
        **({} if matrix is None else {"projected": True}),
        "fit": fitted.details(),
    }
    if config.tuning.tuning == "connection":
        template = encoder.tokenizer.chat_template
        save_alone(directory, Path(config.model.model), fitted.connection, fitted.languages, details, template)
    else:
        save_connection(directory, fitted.connection, fitted.languages, details)
    fitted.write_facts(directory)
    return fitted.facts["scores"]


def _write_skipped(directory: Path, skipped: list[SkippedRow]) -> None:
    if skipped:
        lines = [json.dumps({"file": s.file, "line": s.line, "reason": s.reason}, ensure_ascii=False) for s in skipped]
        (directory / SKIPPED_FILE).write_text("\n".join(lines) + "\n", "utf-8")

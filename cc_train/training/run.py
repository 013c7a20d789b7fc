"""One training run, from rows to the deployable checkpoint: read, train, save, fit, publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, ProgressCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from cc_core.checkpoint import save_connection
from cc_core.hub import shown_name
from cc_core.terminal.text import one_line
from cc_train.config.parser import UsageError
from cc_train.config.run import RunConfig
from cc_train.config.training import RunArguments
from cc_train.data.chat import ChatEncoder
from cc_train.data.rows import SkippedRow
from cc_train.data.template_options import TemplateOptionError
from cc_train.fit.fitting import fit_connection
from cc_train.fit.pairs import pair_counts
from cc_train.model.adapter import make_adapter
from cc_train.model.files import base_directory, copy_notices, load_base, load_model, save_adapted, save_model
from cc_train.model.hub import Repository
from cc_train.model.projection import save_projection
from cc_train.model.standalone import save_alone
from cc_train.report.facts import run_facts
from cc_train.report.languages import language_facts
from cc_train.report.page import STATE_FILE, write_record
from cc_train.terminal.notes import Say, silent
from cc_train.training.assembly import build_trainer
from cc_train.training.course import require_course
from cc_train.training.learning import require_batches, require_learning
from cc_train.training.logged import LogCallback, logged_alignment, mean_loss
from cc_train.training.processes import leave_group
from cc_train.training.run_rows import RunRows, load_rows
from cc_train.training.stopping import StopCallback
from cc_train.training.trained_weights import TrainingError
from cc_train.training.trainer import ConnectionTrainer
from cc_train.training.training_bar import TrainingBar
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.workspace import Workspace


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
        skipped: training and evaluation rows that were not used.
    """

    directory: Path
    method: str
    tuning: str
    loss: float
    examples: dict[str, int]
    fit: dict[str, Any]
    skipped: list[SkippedRow]


def run(config: RunConfig, say: Say = silent) -> RunResult:
    """Train and fit. The output directory appears when everything in it is written.

    Args:
        config: from `cc_train.config.run.parse_run`.
        say: receives progress messages, line by line.

    Raises:
        UsageError, DataError, ChatError, OutputError, UnsupportedArchitectureError: the input is wrong.
        TrainingError, FitError: the loss or the activations are NaN or infinite, or too few pairs determine no matrix.
        PushError: the checkpoint is finished, and the hub did not take it.
        Stopped: a signal asked for it.
    """
    with StopCallback() as stop:
        return _run(config, say, stop)


def _run(config: RunConfig, say: Say, stop: StopCallback) -> RunResult:
    base, training, method = base_directory(config.model.model), config.training, config.method
    alone = config.tuning.tuning == "connection"
    workspace = Workspace(config.output, overwrite=training.overwrite, keep=training.resume_from_checkpoint)
    _name_idle_gpus(training, say)
    repository = _make_repository(training, config.output.name) if training.should_save else None
    set_seed(training.seed)
    model, tokenizer = load_base(
        str(base),
        captures=method.method == "cc" or method.align > 0,
        freezes=alone,
        freezes_embeddings=config.model.freeze_embeddings,
        attention=config.model.attention,
        quantized=config.tuning.quantize_base == "4bit",
    )
    encoder = _encoder(tokenizer, model.generation_config, config.data.template_options)
    if encoder.packaged_template:
        say("The tokenizer has no chat template: the packaged plain one is used, and saved with the checkpoint.")
    rows = load_rows(config, base, model.config.hidden_size, encoder, say)

    directory = workspace.directory
    if training.should_save:
        workspace.open()
        with workspace.writing():
            rows.write_skipped(directory)
    adapter = make_adapter(model, config.tuning) if config.tuning.tuning == "lora" else None
    trainer = build_trainer(config, base, model, rows, encoder, workspace, say)
    loss = _train(trainer, stop, say, training.resume_from_checkpoint, shows_progress=not training.disable_tqdm)
    weights, decision = trainer.final_state()
    targets = trainer.targets
    counts = pair_counts(rows.examples)
    alignment = logged_alignment(method.align, trainer.state.log_history, pair_counts(rows.aligned))
    scores: dict[str, Any] = {}
    leave_group()
    if training.should_save:
        with workspace.writing():
            trainer.state.save_to_json(str(directory / STATE_FILE))
            if adapter is not None:
                merge = config.tuning.lora_merge
                save_adapted(str(base), adapter, weights, directory, config.save_dtype, merge=merge)
            elif not alone:
                save_model(model, weights, directory, config.save_dtype)
            if not alone:
                tokenizer.save_pretrained(directory)
            copy_notices(base, directory)
            if decision:
                del trainer, model, adapter, weights  # the fit needs the room
                scores = _fit_and_save(config, base, decision, rows, encoder, directory, say)
            if targets is not None:
                targets.remove()
            facts = run_facts(config, base, counts, len(rows.skipped), loss, alignment, language_facts(rows.examples))
            write_record(directory, facts, workspace.output.name, say)
            workspace.publish()
    if repository is not None:
        say(f"pushed: {repository.push(workspace.output)}")
    return RunResult(
        workspace.output,
        method.method,
        config.tuning.tuning,
        loss,
        counts,
        scores,
        rows.skipped,
    )


def _name_idle_gpus(training: RunArguments, say: Say) -> None:
    if training.device.type == "cuda" and training.world_size == 1 and (gpus := torch.cuda.device_count()) > 1:
        launch = f"accelerate launch --num_processes {gpus} --module cc_train.commands.main run"
        say(f"Only 1 of {gpus} GPUs is used. To use all, begin the command with: {launch}")


def _make_repository(training: RunArguments, name: str) -> Repository | None:
    """The repository to push to, if one is asked for, made before the run: it fails now if the hub does not let us."""
    if not training.push_to_hub:
        return None
    repository = Repository(
        training.hub_model_id or name, training.hub_token, training.hub_private_repo, training.hub_revision
    )
    try:
        return repository.make()
    except UsageError as error:
        raise UsageError(f"--push-to-hub: {error}") from error


def _encoder(tokenizer: Any, generation_config: Any, options: dict[str, Any]) -> ChatEncoder:
    try:
        return ChatEncoder(tokenizer, generation_config, options)
    except TemplateOptionError as error:
        raise UsageError(f"--chat-template-kwargs: {error}") from error


def _train(
    trainer: ConnectionTrainer, stop: StopCallback, say: Say, resume_from: str | None, *, shows_progress: bool
) -> float:
    """Train, save a checkpoint of the last step, and return the mean loss, nats per answer token."""
    set_seed(trainer.args.seed + 1 + trainer.args.process_index)  # each process draws noise for its own rows
    require_batches(trainer)
    if resume_from:
        require_course(trainer, Path(resume_from))
    log = LogCallback()
    trainer.add_callback(log)
    trainer.add_callback(stop)
    if shows_progress:
        trainer.remove_callback(ProgressCallback)
    try:
        with TrainingBar() as bar:
            if shows_progress:
                trainer.add_callback(bar)
            outcome = trainer.train(resume_from_checkpoint=resume_from)
    except ImportError as error:
        raise UsageError(one_line(error)) from error
    if not resume_from and stop.number is None:
        require_learning(trainer)
    try:
        trainer.save_last()
    except TrainingError as error:
        say(f"{error}. What follows cannot be resumed.")
    stop.raise_if_asked()
    return mean_loss(trainer.state.log_history, log.begun, trainer.state.global_step, outcome.metrics["train_loss"])


def _fit_and_save(
    config: RunConfig,
    base: Path,
    decision: dict[str, Tensor],
    rows: RunRows,
    encoder: ChatEncoder,
    directory: Path,
    say: Say,
) -> dict[str, Any]:
    """Fit the Transform Matrices on the saved model, and save the connection in ``directory``.

    Returns:
        The fit's scores.
    """
    training, method = config.training, config.method
    alone = config.tuning.tuning == "connection"
    maker = ExtendedDecisionMaker.from_state(decision)
    projection = None if maker.projection is None else maker.projection.detach()
    if projection is not None:
        save_projection(projection, directory)
    unseen = rows.unseen
    fitted = fit_connection(
        _saved_model(base if alone else directory, config.save_dtype, training.device),
        maker.weight.detach(),
        rows.examples,
        encoder.pad_id,
        config.fit.settings(),
        directory=directory,
        anchor_offset=method.anchor_offset,
        batch_size=config.fit.fit_batch_size,
        seed=training.seed,
        scored=unseen or None,
        projection=None if projection is None else projection.to(training.device),
        shows_progress=not training.disable_tqdm,
    )
    details = {
        "method": method.method,
        "tuning": config.tuning.tuning,
        "base_model": shown_name(config.model.model),
        "seed": training.seed,
        **({} if projection is None else {"projected": True}),
        "fit": fitted.details(),
    }
    connection, languages = fitted.connection, fitted.languages
    evidence = fitted.evidence("training" if unseen else "fit")
    if alone:
        save_alone(directory, base, connection, languages, details, encoder.tokenizer.chat_template, evidence)
    else:
        save_connection(directory, connection, languages, details, evidence)
    fitted.write_facts(directory)
    for sentence in fitted.notes(evidence):
        say(sentence)
    scores: dict[str, Any] = fitted.facts["scores"]
    return scores


def _saved_model(saved: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model at ``saved``, as it is served. A CPU computes in fp32 what an accelerator computes in ``dtype``."""
    # DeepSpeed would shard it, and only the main process is here.
    unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]
    model: Any = load_model(saved, torch.float32 if device.type == "cpu" else dtype)
    served: PreTrainedModel = model.eval().to(device)
    return served

"""The trainer of a run, put together from its options."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from torch import Tensor
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainingArguments

from cc_core.terminal.text import one_line
from cc_train.config.evaluation import EvaluationArguments
from cc_train.config.method import MethodArguments
from cc_train.config.parser import UsageError
from cc_train.config.run import RunConfig
from cc_train.config.training import RunArguments
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example
from cc_train.data.records import DataError
from cc_train.model.activations import architecture_of
from cc_train.terminal.notes import Say
from cc_train.terminal.progress import progress
from cc_train.training.alignment_targets import AlignmentTargets
from cc_train.training.answer_scores import AnswerScores
from cc_train.training.live_report import LiveReport
from cc_train.training.precompute import MOST_BYTES, bytes_needed, english_batches, precompute_english
from cc_train.training.run_rows import RunRows
from cc_train.training.sampling import EpochCallback
from cc_train.training.trainer import ConnectionTrainer
from cc_train.two_pass.extensions import PROJECTION_PROMPTS, ExtendedDecisionMaker, initial_projection
from cc_train.two_pass.layout import PADDING_FREE
from cc_train.two_pass.model import TwoPassModel
from cc_train.workspace import Workspace


def build_trainer(
    config: RunConfig,
    base: Path,
    model: PreTrainedModel,
    rows: RunRows,
    encoder: ChatEncoder,
    workspace: Workspace,
    say: Say,
) -> ConnectionTrainer:
    """The trainer of a run, with all that it has before its first step.

    The model must be as the run begins with it, since activations and targets are computed with it here.

    Args:
        config: the run's options.
        base: the directory of the model that the run begins with.
        model: the language model, with an adapter if one is trained.
        rows: encoded.
        encoder: of the rows.
        workspace: holds what is computed once, and the report.
        say: hears of the report, and of activations that are not kept.

    Raises:
        UsageError: an option that transformers checks only now is wrong, or does not go with the rows or the model.
        DataError: the rows do not determine a projection or an alignment.
        OutputError: the targets cannot be written.
    """
    shows_progress, examples = not config.training.disable_tqdm, rows.examples + rows.aligned
    trainer = make_trainer(model, config.method, config.training, examples, rows.evaluation, encoder.pad_id)
    trainer.base = base
    _score_answers(trainer, rows.evaluation, encoder, config.evaluation)
    _keep_english(trainer, examples, encoder.pad_id, say, shows_progress=shows_progress)
    with workspace.writing():
        _keep_targets(trainer, examples, workspace.directory, encoder.pad_id, shows_progress=shows_progress)
    trainer.add_callback(LiveReport(workspace.directory, workspace.output.name, say))
    return trainer


def make_trainer(
    model: PreTrainedModel,
    method: MethodArguments,
    training: RunArguments,
    examples: Sequence[Example],
    evaluation: Sequence[Example],
    pad_id: int,
) -> ConnectionTrainer:
    """A trainer and what it trains, by the options of both.

    Args:
        model: the language model, with an adapter if one is trained.
        method: how the connection is trained, if there is one.
        training: Trainer's options, of which it gets a copy.
        examples: encoded rows to train on.
        evaluation: encoded rows for evaluation; may be empty.
        pad_id: fills batches.

    Raises:
        UsageError: an option that transformers checks only now is wrong, or the family needs padding.
        DataError: the rows do not determine a projection.
    """
    if training.padding_free and (architecture := architecture_of(model)) not in PADDING_FREE:
        raise UsageError(
            f"--padding-free: {architecture} is not known to keep the rows of a batch apart; leave the option out, or "
            f"train one of: {', '.join(sorted(PADDING_FREE))}"
        )
    decision = None
    if method.method == "cc":
        first = None
        if method.connection_scale is not None:
            first = _projection(
                model, examples, pad_id, method.connection_scale, method.anchor_offset, seed=training.seed
            )
        decision = ExtendedDecisionMaker(
            model.config.num_hidden_layers,
            model.config.hidden_size,
            normalize=method.decision_normalize,
            projection=first,
        )
    given = copy.copy(training)  # Trainer writes into its arguments; the configuration stays as it was parsed
    given.push_to_hub = False  # Trainer would push the directory in which the run is built
    stopping = (
        [EarlyStoppingCallback(training.early_stopping_patience, training.early_stopping_threshold)]
        if training.early_stopping_patience is not None
        else []
    )
    parallel = TwoPassModel(
        model,
        decision,
        temperature=method.gumbel_temperature,
        anchor_offset=method.anchor_offset,
        label_smoothing=training.label_smoothing_factor,
        align=method.align,
        loss_chunk=method.loss_chunk,
        padding_free=training.padding_free,
    )
    try:
        return ConnectionTrainer(
            parallel,
            given,
            PairDataset(examples),
            PairCollator(pad_id, method.anchor_offset),
            eval_dataset=PairDataset(evaluation) if evaluation else None,
            decision_learning_rate=method.decision_learning_rate,
            callbacks=[EpochCallback(), *stopping],
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:  # options that transformers checks only now
        raise UsageError(one_line(error)) from error


def _score_answers(
    trainer: ConnectionTrainer, examples: Sequence[Example], encoder: ChatEncoder, options: EvaluationArguments
) -> None:
    """Let each evaluation of ``trainer`` score generated answers, if ``options`` ask for them.

    Raises:
        UsageError: no row can be scored, or no process has the whole model.
    """
    if options.eval_generate is None:
        return
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise UsageError(
            "--eval-generate needs the whole model in each process, which FSDP and DeepSpeed spread; "
            "use recipes/parallel/ddp.yaml, or cc-train eval after the run"
        )
    arguments = trainer.args
    batch, seed = arguments.per_device_eval_batch_size, arguments.seed
    trainer.answers = AnswerScores(trainer.model, examples, encoder, options, batch, seed)


def _keep_english(
    trainer: ConnectionTrainer,
    examples: Sequence[Example],
    pad_id: int,
    say: Say,
    *,
    shows_progress: bool,
) -> None:
    """Compute the English activations of all rows once, if the language model is frozen and rows are read repeatedly.

    Args:
        trainer: gets the activations.
        examples: its rows.
        pad_id: fills batches.
        say: hears of activations that are too large to be kept.
        shows_progress: whether a bar is drawn.
    """
    model = trainer.model
    if not model.frozen or _rows_read(trainer.args, len(examples)) <= len(examples):
        return
    needed = bytes_needed(model, len(examples))
    if needed > MOST_BYTES:
        say(
            f"The English activations would take {needed / 1e9:.1f} GB, and at most {MOST_BYTES / 1e9:.1f} GB are "
            "kept: every epoch computes them again."
        )
        return
    with progress("English prompts", len(examples), shown=shows_progress) as advance:
        trainer.english = precompute_english(model, examples, pad_id, advance)


def _keep_targets(
    trainer: ConnectionTrainer, examples: Sequence[Example], directory: Path, pad_id: int, *, shows_progress: bool
) -> None:
    """Compute the alignment's targets once, with the model as it is now, unless a run that is resumed has done so.

    Every process of a parallel job must call this; they share the work.

    Args:
        trainer: gets the targets, if its model is aligned.
        examples: its rows.
        directory: holds the targets.
        pad_id: fills batches.
        shows_progress: whether a bar is drawn.

    Raises:
        DataError: the English prompts do not vary, or the directory holds the targets of other rows.
        OSError: the targets cannot be written.
    """
    module, arguments = trainer.model, trainer.args
    if not module.align:
        return
    config, wait = module.config, trainer.accelerator.wait_for_everyone
    targets = AlignmentTargets(
        examples, directory, int(config.num_hidden_layers), int(config.hidden_size), module.anchor_offset
    )
    wait()  # the main process has made the directory, or cleared it
    if not targets.written():
        if arguments.process_index == 0:
            targets.allocate()
        wait()
        plain = TwoPassModel(module.language_model, None, anchor_offset=module.anchor_offset).eval()
        if trainer.is_fsdp_enabled:
            plain.to(arguments.device)
        with progress("English prompts", len(targets.prompts), shown=shows_progress) as advance:
            part = english_batches(plain, targets.prompts, pad_id, arguments.process_index, arguments.world_size)
            targets.write(_counted(part, advance, arguments.world_size))
        if trainer.is_fsdp_enabled:
            plain.to("cpu")  # until it is sharded
        wait()
        if arguments.process_index == 0:
            targets.publish()
        wait()
    trainer.targets, module.layer_weights = targets, targets.layer_weights().to(arguments.device)


def _counted(
    batches: Iterator[tuple[list[int], Tensor]], advance: Callable[[int], object], processes: int
) -> Iterator[tuple[list[int], Tensor]]:
    """``batches``; the bar counts those of all processes."""
    for batch in batches:
        yield batch
        advance(len(batch[0]) * processes)


def _projection(
    model: PreTrainedModel, examples: Sequence[Example], pad_id: int, scale: float, anchor_offset: int, *, seed: int
) -> Tensor:
    """The initial ``P``, from English prompts. Every process and a resumed run draw the same rows for it."""
    connected = [i for i, example in enumerate(examples) if example.row.connected]
    sample = [examples[i] for i in Random(seed).sample(connected, min(len(connected), PROJECTION_PROMPTS))]
    plain = TwoPassModel(model, None, anchor_offset=anchor_offset).eval()
    try:
        return initial_projection(precompute_english(plain, sample, pad_id), scale)
    except ValueError as error:
        raise DataError(f"--connection-scale: {error}") from error


def _rows_read(training: TrainingArguments, rows: int) -> float:
    """How many rows training will read, counting each epoch."""
    batch = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    return training.max_steps * batch if training.max_steps > 0 else training.num_train_epochs * rows

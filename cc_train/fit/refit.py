"""Fitting the Transform Matrices of a finished checkpoint again, on other pairs or with other settings."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer

from cc_core.checkpoint import CheckpointError, ConnectionConfig, load_connection, save_connection
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, FIT_FILE
from cc_core.standalone import ENTRY_FILE
from cc_core.terminal.text import counted, one_line
from cc_train.config.fit import FitArguments
from cc_train.config.refit import RefitArguments
from cc_train.data.chat import ChatEncoder
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.encoding import Example
from cc_train.data.loading import load_examples
from cc_train.data.records import DataError
from cc_train.fit.fitting import Fitted, fit_connection
from cc_train.model.files import load_model
from cc_train.model.projection import PROJECTION_FILE, load_projection
from cc_train.report.facts import RUN_FILE, named_sources
from cc_train.report.model_card import CARD_FILE
from cc_train.report.page import PICTURES, REPORT_FILE, write_record
from cc_train.terminal.notes import Say, silent
from cc_train.workspace import Workspace, existing_parent

_WRITTEN = {CONNECTION_FILE, FIT_FILE, REPORT_FILE}


def refit(checkpoint: Path, options: RefitArguments, fit: FitArguments, say: Say = silent) -> tuple[Fitted, Path]:
    """Fit the matrices again, and write a checkpoint with them, which appears when it is whole.

    Args:
        checkpoint: a CC-Tuned checkpoint.
        options: what to fit on, and where to write.
        fit: how to fit.
        say: receives what a person should read meanwhile, line by line.

    Returns:
        The fitted connection, and the directory that holds it.

    Raises:
        CheckpointError: ``checkpoint`` has no connection, or is one on its own.
        DataError, ChatError, OutputError, FitError: as in `cc_train.training.run.run`.
    """
    if (checkpoint / ENTRY_FILE).is_file() and not (checkpoint / CONFIG_FILE).exists():
        raise CheckpointError(
            checkpoint,
            "is a connection on its own; put it on its base first: "
            f"cc-train attach --model BASE --connection {checkpoint} --output OUTPUT",
        )
    connection, entry = load_connection(checkpoint, evidence=False)
    output = Path(options.output) if options.output else checkpoint
    workspace = Workspace(output, overwrite=options.overwrite or output == checkpoint)
    device = torch.device("cpu")
    if not options.use_cpu and torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator() or device
    try:
        # A CPU computes in fp32 what an accelerator computes in the saved type.
        model: Any = load_model(
            checkpoint, torch.float32 if device.type == "cpu" else AutoConfig.from_pretrained(checkpoint).dtype
        )
        encoder = ChatEncoder(AutoTokenizer.from_pretrained(checkpoint), model.generation_config)
    except CheckpointError:
        raise
    except (ImportError, OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(checkpoint, f"cannot be loaded: {one_line(error)}") from error
    model.eval().to(device)

    def load(given: list[str]) -> DiskSequence[Example]:
        return load_examples(
            given,
            encoder,
            columns=options.columns,
            max_length=options.max_length,
            anchor_offset=entry.anchor_offset,
            seed=options.seed,
            answers=False,
            say=say,
            shows_progress=not options.disable_tqdm,
            directory=existing_parent(output),
        )[0]

    examples = load(options.data)
    scored = load(options.eval_data) if options.eval_data else None
    if scored is not None:
        examples = _unseen(examples, scored, say)
    try:
        matrix = load_projection(checkpoint)
    except ValueError as error:
        raise CheckpointError(checkpoint, str(error)) from error
    if matrix is None and (entry.model_extra or {}).get("projected"):
        raise CheckpointError(
            checkpoint, f"has no {PROJECTION_FILE}, which its connection was trained with; copy it again"
        )
    directory = workspace.open()
    with workspace.writing():
        fitted = fit_connection(
            model,
            connection.decision,
            examples,
            encoder.pad_id,
            fit.settings(),
            directory=directory,
            anchor_offset=entry.anchor_offset,
            batch_size=fit.fit_batch_size,
            seed=options.seed,
            scored=scored,
            projection=None if matrix is None else matrix.to(device),
            shows_progress=not options.disable_tqdm,
        )
        _copy(checkpoint, directory, linked=output == checkpoint)
        details = entry.model_dump(exclude=set(ConnectionConfig.model_fields)) | {
            "fit": {"data": named_sources(options.data), **fitted.details()}
        }
        languages = sorted({*entry.languages, *fitted.languages})
        # A checkpoint does not say whether its training saw these pairs.
        evidence = fitted.evidence("fit")
        save_connection(directory, fitted.connection, languages, details, evidence)
        for sentence in fitted.notes(evidence):
            say(sentence)
        fitted.write_facts(directory)
        write_record(directory, None, output.name, say)
        return fitted, workspace.publish()


def _unseen(examples: DiskSequence[Example], scored: Sequence[Example], say: Say) -> DiskSequence[Example]:
    """``examples`` without the English prompts that are scored: a matrix should not be scored on what it has seen."""
    prompts = {example.english_digest for example in scored if example.row.connected}
    left = examples.where(lambda example: example.english_digest not in prompts)
    if not any(example.row.connected for example in left):
        raise DataError("--eval-data: has every English prompt of --data, so that nothing is left to fit on")
    if len(left) < len(examples):
        out = counted(len(examples) - len(left), "row of --data is", "rows of --data are")
        say(f"{out} left out: --eval-data has the same English prompts")
    return left


def _copy(checkpoint: Path, directory: Path, *, linked: bool) -> None:
    """Copy everything that the fit does not write; ``linked`` where the old checkpoint goes away."""
    # Without a run's facts, somebody wrote the card by hand.
    written = _WRITTEN | ({CARD_FILE} if (checkpoint / RUN_FILE).exists() else set())
    for path in sorted(checkpoint.rglob("*")):
        target = directory / path.relative_to(checkpoint)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif path.name not in written and path.parent.name != PICTURES:
            if linked:
                target.hardlink_to(path)
            else:
                shutil.copyfile(path, target)

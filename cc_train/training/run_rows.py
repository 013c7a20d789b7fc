"""The rows of a run, read before anything is trained."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cc_core.standalone import describe_base
from cc_core.terminal.text import counted
from cc_train.config.parser import UsageError
from cc_train.config.run import RunConfig
from cc_train.data.chat import ChatEncoder
from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.encoding import Example
from cc_train.data.loading import load_examples, require_connected
from cc_train.data.rows import SkippedRow
from cc_train.terminal.notes import Say
from cc_train.workspace import existing_parent

SKIPPED_FILE = "cc_skipped_rows.jsonl"


@dataclass(frozen=True)
class RunRows:
    """What a run reads.

    Args:
        examples: to train on, and to fit on.
        aligned: parallel prompts without answers, which join the alignment only.
        evaluation: to evaluate on during training.
        skipped: could not be used.
    """

    examples: DiskSequence[Example]
    aligned: DiskSequence[Example]
    evaluation: DiskSequence[Example]
    skipped: list[SkippedRow]

    @property
    def unseen(self) -> DiskSequence[Example]:
        """Rows of ``evaluation`` on which a connection can be judged: nothing was trained on their English prompts."""
        if not self.evaluation:
            return self.evaluation
        seen = {example.english_digest for example in self.examples + self.aligned}
        return self.evaluation.where(lambda e: e.row.connected and e.english_digest not in seen)

    def write_skipped(self, directory: Path) -> None:
        """List the rows that are not used in a file of ``directory``, where there are any."""
        if self.skipped:
            lines = [
                json.dumps({"file": s.file, "line": s.line, "reason": s.reason}, ensure_ascii=False)
                for s in self.skipped
            ]
            (directory / SKIPPED_FILE).write_text("\n".join(lines) + "\n", "utf-8")


def load_rows(config: RunConfig, base: Path, hidden_size: int, encoder: ChatEncoder, say: Say) -> RunRows:
    """Read the rows. Fails before the training if the fit would fail after it.

    Raises:
        UsageError, DataError: the input is wrong.
    """
    connects, alone = config.method.method == "cc", config.tuning.tuning == "connection"
    aligns = config.method.align > 0
    load = partial(
        load_examples,
        encoder=encoder,
        columns=config.data.columns,
        max_length=config.data.max_length,
        anchor_offset=config.method.anchor_offset,
        seed=config.training.seed,
        parallels=connects or aligns,
        all_turns=config.data.train_turns == "all",
        say=say,
        shows_progress=not config.training.disable_tqdm,
        directory=(directory := existing_parent(config.output)),
    )
    examples, skipped = load(config.data.data, max_rows=config.data.max_rows)
    if connects:
        require_connected(examples, "a connection", "train without a connection (--method sft)")
    elif aligns and not config.data.align_data:
        require_connected(examples, "an alignment", "train without --align")
    if config.fit.fit_rank is not None and config.fit.fit_rank > hidden_size:
        raise UsageError(f"--fit-rank {config.fit.fit_rank} is above the hidden size, {hidden_size}")
    if alone:
        describe_base(base)  # fail now if the base cannot be described
        examples = _without_english(examples, say)
    aligned: DiskSequence[Example] = DiskSequence()
    if config.data.align_data:
        found, unusable = load(config.data.align_data, answers=False)
        require_connected(found, "an alignment", "leave out --align-data")
        aligned = DiskSequence(map(_without_answer, found), directory)
        skipped += unusable
    evaluation: DiskSequence[Example] = DiskSequence()
    if config.data.eval_data:
        evaluation, unusable = load(config.data.eval_data, parallels=connects)
        skipped += unusable
    return RunRows(examples, aligned, evaluation, skipped)


def _without_english(examples: DiskSequence[Example], say: Say) -> DiskSequence[Example]:
    connected = examples.where(lambda example: example.row.connected)
    left_out = len(examples) - len(connected)
    if left_out:
        rows = counted(left_out, "English row is", "English rows are")
        say(f"{rows} left out: English is served plain, and only the connection is trained")
    return connected


def _without_answer(example: Example) -> Example:
    return replace(example, answer=np.empty(0, np.int32))

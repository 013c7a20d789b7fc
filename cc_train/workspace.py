"""The output directory: built beside its place, renamed into it when complete."""

from __future__ import annotations

import shutil
from pathlib import Path


class OutputError(ValueError):
    """The output cannot be written; the message says what is in the way."""


class Workspace:
    """A directory that appears at ``output`` only when everything in it is written.

    Until then it is ``<output>.partial``, where Trainer's own checkpoints also are, to resume from.

    Args:
        output: where the finished directory goes.
        overwrite: replace what is there.
        keep: a path in the partial directory to resume from, which is then not cleared.

    Raises:
        OutputError: something is in the way.
    """

    def __init__(self, output: Path, *, overwrite: bool = False, keep: str | None = None) -> None:
        self.output = output
        self.directory = output.with_name(output.name + ".partial")
        self._replaced = output.with_name(output.name + ".replaced")
        if output.exists() and not output.is_dir():
            raise OutputError(f"--output {output}: is a file")
        if output.is_dir() and any(output.iterdir()) and not overwrite:
            raise OutputError(f"--output {output}: already holds something; pass --overwrite to replace it")
        self._resuming = keep is not None and Path(keep).resolve().is_relative_to(self.directory.resolve())
        if not self._resuming and not overwrite and any(self.directory.glob("checkpoint-*")):
            raise OutputError(
                f"{self.directory}: holds checkpoints of a run that did not finish; "
                "pass --resume-from-checkpoint to go on, or --overwrite to start again"
            )

    def open(self) -> Path:
        """Make the partial directory, empty unless it is resumed from, and return it."""
        try:
            if not self._resuming and self.directory.exists():
                shutil.rmtree(self.directory)
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--output {self.output}: cannot be written ({error.strerror})") from error
        return self.directory

    def publish(self) -> Path:
        """Put the finished directory in its place."""
        if self.output.exists():
            shutil.rmtree(self._replaced, ignore_errors=True)
            self.output.rename(self._replaced)
        self.directory.rename(self.output)
        shutil.rmtree(self._replaced, ignore_errors=True)
        return self.output

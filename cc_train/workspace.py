"""The output directory: built beside its place, renamed into it when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from cc_core.terminal.text import one_line


class OutputError(ValueError):
    """The output cannot be written; the message says what is in the way."""


def partial_directory(output: Path) -> Path:
    """The directory in which ``output`` is built. Nobody else uses such a name, so it may be cleared."""
    place = output.resolve()
    return place.with_name(f".{place.name}.cc-train-partial")


def existing_parent(output: Path) -> Path:
    """The nearest directory above ``output`` that exists. It is on the disk on which ``output`` will be."""
    return next(place for place in output.resolve().parents if place.is_dir())


def unfinished_checkpoints(output: Path) -> list[Path]:
    """Trainer's own checkpoints of an unfinished run to ``output``, the latest last."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in partial_directory(output).glob("checkpoint-*")}
    return sorted((path for path, step in steps.items() if step.isdecimal()), key=lambda path: int(steps[path]))


def flush(directory: Path) -> None:
    """Write everything in ``directory`` to the disk: once renamed, it is whole even after a power cut."""
    for path in [directory, *directory.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def place(finished: Path, target: Path) -> None:
    """Rename ``finished`` to ``target``, and remove what was there."""
    replaced = target.with_name(f".{target.name}.cc-train-replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    finished.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


class Workspace:
    """A directory that appears at ``output`` only when everything in it is written.

    Until then it is the hidden ``.<output>.cc-train-partial`` beside ``output``. Trainer's own checkpoints, to resume
    from, are in it, too.

    Args:
        output: where the finished directory goes.
        overwrite: replace what is there.
        keep: the checkpoint to resume from; if it is in the partial directory, that is not cleared.

    Raises:
        OutputError: something is in the way.
    """

    def __init__(self, output: Path, *, overwrite: bool = False, keep: str | None = None) -> None:
        self.output = output
        self._place = output.resolve()
        if Path.cwd().is_relative_to(self._place):
            raise OutputError(f"--output {output}: the current directory is in it; name another directory")
        if output.exists() and not output.is_dir():
            raise OutputError(f"--output {output}: is a file; name a directory")
        if self._place.is_mount():
            raise OutputError(f"--output {output}: is a mount point; name a directory in it")
        if output.is_dir() and any(output.iterdir()) and not overwrite:
            raise OutputError(f"--output {output}: already holds something; pass --overwrite to replace it")
        self.directory = partial_directory(output)
        self._finished = False
        self._resuming = keep is not None and Path(keep).resolve().is_relative_to(self.directory)
        saved = unfinished_checkpoints(output)
        if saved and not self._resuming and not overwrite:
            raise OutputError(
                f"{self.directory}: holds checkpoints of a run that did not finish; "
                f"pass --resume-from-checkpoint {saved[-1]} to go on, or --overwrite to start again"
            )

    def open(self) -> Path:
        """Make the partial directory and return it; it is empty unless the run is resumed from it."""
        try:
            if not self._resuming and self.directory.exists():
                shutil.rmtree(self.directory)
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--output {self.output}: cannot be written ({error.strerror or error})") from error
        return self.directory

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A context in which an error of writing becomes an `OutputError` that says where to go on from.

        Without a checkpoint to go on from, what was written is removed: it only fills the disk. What is finished stays.
        """
        try:
            yield
        except (OSError, SafetensorError) as error:
            if self._finished:
                raise OutputError(
                    f"--output {self.output}: the finished directory cannot be moved there ({one_line(error)}); "
                    f"it is whole in {self.directory}; move it from there"
                ) from error
            free = shutil.disk_usage(self.directory).free / 1e6
            saved = unfinished_checkpoints(self.output)
            if not saved:
                shutil.rmtree(self.directory, ignore_errors=True)
            raise OutputError(
                f"--output {self.output}: cannot be written ({one_line(error)}); "
                f"{free:.0f} MB are free there: make room"
                + (f"; add --resume-from-checkpoint {saved[-1]} to go on" if saved else "")
            ) from error

    def publish(self) -> Path:
        """Move the finished directory to its place, without Trainer's own checkpoints, which hold pickles."""
        self._finished = True
        for path in unfinished_checkpoints(self.output):
            shutil.rmtree(path)
        usual = self.directory.stat().st_mode & 0o666
        for path in self.directory.rglob("*"):
            if path.is_file():
                path.chmod(usual)  # only their owner could read them, and a server often runs as another user
        flush(self.directory)
        place(self.directory, self._place)
        return self.output

"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(*, shown: bool = True) -> Progress:
    """A bar with a count and the time that remains. It draws nothing unless ``shown``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)


@contextmanager
def progress(what: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], object]]:
    """Show a bar while the context is open, and give the function that advances it."""
    with progress_bar(shown=shown and bool(total)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)

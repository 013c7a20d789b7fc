"""A sequence on disk, because training data may be larger than memory."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, Never, Self, TypeVar, overload

import numpy as np

from cc_core.terminal.text import one_line
from cc_train.data.records import DataError

Item = TypeVar("Item")

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskSequence(Sequence[Item]):
    """Items in a file without a name: it is gone when nothing refers to it, whatever ends the process.

    An item that is read is a new object. In memory are 20 bytes an item. Processes that are forked, such as those that
    load batches, may read at once.

    Args:
        items: are written one by one.
        directory: on whose disk the file is; None for the system's place for temporary files.

    Raises:
        DataError: the file cannot be written.
    """

    def __init__(self, items: Iterable[Item] = (), directory: Path | None = None) -> None:
        file = _File(items, directory) if items else None
        self._files: list[_File[Item]] = [] if file is None else [file]
        self._places: np.ndarray = np.arange(0 if file is None else len(file))
        self._numbers: np.ndarray = np.zeros(len(self._places), np.int32)

    def choose(self, indices: Sequence[int] | np.ndarray) -> Self:
        """The items at ``indices``, of the same file; one may come several times."""
        chosen = object.__new__(type(self))
        where = np.asarray(indices, dtype=np.int64)
        chosen._files, chosen._numbers, chosen._places = self._files, self._numbers[where], self._places[where]
        return chosen

    def where(self, wanted: Callable[[Item], bool]) -> Self:
        """The items that are ``wanted``."""
        return self.choose([i for i, item in enumerate(self) if wanted(item)])

    def __add__(self, other: DiskSequence[Item]) -> Self:
        both = object.__new__(type(self))
        both._files = [*self._files, *other._files]
        both._numbers = np.concatenate([self._numbers, other._numbers + len(self._files)])
        both._places = np.concatenate([self._places, other._places])
        return both

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Item | Self:
        if isinstance(index, slice):
            return self.choose(np.arange(len(self))[index])
        file: _File[Item] = self._files[self._numbers[index]]
        return file.item(int(self._places[index]))


class _File(Generic[Item]):
    def __init__(self, items: Iterable[Item], directory: Path | None) -> None:
        ends = array("q", [0])
        try:
            with tempfile.TemporaryFile(dir=directory, prefix=".cc-train-") as file:
                for item in items:
                    file.write(payload := pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
                    ends.append(ends[-1] + len(payload))
                file.flush()
                self._descriptor = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._descriptor)
        except OSError as error:
            place = directory or os.environ.get("TMPDIR", "the directory for temporary files")
            other = "TMPDIR names another" if directory is None else "choose an --output elsewhere"
            raise DataError(
                f"{place}: rows cannot be kept there ({one_line(error)}); {_room(error, place) or other}"
            ) from error
        self._ends: np.ndarray = np.frombuffer(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __reduce__(self) -> Never:
        raise TypeError("the rows' file has no name, so that only processes that are forked can read it")

    def item(self, place: int) -> Item:
        start, end = self._ends[place : place + 2].tolist()
        # Without a position of its own, so that processes that share the file do not move one another's.
        item: Item = pickle.loads(os.pread(self._descriptor, end - start, start))
        return item


def _room(error: OSError, place: str | Path) -> str | None:
    """What to do, if the disk is full; None if it is not."""
    if error.errno not in _FULL:
        return None
    return (
        f"{shutil.disk_usage(place).free / 1e6:.0f} MB are free there: make room"
        if os.path.isdir(place)
        else "make room"
    )

"""The alignment's targets on disk (ours, as the alignment is): ``a⁰_l`` of every different English prompt, once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cc_train.data.disk_sequence import DiskSequence
from cc_train.data.encoding import Example
from cc_train.data.records import DataError
from cc_train.two_pass.alignment import layer_weights
from cc_train.workspace import existing_parent

_NAME = "alignment-{}.f32"
_CHUNK = 64 << 20  # bytes in memory at a time


class AlignmentTargets:
    """``a⁰_l`` of each row's English prompt, in a file that is mapped into memory: ``[P, L, H]`` fp32.

    Parallel data has an English prompt in many languages; it stands in the file once.

    Args:
        examples: the rows that are trained on; an English one is its own parallel.
        directory: holds the file, 4 P L H bytes.
        layers: L.
        hidden_size: H.
        anchor_offset: the anchor's position, counted from a prompt's end.

    Raises:
        DataError: there are not two different English prompts.
    """

    def __init__(
        self, examples: Sequence[Example], directory: Path, layers: int, hidden_size: int, anchor_offset: int
    ) -> None:
        places: dict[bytes, int] = {}
        first: list[int] = []
        digest = hashlib.sha256(f"{anchor_offset} {layers} {hidden_size}".encode())
        self._places = np.zeros(len(examples), np.int64)
        for i, example in enumerate(examples):
            key = example.english_digest
            if key not in places:
                places[key] = len(places)
                first.append(i)
                digest.update(key)
            self._places[i] = places[key]
        # Beside ``directory``, which the main process may be about to make or to clear.
        beside = existing_parent(directory)
        self.prompts: Sequence[Example] = DiskSequence((_with_english(examples[i]) for i in first), beside)
        """A row for each different English prompt, in the order of the file."""
        if len(self.prompts) < 2:
            raise DataError("--align: all rows have the same English prompt; add rows with others")
        self.path = directory / _NAME.format(digest.hexdigest()[:16])
        self._shape = (len(self.prompts), layers, hidden_size)
        self._values: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return 4 * int(np.prod(self._shape))

    def written(self) -> bool:
        """Whether an earlier part of the run has written the whole file.

        Raises:
            DataError: it has written the targets of other rows.
        """
        if self.path.exists():
            return self.path.stat().st_size == self.size
        if any(self.path.parent.glob(_NAME.format("*"))):
            raise DataError(
                f"{self.path.parent}: holds the alignment targets of other rows; resume with the --data, --align-data, "
                "--max-rows, --max-length, --chat-template-kwargs, --anchor-offset and --seed that the run began with, "
                "or start again with --overwrite"
            )
        return False

    def allocate(self) -> None:
        """Make the file under another name; `publish` gives it its own."""
        with self._partial.open("wb") as file:
            file.truncate(self.size)

    def write(self, batches: Iterable[tuple[list[int], Tensor]]) -> None:
        """Write some prompts' activations ``[B, L, H]``; several processes may write theirs at once.

        Args:
            batches: indices into ``prompts``, and their activations.
        """
        with self._partial.open("r+b") as file:
            for indices, activations in batches:
                for index, value in zip(indices, activations.float().cpu().numpy(), strict=True):
                    file.seek(index * value.nbytes)
                    file.write(value.tobytes())  # a memory map would be killed by a full disk
            file.flush()
            os.fsync(file.fileno())  # a power cut may not leave a whole file of zeros under the name

    def publish(self) -> None:
        """Give the file its name, when every prompt is written."""
        self._partial.replace(self.path)

    def remove(self) -> None:
        """Remove the file."""
        self._values = None
        self.path.unlink(missing_ok=True)

    def layer_weights(self) -> Tensor:
        """`cc_train.two_pass.alignment.layer_weights` of the variance over all prompts, ``[L]``."""
        mean = sum(part.sum(dim=0) for part in self._parts()) / len(self.prompts)
        squares = sum((part - mean).square().sum(dim=(0, 2)) for part in self._parts())
        assert isinstance(squares, Tensor)
        return layer_weights(squares / (len(self.prompts) * self._shape[2]))

    def of(self, rows: Sequence[int]) -> Tensor:
        """The targets of ``rows``, ``[B, L, H]``."""
        values = self._mapped()
        return torch.from_numpy(np.stack([values[self._places[row]] for row in rows]))

    @property
    def _partial(self) -> Path:
        return self.path.with_suffix(".partial")

    def _mapped(self) -> np.ndarray:
        if self._values is None:
            self._values = np.memmap(self.path, np.float32, "r", shape=self._shape)
        return self._values

    def _parts(self) -> Iterator[Tensor]:
        values = self._mapped()
        step = max(1, _CHUNK // (4 * self._shape[1] * self._shape[2]))
        for start in range(0, len(values), step):
            yield torch.from_numpy(np.array(values[start : start + step])).double()


def _with_english(example: Example) -> Example:
    """``example`` with its English prompt, which an English row's own prompt is."""
    return example if example.row.connected else replace(example, english=example.prompt)

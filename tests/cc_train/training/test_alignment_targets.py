"""The alignment's targets: what the model computes on each different English prompt, kept in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cc_train.data.encoding import Example
from cc_train.data.records import DataError
from cc_train.training import alignment_targets
from cc_train.training.alignment_targets import AlignmentTargets
from cc_train.training.precompute import english_batches, precompute_english
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import examples
from tests.support.disk import files_of_at_most
from tests.support.tiny import HIDDEN, LAYERS, tiny_llama

TEXTS = [
    ("de", "Wie heisst es?", "What is it?", "beta"),
    ("en", "Say it", "", "alpha!"),
    ("fr", "Quoi", "What is it?", "no"),
    ("de", "Sag es", "Say it", "zeta eta"),
]


def made(some: list[Example], directory: Path, offset: int = -1) -> AlignmentTargets:
    return AlignmentTargets(some, directory, LAYERS, HIDDEN, offset)


def written(some: list[Example], directory: Path, parts: int = 1) -> AlignmentTargets:
    model = TwoPassModel(tiny_llama(), None).eval()
    targets = made(some, directory)
    targets.allocate()
    for part in range(parts):
        targets.write(english_batches(model, targets.prompts, 0, part, parts))
    targets.publish()
    return targets


def test_each_row_gets_its_english_prompts_activations_and_an_english_row_its_own(tmp_path: Path) -> None:
    some = examples(TEXTS)
    targets = written(some, tmp_path)
    assert len(targets.prompts) == 2, "two of the four rows have the prompt of another"
    found = targets.of([3, 0, 1, 2])
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[3])
    expected = precompute_english(TwoPassModel(tiny_llama(), None).eval(), some[2:], 0)
    torch.testing.assert_close(found[[3, 0]], expected)


def test_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_train.training.precompute._BATCH", 2)
    some = examples([("de", "Wort", "What? " + "x" * i, "beta") for i in range(7)])
    (tmp_path / "two").mkdir()
    one, two = written(some, tmp_path), written(some, tmp_path / "two", parts=2)
    assert one.path.read_bytes() == two.path.read_bytes() != bytes(one.size)


def test_the_weights_are_those_of_the_variance_over_all_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = examples([("de", "Wort", "What? " + "x" * i, "beta") for i in range(7)])
    targets = written(some, tmp_path)
    values = targets.of(range(7)).double()
    variance = (values - values.mean(dim=0)).square().mean(dim=(0, 2))
    torch.testing.assert_close(targets.layer_weights(), (1 / (variance + 1e-6)).float())
    monkeypatch.setattr(alignment_targets, "_CHUNK", 2 * 4 * LAYERS * HIDDEN)
    torch.testing.assert_close(targets.layer_weights(), (1 / (variance + 1e-6)).float())


def test_only_targets_of_the_same_rows_are_used_again(tmp_path: Path) -> None:
    some = examples(TEXTS)
    targets = made(some, tmp_path)
    assert not targets.written()
    targets.allocate()
    assert not targets.written(), "not before they are complete"
    written(some, tmp_path)
    assert made(some, tmp_path).written()
    with targets.path.open("r+b") as file:
        file.truncate(targets.size - 4)
    assert not made(some, tmp_path).written(), "a torn file is written again"
    written(some, tmp_path)
    assert made(some, tmp_path).written()
    reversed_rows, other_anchor = made(some[::-1], tmp_path), made(some, tmp_path, -2)
    for other in (reversed_rows, other_anchor, AlignmentTargets(some, tmp_path, 2, HIDDEN, -1)):
        with pytest.raises(DataError, match="holds the alignment targets of other rows; resume with"):
            other.written()
    targets.remove()
    assert not list(tmp_path.iterdir())


def test_rows_of_one_english_prompt_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all rows have the same English prompt"):
        made(examples([TEXTS[0], TEXTS[2]]), tmp_path)


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path) -> None:
    """A write into a memory map would end the process."""

    def batches() -> Iterator[tuple[list[int], torch.Tensor]]:
        yield [0, 1], torch.ones(2, LAYERS, HIDDEN)

    targets = made(examples(TEXTS), tmp_path)
    targets.allocate()
    with files_of_at_most(100), pytest.raises(OSError, match="too large"):
        targets.write(batches())

"""The commands that measure training: what they count is what a step computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import step_cost
from benchmarks.padding import padding_share
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.training.sampling import EpochLengthSampler, cost
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import examples
from tests.support.paths import ROOT
from tests.support.tiny import HIDDEN, LAYERS, tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows


def test_padding_is_what_the_longest_row_adds_in_either_pass() -> None:
    """Of the English prompts only those of connected rows count."""
    some = examples([("de", "ab", "abcd", "beta"), ("de", "abcdef", "ab", "beta"), ("en", "ab", "ab", "beta")])
    own = [len(example.prompt) + len(example.answer) for example in some]
    english = [len(example.english) for example in some[:2]]
    assert (own[1] - own[0], own[2], english[0] - english[1]) == (4, own[0], 2)
    real = sum(own) + sum(english)
    assert padding_share(some, [0, 1, 2], 3) == pytest.approx(1 - real / (real + 2 * 4 + 2))
    assert padding_share(some, [0, 1, 2], 1) == 0


def test_rows_by_length_differ_by_epoch_and_not_by_what_was_drawn_before() -> None:
    some = examples([("de", "q" * (17 * i % 40), "q" * (17 * i % 40), "beta") for i in range(400)])
    lengths = [cost(example) for example in some]

    def order(epoch: int, seed: int = 0) -> list[int]:
        sampler = EpochLengthSampler(8, lengths, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0) == order(0)
    assert sorted(order(0)) == sorted(order(1)) == list(range(400))
    assert len({tuple(order(0)), tuple(order(1)), tuple(order(0, seed=9))}) == 3
    assert padding_share(some, order(0), 8) < 0.5 * padding_share(some, range(400), 8)


def test_a_step_is_measured_beside_its_baseline(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    data = write_rows(tmp_path / "rows.jsonl", word_rows())
    given = ["--model", str(base), "--data", str(data), "--rounds", "2", "--json", str(tmp_path / "costs.json")]
    kinds = ("sft", "connection", "cc-align", "cc", "cc-by-length", "cc-padding-free")
    assert step_cost.main([*given, "--layers", "2", "--kinds", *kinds]) == 0
    output = capsys.readouterr().out
    assert "CC, frozen base" in output
    assert "means over 2 steps of 8 rows" in output
    costs = json.loads((tmp_path / "costs.json").read_text())["costs"]
    assert costs["sft"]["ratio"] is None
    assert costs["connection"]["ratio"] == pytest.approx(costs["connection"]["seconds"] / costs["sft"]["seconds"])
    assert costs["cc-by-length"]["ratio"] == pytest.approx(costs["cc-by-length"]["seconds"] / costs["cc"]["seconds"])
    assert all(0 < cost["passes"] < cost["seconds"] and cost["peak"] > 100 for cost in costs.values())


def test_a_process_that_dies_ends_the_measurement(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="the process that measures sft ended with exit code 1; its own messages"):
        step_cost.main(["--model", str(tmp_path / "nowhere"), "--kinds", "sft", "--rounds", "1"])


def test_a_long_row_is_measured_with_gradient_checkpointing_and_without() -> None:
    """In a process of its own: on Linux, one that is started has the peak of the one that started it."""
    given = ("--length", "2048", "--layers", "16", "--hidden-size", "64", "--rounds", "1")
    command = [sys.executable, "-m", "benchmarks.long_rows", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    without, checkpointed = done.stdout.splitlines()
    assert without.startswith("without gradient checkpointing")
    assert checkpointed.startswith("with    gradient checkpointing")
    memory = [float(line.split()[-5]) for line in (without, checkpointed)]
    assert memory[0] > 1.25 * memory[1] > 0


def test_the_loss_in_chunks_is_measured_beside_the_whole() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.loss_memory",
        "--vocabulary",
        "2000",
        "--answers",
        "64",
        "--rounds",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    at_once, in_chunks = done.stdout.splitlines()
    assert at_once.startswith("logits at once")
    assert in_chunks.startswith("logits in chunks")


def test_logits_of_every_token_change_no_loss() -> None:
    model, decision = tiny_llama(), ExtendedDecisionMaker(LAYERS, HIDDEN)
    some = examples([("de", "wo ist es", "where is it", "beta"), ("fr", "qui", "who", "no")])
    dataset = PairDataset(some)
    batch = PairCollator(0)([dataset[i] for i in range(len(some))])
    del batch["row"]
    ours = TwoPassModel(model, decision).eval()
    expected = ours(**batch)["loss"]
    step_cost._make_whole(ours)
    torch.testing.assert_close(ours(**batch)["loss"], expected)

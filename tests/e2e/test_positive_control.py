"""A world in which training and serving must show what they are worth, from rows to served tokens.

English knows what language X does not (`tests.support.world`). Each system is trained by ``cc-train run`` and asked in
X about entities that only English knows. The bounds are far from what is measured, since other CPUs round otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer

from cc_core.connection import Connection, best_layer, decision_logits
from cc_core.names import GLOBAL
from cc_train.commands.main import main
from cc_train.data.chat import ChatEncoder
from cc_train.model.activations import connected_at
from cc_train.model.files import load_model
from cc_train.model.reference import Reference
from tests.support.world import ENGLISH, VOCABULARY, X, answer, facts, question, row, save_base, write_rows

STEPS = 300


@dataclass(frozen=True)
class Score:
    """Of the values in X: the share that is right, and nats."""

    accuracy: float
    loss: float


class Asked:
    """The unseen questions, asked in X of a trained model.

    Args:
        directory: a checkpoint of ``cc-train run``.
        connected: whether it has a connection.
    """

    def __init__(self, directory: Path, *, connected: bool) -> None:
        unseen = facts("unseen")
        encoder = ChatEncoder(AutoTokenizer.from_pretrained(directory))
        if connected:
            self.reference = Reference.from_checkpoint(directory)
        else:
            nothing = Connection(torch.zeros(4, 64), {GLOBAL: torch.eye(64)})
            self.reference = Reference(load_model(directory, torch.float32), nothing)
        self.prompts, self.english = (
            torch.tensor([encoder.prompt(question(lang, fact), 64) for fact in unseen]) for lang in (X, ENGLISH)
        )
        self.answers = torch.tensor([VOCABULARY[answer(X, fact)] for fact in unseen])
        self.own, self.true = (
            self.reference.capture(ids, torch.ones_like(ids)) for ids in (self.prompts, self.english)
        )

    def logits(self, vector: Tensor | None = None) -> Tensor:
        """After the anchor, ``[N, V]``, with ``vector`` [N, H] added."""
        anchors = torch.full((len(self.prompts),), self.prompts.shape[1] - 1)
        given = torch.zeros_like(self.own.embedding) if vector is None else vector
        with torch.inference_mode(), connected_at(self.reference.model, anchors, given):
            found: Tensor = self.reference.model(input_ids=self.prompts, use_cache=False).logits[:, -1]
        return found

    def given(self, activations: Tensor) -> Tensor:
        """Logits with the vector that the Decision Maker chooses from ``activations`` [N, L, H], as in training."""
        weight = self.reference.connection.decision
        chosen = best_layer(decision_logits(weight, activations.mean(dim=1), self.own.embedding))
        return self.logits(activations[torch.arange(len(chosen)), chosen])

    def served(self) -> Tensor:
        """Logits as they are served: with the model's own activations and the Transform Matrix."""
        return self.logits(self.reference.connection.decide(GLOBAL, self.own.activations, self.own.embedding).vector)

    def score(self, logits: Tensor) -> Score:
        right = (logits.argmax(dim=-1) == self.answers).float().mean()
        return Score(right.item(), F.cross_entropy(logits, self.answers).item())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A step is too small to be shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained model, and rows in X and in English about what X knows or is tuned on."""
    directory = tmp_path_factory.mktemp("world")
    known = facts("known") + facts("tuned")
    write_rows(directory / "x.jsonl", [row(X, fact) for fact in known])
    write_rows(directory / "english.jsonl", [row(ENGLISH, fact) for fact in known])
    save_base(directory / "base")
    return directory


def trained(world: Path, name: str, *options: str, base: str = "base", steps: int = STEPS) -> Path:
    output = world / name
    course = ["--max-steps", str(steps), "--per-device-train-batch-size", "32", "--warmup-steps", "20"]
    rates = ["--learning-rate", "3e-4", "--weight-decay", "0.01"]
    if "sft" not in options:
        rates += ["--decision-learning-rate", "1e-3"]
    where = ["--model", str(world / base), "--output", str(output), "--save-dtype", "float32", "--use-cpu"]
    quiet = ["--disable-tqdm", "true", "--logging-steps", "50", "--seed", "1"]
    assert main(["run", *where, *course, *rates, *quiet, *options]) == 0
    return output


def both_languages(world: Path) -> tuple[str, ...]:
    return ("--data", str(world / "x.jsonl"), f"{world / 'english.jsonl'}=0.33")


@pytest.fixture(scope="module")
def tuned(world: Path) -> Score:
    asked = Asked(trained(world, "sft", "--method", "sft", *both_languages(world)), connected=False)
    return asked.score(asked.logits())


@pytest.fixture(scope="module")
def connected(world: Path) -> Asked:
    return Asked(trained(world, "cc", "--align", "4", *both_languages(world)), connected=True)


def test_fine_tuning_alone_does_not_carry_over_what_english_knows(tuned: Score) -> None:
    """Otherwise nothing here could show anything. By chance it would be 0.08."""
    assert tuned.accuracy < 0.35


def test_aligned_fine_tuning_does(world: Path, tuned: Score) -> None:
    asked = Asked(trained(world, "aligned", "--method", "sft", "--align", "4", *both_languages(world)), connected=False)
    aligned = asked.score(asked.logits())
    assert aligned.accuracy >= tuned.accuracy + 0.10
    assert aligned.loss <= tuned.loss - 1.0


def test_true_english_activations_are_read(connected: Asked) -> None:
    """Those of another question are not: it is their content that helps."""
    order = list(range(len(connected.answers)))
    random.Random(0).shuffle(order)
    english = connected.true.activations
    true, shuffled = (connected.score(connected.given(given)) for given in (english, english[order]))
    assert true.accuracy >= shuffled.accuracy + 0.12


def test_the_connection_as_served_beats_fine_tuning(connected: Asked, tuned: Score) -> None:
    served = connected.served()
    assert connected.score(served).loss <= tuned.loss - 0.4
    assert (served - connected.logits()).abs().max() > 0.1, "the connection is dead: plain is what beats fine-tuning"


def test_what_is_scored_is_what_the_reference_serves(connected: Asked) -> None:
    """The engine's tests hold the engine to it, token for token."""
    expected = connected.served().argmax(dim=-1)[:40].tolist()
    found = [connected.reference.generate(prompt, GLOBAL, 1).tokens[0] for prompt in connected.prompts[:40].tolist()]
    assert found == expected


def test_where_the_matrix_must_work_serving_is_training(world: Path) -> None:
    """Words of X's questions that are copies of English ones: the model's own activations are the English ones."""
    save_base(world / "copied", copied=True)
    options = ("--freeze-embeddings", "true", "--data", str(world / "x.jsonl"))
    asked = Asked(trained(world, "same", *options, base="copied", steps=STEPS // 3), connected=True)
    torch.testing.assert_close(asked.own.activations, asked.true.activations, rtol=1e-3, atol=1e-3)
    true = asked.true.activations
    served, english, others = asked.served(), asked.given(true), asked.given(true.roll(1, dims=0))
    assert (served.argmax(dim=-1) == english.argmax(dim=-1)).float().mean() >= 0.97
    assert asked.score(served).loss == pytest.approx(asked.score(english).loss, abs=0.1)
    assert asked.score(served).loss <= asked.score(others).loss - 0.4

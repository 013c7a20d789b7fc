"""What the experiments lean on: scoring from a prompt that is run once, and the paired comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import GenerationConfig, PreTrainedModel

from cc_core.connection import Connection, sample_layer
from cc_train.data.batches import IGNORED, PairCollator, PairDataset
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example, encode_rows
from cc_train.data.rows import Row
from cc_train.model.activations import connected_at
from cc_train.model.reference import Reference
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel
from experiments.compare import by_language, by_row, items_of, overview, paired
from experiments.rows import with_english
from experiments.score import CONDITIONS, score, vector
from experiments.tail import Tails, generate, losses, run_prompts
from experiments.train import hold
from experiments.train import main as train
from tests.support.tiny import HIDDEN, LAYERS, softcapped_gemma3, tiny_gemma3, tiny_llama
from tests.support.tiny_tokenizer import END, save_base, tiny_tokenizer, word_rows, write_rows

TEXTS = [
    ("de", "Wie heisst es?", "What is the name of it, please?", "beta"),
    ("fr", "Quoi", "X?", "no"),
    ("de", "Wo denn und wann denn?", "Where?", "zeta eta"),
]


@pytest.fixture(params=[tiny_llama, tiny_gemma3, softcapped_gemma3], ids=["llama", "gemma 3", "softcapped"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return request.param().eval()


@pytest.fixture
def encoder() -> ChatEncoder:
    return ChatEncoder(tiny_tokenizer(), GenerationConfig(eos_token_id=[END]))


@pytest.fixture
def examples(encoder: ChatEncoder) -> list[Example]:
    rows = [Row(lang, own, en, answer, "rows.jsonl", i, id=str(i)) for i, (lang, own, en, answer) in enumerate(TEXTS)]
    return list(encode_rows(rows, encoder, 128)[0])


@pytest.fixture
def connection() -> Connection:
    generator = torch.Generator().manual_seed(1)
    decision = torch.randn(LAYERS, HIDDEN, generator=generator)
    return Connection(decision, {"global": torch.randn(HIDDEN, HIDDEN, generator=generator) / HIDDEN**0.5})


@pytest.fixture
def tails(model: PreTrainedModel, examples: list[Example], encoder: ChatEncoder) -> Tails:
    return run_prompts(model, examples, encoder.pad_id)


@torch.no_grad()
@pytest.mark.parametrize("connected", [False, True])
def test_losses_are_those_of_the_whole_row(
    model: PreTrainedModel, examples: list[Example], encoder: ChatEncoder, tails: Tails, connected: bool
) -> None:
    vectors = torch.randn(len(examples), HIDDEN, generator=torch.Generator().manual_seed(2)) if connected else None
    found = losses(model, tails, vectors)
    dataset = PairDataset(examples)
    batch = PairCollator(encoder.pad_id)([dataset[i] for i in range(len(dataset))])
    hooks = () if vectors is None else (lambda: connected_at(model, batch["anchors"], vectors),)
    answers = (
        TwoPassModel(model, None)
        .eval()
        .answer_logits(batch["input_ids"], batch["attention_mask"], batch["labels"], *hooks)
    )
    expected = F.cross_entropy(answers.logits, answers.targets, reduction="none")
    torch.testing.assert_close(found[tails.targets != IGNORED], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses(model, tails, vectors, tokens=1)[:, 0], found[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [None, "global"])
def test_answers_are_those_of_the_reference(
    model: PreTrainedModel,
    examples: list[Example],
    encoder: ChatEncoder,
    tails: Tails,
    connection: Connection,
    name: str | None,
) -> None:
    given = vector(connection, tails, "transform" if name else "plain")
    answers = generate(model, tails, given[0] if given else None, encoder.end, 12)
    reference = Reference(model, connection)
    for i, (example, answer) in enumerate(zip(examples, answers, strict=True)):
        expected = reference.generate(example.prompt.tolist(), name, 12, stop=encoder.end[:1])
        assert answer == [t for t in expected.tokens if t != encoder.end[0]]
        assert given is None or int(given[1][i]) == expected.layer


def test_every_condition_is_scored_for_every_row(
    model: PreTrainedModel, examples: list[Example], encoder: ChatEncoder, connection: Connection
) -> None:
    result = score(model, connection, examples, encoder)
    for condition in ("plain", "transform", "english", "identity", "random", "shuffled"):
        assert len(result[condition]["loss"]) == len(examples)
    assert len({tuple(result[c]["loss"]) for c in ("plain", "transform", "english", "identity", "random")}) == 5
    assert set(score(model, None, examples, encoder)) == {"rows", "lang", "tokens", "plain"}


@pytest.mark.parametrize("system", ["sft", "cc", "connection_raw"])
def test_a_system_is_trained_and_scored_once(system: str, tmp_path: Path) -> None:
    base = save_base(tmp_path / "tiny", tiny_llama())
    data = str(write_rows(tmp_path / "rows.jsonl", word_rows()))
    given = ["--system", system, "--seed", "0", "--from", str(base), "--train", data, "--dev", data, "--steps", "2"]
    where = ["--output", str(tmp_path / "results"), "--weights", str(tmp_path / "weights")]
    train([*given, *where])
    result = tmp_path / "results" / f"{system}-0.json"
    scores = json.loads(result.read_text("utf-8"))
    assert len(scores["training"]["loss"]) == 2
    assert len(scores["plain"]["loss"]) == len(scores["plain"]["f1"]) == len(scores["tokens"]) > 0
    assert ("transform" in scores) == (system != "sft")
    assert overview({system: [scores]}).count("\n") == len([c for c in CONDITIONS if c in scores]) + 1
    written = result.stat().st_mtime_ns
    train([*given, *where])
    assert result.stat().st_mtime_ns == written


def test_a_prompt_with_english_in_it_holds_both() -> None:
    lines = [json.dumps({"lang": lang, "instruction": "own", "instruction_en": "English"}) for lang in ("de", "en")]
    given = [json.loads(line)["instruction"] for line in with_english(lines)]
    assert given == ["English\nown", "own"]


def test_a_held_decision_maker_chooses_its_layer_whatever_the_prompt_and_the_noise() -> None:
    decision, embedding = ExtendedDecisionMaker(LAYERS, HIDDEN, projection=torch.eye(HIDDEN)), torch.randn(HIDDEN)
    hold(decision, 2, embedding)
    activations = 0.3 * torch.randn(64, LAYERS, HIDDEN)
    chosen = sample_layer(decision(activations, embedding.expand(64, -1)), 1.0)
    assert (chosen.argmax(-1) == 2).all()


def test_rows_are_paired_by_their_ids() -> None:
    scores = {
        "rows": ["b", "a"],
        "tokens": [2, 1],
        "plain": {"loss": [5.0, 4.0], "layer": []},
        "training": {"loss": [1]},
    }
    expected = {
        "rows": ["a", "b"],
        "tokens": [1, 2],
        "plain": {"loss": [4.0, 5.0], "layer": []},
        "training": {"loss": [1]},
    }
    assert by_row(scores) == expected


def test_a_paired_difference_is_as_certain_as_its_rows_agree() -> None:
    rows = np.random.default_rng(0)
    base, tokens, items = rows.gamma(2.0, 5.0, (3, 300)), np.full(300, 4.0), np.arange(300)
    mean, low, high = paired(base - 0.4, base, tokens, items)  # every row better by 0.1 a token
    assert (mean, low, high) == pytest.approx((-0.1, -0.1, -0.1))
    mean, low, high = paired(base + rows.normal(0, 4, base.shape), base, tokens, items)
    assert low < 0 < high


def test_rows_of_one_item_in_several_languages_are_no_more_certain_than_one() -> None:
    generator = np.random.default_rng(0)
    base = generator.gamma(2.0, 5.0, (3, 60))
    changed = base + generator.normal(0, 4, base.shape)
    once = paired(changed, base, np.full(60, 4.0), np.arange(60))
    repeated = (np.tile(each, (1, 5)) for each in (changed, base))
    assert paired(*repeated, np.full(300, 4.0), np.tile(np.arange(60), 5)) == pytest.approx(once)


def test_an_item_is_its_id_without_the_language() -> None:
    scores = {"rows": ["mkqa-de-11", "mkqa-de-12", "mkqa-zh-11"], "lang": ["de", "de", "zh"]}
    assert items_of(scores).tolist() == [0, 1, 0]


def test_answers_in_another_script_lower_the_share_of_own_words() -> None:
    """An answer that tells nothing, such as a number, is left out of the share."""
    answers = ["красная река", "red river", "1984", "река"]
    scores = {"rows": ["0", "1", "2", "3"], "tokens": [1] * 4, "lang": ["ru"] * 4, "plain": {"loss": [1.0] * 4}}
    scores["plain"]["answer"] = answers
    systems = {"sft": [by_row(scores)]}
    assert by_language(systems, [("sft", "plain")], "own_words").splitlines()[-1] == "| sft, plain | 0.667 |"
    assert by_language(systems, [("sft", "plain")], "with Latin letters").splitlines()[-1] == "| sft, plain | 0.250 |"

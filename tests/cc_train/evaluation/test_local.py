"""Batched answers are the reference's, one for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from cc_core.checkpoint import save_connection
from cc_core.connection import chosen_activation, decision_logits
from cc_serve.routing.router import Router
from cc_train.data.chat import ChatEncoder
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.items import EvaluationError, EvaluationRow
from cc_train.evaluation.local import LocalCheckpoint
from cc_train.model.activations import connected_at
from cc_train.model.reference import Reference
from tests.support.tiny import random_connection, tiny_gemma3, tiny_llama
from tests.support.tiny_tokenizer import END, save_base, tiny_tokenizer

TOKENS = 8
STOPS = [2, END]
LANGUAGES = ("de", "en", "fr", "sw")
ROWS = [
    EvaluationRow(f"mkqa/{language}/{n}", "mkqa", language, prompt, f"In English: {prompt}", ("alpha",))
    for language in LANGUAGES
    for n, prompt in enumerate(["alpha?", "Which is longer than a window of 16 tokens, beta or gamma?", "x y z"])
]


@pytest.fixture(scope="module", params=[tiny_llama, tiny_gemma3])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("evaluated") / "tiny"
    save_base(directory, request.param())
    save_connection(directory, random_connection(["global", "de"]), ["de", "fr"])
    return directory


def answers(backend: LocalCheckpoint) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    refused: list[str] = []
    backend.answer(ROWS, lambda a: found.update({a.key: a}), lambda row, why: refused.append(f"{row.key}: {why}"))
    assert not refused
    return found


@pytest.mark.parametrize("connection", ["auto", "off", "global", "de"])
def test_the_references_tokens(checkpoint: Path, connection: str) -> None:
    reference = Reference.from_checkpoint(checkpoint)
    encoder = ChatEncoder(tiny_tokenizer(), reference.model.generation_config)
    auto = {"de": "de", "en": "off", "fr": "global", "sw": "off"}
    found = answers(LocalCheckpoint(checkpoint, connection, TOKENS, batch_size=5))
    for row in ROWS:
        name = auto[row.lang] if connection == "auto" else connection
        prompt = encoder.encode(encoder.render(row.prompt))
        tokens = reference.generate(prompt, None if name == "off" else name, TOKENS, stop=STOPS).tokens
        ended = tokens[-1] in STOPS
        assert found[row.key] == Answer(
            row.key,
            row.digest,
            encoder.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True),
            "stop" if ended else "length",
            len(prompt),
            len(tokens),
            name,
        )


def test_the_servers_route_is_taken(tmp_path: Path) -> None:
    """Also of a language that has a matrix of its own, and that the checkpoint does not list."""
    save_base(tmp_path, tiny_llama())
    save_connection(tmp_path, random_connection(["global", "de"]), ["fr"])
    router = Router.of(tmp_path)
    found = answers(LocalCheckpoint(tmp_path, "auto", TOKENS, 4))
    assert {row.lang: found[row.key].connection for row in ROWS} == {
        language: router.connection_for(language) for language in LANGUAGES
    }


def test_a_language_that_the_connection_was_shown_to_harm_is_answered_plain(tmp_path: Path) -> None:
    """As the server answers it; a name still forces the connection."""
    save_base(tmp_path, tiny_llama())
    harm = {"pairs": 20, "gain": -0.2, "low": -0.3, "high": -0.1}
    gains = {"de": harm, "fr": {**harm, "high": 0.1}}
    evidence = {"held_out_of": "training", "overall": harm, "languages": gains}
    save_connection(tmp_path, random_connection(["global", "de"]), ["de", "fr"], evidence=evidence)
    found = answers(LocalCheckpoint(tmp_path, "auto", TOKENS, 4))
    assert {row.lang: found[row.key].connection for row in ROWS} == {
        "de": "off",
        "en": "off",
        "fr": "global",
        "sw": "off",
    }
    forced = answers(LocalCheckpoint(tmp_path, "de", TOKENS, 4))
    assert {answer.connection for answer in forced.values()} == {"de"}


def test_true_english_activations(checkpoint: Path) -> None:
    reference = Reference.from_checkpoint(checkpoint)
    encoder = ChatEncoder(tiny_tokenizer(), reference.model.generation_config)
    found = answers(LocalCheckpoint(checkpoint, "english", TOKENS, batch_size=3))
    for row in ROWS:
        if row.lang == "en":
            assert found[row.key].connection == "off"
            continue
        own, english = (torch.tensor([encoder.encode(encoder.render(text))]) for text in (row.prompt, row.english))
        with torch.inference_mode():
            a = reference.capture(english, torch.ones_like(english)).activations
            e = reference.capture(own, torch.ones_like(own)).embedding
            layer = decision_logits(reference.connection.decision, a.mean(dim=1), e).argmax(dim=-1)
            vector = chosen_activation(torch.nn.functional.one_hot(layer, a.shape[1]), a)
            with connected_at(reference.model, torch.tensor([own.shape[1] - 1]), vector):
                first = int(reference.model(own).logits[0, -1].argmax())
        ours = found[row.key].text
        assert ours.startswith(encoder.tokenizer.decode([first], skip_special_tokens=True))
        assert found[row.key].connection == "english"


def test_a_plain_model(tmp_path: Path) -> None:
    save_base(tmp_path, tiny_llama())
    found = answers(LocalCheckpoint(tmp_path, "auto", TOKENS, 4))
    assert {answer.connection for answer in found.values()} == {"off"}
    with pytest.raises(EvaluationError, match=r"--connection global: .* is a plain model; it has: auto, off"):
        LocalCheckpoint(tmp_path, "global", TOKENS, 4)


def test_an_unknown_connection_is_refused(checkpoint: Path) -> None:
    with pytest.raises(EvaluationError, match=r"--connection xx: .* has: auto, off, english, global, de"):
        LocalCheckpoint(checkpoint, "xx", TOKENS, 4)


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no config\.json there"):
        LocalCheckpoint(tmp_path, "auto", TOKENS, 4)


def test_a_template_without_a_generation_prompt_is_not_called_damaged(checkpoint: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(checkpoint, tmp_path / "mine"))
    template = "{% for turn in messages %}<|{{ turn.role }}|>{{ turn.content }}{% endfor %}"
    (mine / "chat_template.jinja").write_text(template)
    with pytest.raises(EvaluationError, match=r"--checkpoint .*mine: the chat template has no gen.*(?<!again)$"):
        LocalCheckpoint(mine, "auto", TOKENS, 4)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_checkpoint_is_named(name: str, checkpoint: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(checkpoint, tmp_path / "mine"))
    (mine / name).write_bytes((mine / name).read_bytes()[:500])
    with pytest.raises(EvaluationError, match=r"--checkpoint .*mine: cannot be loaded \(.*\); copy it again"):
        LocalCheckpoint(mine, "auto", TOKENS, 4)


def test_rows_that_cannot_be_answered(checkpoint: Path) -> None:
    long = EvaluationRow("mkqa/de/long", "mkqa", "de", "a" * 600, "", ("alpha",))
    bare = EvaluationRow("mkqa/de/bare", "mkqa", "de", "alpha?", "", ("alpha",))
    found: dict[str, str] = {}
    backend = LocalCheckpoint(checkpoint, "english", TOKENS, 4)
    backend.answer(
        [long, bare], lambda a: found.update({a.key: "answered"}), lambda row, why: found.update({row.key: why})
    )
    assert found["mkqa/de/bare"] == "no 'instruction_en' to take English activations from"
    LocalCheckpoint(checkpoint, "auto", TOKENS, 4).answer(
        [long], lambda a: found.update({a.key: "answered"}), lambda row, why: found.update({row.key: why})
    )
    assert "a prompt of 60" in found["mkqa/de/long"]
    assert "longer than the model's context" in found["mkqa/de/long"]


def test_the_system_tells_checkpoints_and_settings_apart(checkpoint: Path, tmp_path: Path) -> None:
    same = LocalCheckpoint(checkpoint, "auto", TOKENS, 4).system()
    assert same == LocalCheckpoint(checkpoint, "auto", TOKENS, 9).system(), "batches change no answer"
    assert same != LocalCheckpoint(checkpoint, "off", TOKENS, 4).system()
    other = tmp_path / "tiny"
    save_base(other, tiny_llama(seed=1))
    save_connection(other, random_connection(["global", "de"]), ["de", "fr"])
    assert same["checkpoint"] != LocalCheckpoint(other, "auto", TOKENS, 4).system()["checkpoint"]

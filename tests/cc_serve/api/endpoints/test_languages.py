"""``GET /v1/languages`` and the cards of ``/v1/models``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList

import cc_train.fit.fitting
from cc_core.names import FIT_FILE
from cc_serve.api.endpoints.languages import Language, Languages, describe_models, languages_of
from cc_serve.api.fit import load_fit
from cc_serve.routing.policy import RoutingPolicy
from cc_serve.routing.router import Router
from tests.support.paths import ROOT

FIGURES: dict[str, Any] = {
    "pairs": 3,
    "matrix": "de",
    "transform": {"r2": 0.9, "cosine": 0.8, "agreement": 0.7, "r2_by_layer": [0.1]},
    "identity": {"r2": None, "cosine": 0.5, "agreement": 0.4, "cosine_by_layer": [0.1]},
    "answer_loss": {"plain": 2.0, "transform": 1.5},
}

router = Router(["global", "de"], ["de", "fr"])


def write(directory: Path, content: object) -> Path:
    (directory / FIT_FILE).write_text(content if isinstance(content, str) else json.dumps(content))
    return directory


def test_the_trainer_writes_the_file_that_is_read() -> None:
    assert cc_train.fit.fitting.FIT_FILE == FIT_FILE


def test_languages_with_their_connections_and_fit(tmp_path: Path) -> None:
    fit = load_fit(write(tmp_path, {"scores": {"all": {**FIGURES, "pairs": 9, "matrix": None}, "de": FIGURES}}))
    answer = languages_of(router, fit).model_dump()
    assert answer["connections"] == ["global", "de"]
    assert answer["fit"]["pairs"] == 9
    assert [(item["language"], item["connection"]) for item in answer["data"]] == [
        *(("de", "de"), ("en", "off"), ("fr", "global"))
    ]
    fits = {item["language"]: item["fit"] for item in answer["data"]}
    assert fits["de"] == {
        "pairs": 3,
        "transform": {"r2": 0.9, "cosine": 0.8, "agreement": 0.7},
        "identity": {"r2": None, "cosine": 0.5, "agreement": 0.4},
        "answer_loss": {"plain": 2.0, "transform": 1.5},
    }
    assert (fits["en"], fits["fr"]) == (None, None)


def test_connections_are_the_policys(tmp_path: Path) -> None:
    policy = RoutingPolicy(connections={"de": "global", "fr": "off"})
    answer = languages_of(router.with_policy(policy), load_fit(tmp_path))
    assert answer.strengths == (0, 2)
    data = answer.data
    assert {item.language: item.connection for item in data} == {"de": "global", "en": "off", "fr": "off"}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"scores": 5}', {"scores": {"de": {**FIGURES, "pairs": "x"}}}])
def test_a_damaged_fit_is_left_out(tmp_path: Path, content: object) -> None:
    assert load_fit(write(tmp_path, content)) == {}


def test_every_card_says_that_the_model_is_connected() -> None:
    class Models:
        async def show_available_models(self) -> ModelList:
            return ModelList(data=[ModelCard(id="a"), ModelCard(id="b")])

    models = Models()
    plain = asyncio.run(models.show_available_models()).model_dump()["data"]
    describe_models(models, lambda: Router(["global", "de"], ["de", "fr"], sha256="0f"))
    cards = asyncio.run(models.show_available_models()).model_dump()["data"]
    expected = {"connections": ["global", "de"], "languages": ["de", "fr"], "sha256": "0f"}
    assert [card.pop("cc_connection") for card in cards] == [expected, expected]
    assert [set(card) for card in cards] == [set(card) for card in plain], "nothing else changes"


def test_the_documented_answer_has_every_field() -> None:
    (example,) = re.findall(
        r'^\{"object": "list", "connections".*$', (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE
    )
    answer = json.loads(example)
    assert answer.keys() == Languages.model_fields.keys()
    assert answer["data"][0].keys() == Language.model_fields.keys()
    Languages.model_validate(answer)

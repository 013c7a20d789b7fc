"""``GET /v1/layers``: the fit by layer, and the layers that were chosen."""

from __future__ import annotations

import json
from pathlib import Path

from cc_core.names import FIT_FILE
from cc_serve.api.endpoints.layers import layers_of
from cc_serve.api.fit import load_fit
from cc_serve.api.telemetry import metrics
from cc_serve.routing.router import Router
from tests.support.server import MODEL, Server
from tests.support.tiny import LAYERS

GERMAN = "Wer hat das Buch Faust geschrieben?"


def test_the_fit_by_layer_where_there_is_one(tmp_path: Path) -> None:
    agreement = {"r2": 0.9, "cosine": 0.85, "agreement": 0.7, "cosine_by_layer": [0.9, 0.8]}
    figures = {"pairs": 3, "transform": agreement, "identity": agreement, "answer_loss": {"plain": 2.0}}
    (tmp_path / FIT_FILE).write_text(json.dumps({"scores": {"de": figures}}))
    answer = layers_of(Router(["global"], ["de", "fr"]), load_fit(tmp_path), 2)
    assert answer.layers == 2
    assert {item.language: item.cosine for item in answer.data} == {"de": [0.9, 0.8], "en": None, "fr": None}


def test_choices_count_by_language_whether_it_is_served_or_not() -> None:
    before = metrics.chosen_layers()
    for language, name, layer in (("fr", "global", 1), ("fr", "fr", 1), ("fr", "global", 0), (None, "global", 1)):
        metrics.count_connection(language, {"name": name, "layer": layer, "captures": 1})
    answer = layers_of(Router(["global"], ["fr"]), {}, 2)
    counts = {item.language: item.chosen for item in answer.data}
    was = before.get("fr", {})
    assert counts["fr"] == [was.get(0, 0) + 1, was.get(1, 0) + 2]
    assert counts["none"][1] == before.get("none", {}).get(1, 0) + 1
    assert counts["en"] == [0, 0]


def test_the_server_counts(server: Server) -> None:
    def german() -> list[int]:
        answer = server.http.get("/v1/layers").json()
        assert answer["layers"] == LAYERS
        return next(item["chosen"] for item in answer["data"] if item["language"] == "de")

    before = german()
    body = {"model": MODEL, "max_tokens": 2, "cc_details": True, "messages": [{"role": "user", "content": GERMAN}]}
    details = server.http.post("/v1/chat/completions", json=body).json()["cc_connection"]
    expected = [count + (layer == details["prompts"][0]["layer"]) for layer, count in enumerate(before)]
    assert german() == expected

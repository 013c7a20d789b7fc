"""Routing follows what was measured: harm goes plain, too little evidence connects, the operator has the last word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cc_core.checkpoint import save_connection
from cc_core.evidence import Evidence
from cc_serve.api.endpoints.languages import languages_of
from cc_serve.commands.main import main
from cc_serve.config.configuration import load_configuration
from cc_serve.config.settings import LiveSettings
from cc_serve.process.progress import ready_message
from cc_serve.routing.policy import RoutingPolicy
from cc_serve.routing.router import Router
from tests.support.application import make_app
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
FRENCH = "Où se trouve la gare la plus proche ?"
SWAHILI = "Kituo cha treni kilicho karibu kiko wapi?"
RUSSIAN = "Где находится ближайший вокзал?"
EVIDENCE: dict[str, Any] = {
    "held_out_of": "training",
    "overall": {"pairs": 95, "gain": 0.01, "low": -0.05, "high": 0.05},
    "languages": {
        "de": {"pairs": 40, "gain": -0.2, "low": -0.3, "high": -0.1},  # harms
        "fr": {"pairs": 40, "gain": -0.1, "low": -0.3, "high": 0.1},  # may harm
        "ru": {"pairs": 9, "gain": -2.0, "low": None, "high": None},  # too few pairs
        "sw": {"pairs": 40, "gain": 0.3, "low": 0.2, "high": 0.4},  # pays
    },
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = save_base(tmp_path_factory.mktemp("evidence") / "tiny", tiny_llama())
    save_connection(directory, random_connection(["global", "de"]), ["de", "fr", "ru", "sw", "th"], None, EVIDENCE)
    return directory


@pytest.fixture(scope="module")
def router(checkpoint: Path) -> Router:
    return Router.of(checkpoint)


@pytest.mark.parametrize(
    ("text", "connection", "rule"),
    [
        pytest.param(GERMAN, "off", "measured-harm", id="shown to harm"),
        pytest.param(FRENCH, "global", "classifier", id="interval holds 0"),
        pytest.param(RUSSIAN, "global", "classifier", id="too few pairs"),
        pytest.param(SWAHILI, "global", "classifier", id="pays"),
        pytest.param("สถานีรถไฟที่ใกล้ที่สุดอยู่ที่ไหน", "global", "script", id="not measured"),
        pytest.param("Where is the nearest train station, please?", "off", "classifier", id="English"),
    ],
)
def test_only_harm_that_was_shown_goes_plain(router: Router, text: str, connection: str, rule: str) -> None:
    found = router.explain([text])
    assert (found.connection, found.rule) == (connection, rule)
    assert (found.plain == "measured-harm") == (rule == "measured-harm")
    assert router.harmed == {"de"}
    assert "de" not in router.connected


@pytest.mark.parametrize(
    ("fields", "connection", "rule"),
    [
        ({}, "off", "measured-harm"),
        ({"connect": "measured"}, "off", "measured-harm"),
        ({"connect": "always"}, "de", "classifier"),
        ({"connections": {"de": "global"}}, "global", "classifier"),
        ({"connections": {"de": "de"}}, "de", "classifier"),
        ({"connections": {"de": "off"}}, "off", "classifier"),
        ({"connections": {"fr": "off"}}, "off", "measured-harm"),
        ({"languages": ["fr"]}, "off", "classifier"),
    ],
)
def test_the_operators_choice_stands_above_the_evidence(
    router: Router, fields: dict[str, Any], connection: str, rule: str
) -> None:
    found = router.with_policy(RoutingPolicy.model_validate(fields)).explain([GERMAN])
    assert (found.connection, found.rule) == (connection, rule)


def test_undecided_texts_get_the_default_whatever_was_measured(router: Router) -> None:
    found = router.with_policy(RoutingPolicy(default="de")).explain(["42"])
    assert (found.language, found.connection, found.rule) == (None, "de", "undecided")


@pytest.mark.parametrize(
    ("routing", "side"), [("holdout: 1", None), ("holdout: 1, connect: always", "plain")], ids=["harmed", "always"]
)
def test_a_language_that_goes_plain_is_on_no_side_of_a_holdout(
    checkpoint: Path, router: Router, tmp_path: Path, routing: str, side: str | None
) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"routing: {{{routing}}}")
    client = TestClient(make_app(LiveSettings(path, router, {}), checkpoint))
    told = client.post("/v1/route", json={"prompt": GERMAN}).json()
    assert (told["connection"], told["holdout"]) == ("off", side)


@pytest.mark.parametrize(("override", "connection"), [("de", "de"), ("global", "global"), ("off", "off")])
def test_a_request_that_names_its_connection_gets_it(router: Router, override: str, connection: str) -> None:
    found = router.explain([GERMAN], override)
    assert (found.connection, found.rule) == (connection, "override")


def test_without_evidence_everything_is_as_it_was() -> None:
    plain = Router(["global", "de"], ["de", "fr"])
    assert plain.explain([GERMAN]).connection == "de"
    assert (plain.evidence, plain.harmed) == (None, frozenset())
    answer = languages_of(plain, {})
    assert (answer.gain, answer.held_out_of) == (None, None)
    assert {(item.gain, item.harmed) for item in answer.data} == {(None, False)}


def test_the_server_says_why_and_by_how_much(checkpoint: Path, router: Router) -> None:
    client = TestClient(make_app(LiveSettings(None, router, {}), checkpoint))
    plan = client.post("/v1/route", json={"prompt": GERMAN}).json()
    assert (plan["language"], plan["connection"], plan["rule"]) == ("de", "off", "measured-harm")
    answer = client.get("/v1/languages").json()
    assert (answer["held_out_of"], answer["gain"]["gain"]) == ("training", 0.01)
    told = {item["language"]: (item["connection"], item["gain"], item["harmed"]) for item in answer["data"]}
    assert told["de"] == ("off", EVIDENCE["languages"]["de"], True)
    assert told["sw"] == ("global", EVIDENCE["languages"]["sw"], False)
    assert told["ru"] == ("global", {"pairs": 9, "gain": -2.0, "low": None, "high": None}, False)
    assert told["th"] == ("global", None, False)


def test_a_start_names_the_languages_that_go_plain(router: Router) -> None:
    def lines(of: Router) -> str:
        return ready_message("http://h:1", "m", of.connected, [], playground=False, harmed=of.harmed)

    assert "  harmed       de: plain" in lines(router)
    assert "global for fr ru sw th" in lines(router)
    assert "harmed" not in lines(router.with_policy(RoutingPolicy(connect="always")))


@pytest.mark.parametrize("value", ["maybe", "off", "true", "null", "3"])
def test_a_bad_choice_is_refused_by_its_field(tmp_path: Path, value: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"routing: {{connect: {value}}}")
    with pytest.raises(ValueError, match=r"routing\.connect: should be 'measured' or 'always'"):
        load_configuration(path)


def test_evidence_of_another_checkpoint_ends_the_start(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_base(tmp_path / "other", tiny_llama())
    save_connection(other, random_connection(["global"]), ["de"], None, EVIDENCE)
    evidence = Router.of(checkpoint).evidence
    assert isinstance(evidence, Evidence)
    config = (other / "config.json").read_text()
    found = Router.of(other).evidence
    assert isinstance(found, Evidence)
    before, _, after = config.partition('"evidence"')
    (other / "config.json").write_text(f'{before}"evidence"{after.replace(found.sha256, evidence.sha256, 1)}')
    assert main(["serve", str(other)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "field 'cc_connection.evidence': was measured on another connection" in error
    assert main(["doctor", str(other), "--port", "0"]) != 0

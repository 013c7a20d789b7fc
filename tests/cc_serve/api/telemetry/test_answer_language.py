"""Languages of sampled answers: which are counted, how, and that nobody waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind

from cc_serve.api.telemetry import answer_language
from cc_serve.api.telemetry.answer_language import WAITING, label, note_answer_language
from cc_serve.api.telemetry.answer_sample import MOST_CHARACTERS, AnswerSample
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.api.telemetry.token_times import Tally
from cc_serve.config.configuration import load_configuration
from cc_serve.routing.holdout import Side
from cc_serve.routing.router import Route

GERMAN = "der nächste Bahnhof liegt gleich hinter der alten Brücke, und von dort fährt jede Stunde ein Zug."


def answered(**changes: Any) -> RequestRecord:
    """A request in Swahili whose answer, in German, is over."""
    route = Route("sw", 0.99, "global")
    fields = {"route": route, "status": 200, "complete": True, "sample": AnswerSample(GERMAN), **changes}
    return RequestRecord("r", "/v1/completions", **fields)


def count(answered: str, holdout: str = "none") -> float:
    labels = {"asked": "sw", "answered": answered, "connection": "global", "holdout": holdout}
    return REGISTRY.get_sample_value("cc:answers_total", labels) or 0


def settle() -> None:
    """Wait until the thread has counted all that it was given."""
    answer_language._thread.submit(lambda: None).result(30)


@pytest.mark.parametrize(
    ("changes", "found", "holdout"),
    [
        ({}, "de", "none"),
        ({"holdout": Side.CONNECTED}, "de", "connected"),
        ({"sample": AnswerSample("42")}, "und", "none"),
        ({"sample": AnswerSample("il treno parte ogni ora dalla stazione dietro il vecchio ponte.")}, "other", "none"),
    ],
)
def test_a_sampled_answer_is_counted(changes: dict[str, Any], found: str, holdout: str) -> None:
    before = count(found, holdout)
    note_answer_language(answered(**changes))
    settle()
    assert count(found, holdout) == before + 1


@pytest.mark.parametrize(
    "changes",
    [{"sample": None}, {"sample": AnswerSample()}, {"status": 500}, {"complete": False}, {"failure": "server_error"}],
)
def test_what_is_not_sampled_or_did_not_end_well_is_not_counted(changes: dict[str, Any]) -> None:
    before = count("de")
    note_answer_language(answered(**changes))
    settle()
    assert count("de") == before


def test_labels_are_few() -> None:
    assert [label(code) for code in ("de", "it", None)] == ["de", "other", "und"]


def test_nobody_waits_and_what_is_too_much_is_dropped() -> None:
    held, before = threading.Event(), count("de")
    dropped = REGISTRY.get_sample_value("cc:answers_dropped_total") or 0
    answer_language._thread.submit(held.wait)
    start = time.perf_counter()
    for _ in range(WAITING + 7):
        note_answer_language(answered())
    assert time.perf_counter() - start < 10
    held.set()
    settle()
    assert REGISTRY.get_sample_value("cc:answers_dropped_total") == dropped + 7
    assert count("de") == before + WAITING
    note_answer_language(answered())
    settle()
    assert count("de") == before + WAITING + 1, "places are free again"


def output(*texts: str) -> RequestOutput:
    answers = [CompletionOutput(index, text, [7], None, None) for index, text in enumerate(texts)]
    return RequestOutput("r", None, [1], None, answers, False)


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        (RequestOutputKind.DELTA, [output("Gu", "x"), output("ten"), output(" Tag", "y")]),
        (RequestOutputKind.CUMULATIVE, [output("Gu", "x"), output("Guten"), output("Guten Tag", "xy")]),
        (RequestOutputKind.FINAL_ONLY, [output("Guten Tag", "xy")]),
    ],
)
def test_the_first_answer_is_gathered_however_it_comes(kind: RequestOutputKind, outputs: list[RequestOutput]) -> None:
    record = answered(sample=AnswerSample())
    first, second = Tally(kind, "global", record), Tally(kind, "global", record)
    for item in outputs:
        first.add(item)
        second.add(output("another prompt's"))
    assert record.sample is not None
    assert record.sample.text == "Guten Tag"


@pytest.mark.parametrize("whole", [False, True])
def test_no_more_is_kept_than_is_read(whole: bool) -> None:
    sample = AnswerSample()
    for _ in range(3):
        sample.add("x" * MOST_CHARACTERS + "y", whole=whole)
    assert sample.text == "x" * MOST_CHARACTERS


@pytest.mark.parametrize("value", ["-0.1", "1.1", ".nan", "true", "'0.5'", "null"])
def test_a_bad_share_is_refused_by_its_field(tmp_path: Path, value: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"metrics: {{answer_languages: {value}}}")
    with pytest.raises(ValueError, match=r"metrics\.answer_languages"):
        load_configuration(path)

"""What is no ISO 639-1 code is told what was probably meant."""

from __future__ import annotations

import pytest

from cc_core.language.detector import SERVED_LANGUAGES
from cc_train.data.language_codes import code_problem


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("german", "de"),
        ("Swahili", "sw"),
        ("deu", "de"),
        ("ger", "de"),
        ("zh-Hans", "zh"),
        ("pt_BR", "pt"),
        ("EN", "en"),
        ("jp", "ja"),
        ("cn", "zh"),
    ],
)
def test_a_suggestion(code: str, meant: str) -> None:
    assert code_problem(code) == f"{code!r} is no ISO 639-1 code; did you mean {meant!r}?"


@pytest.mark.parametrize("code", ["xx", "", "klingon", "a" * 500, "haw"])
def test_no_suggestion_where_there_is_none(code: str) -> None:
    problem = code_problem(code)
    assert problem is not None
    assert problem.endswith("is no ISO 639-1 code")
    assert len(problem) < 100


@pytest.mark.parametrize("code", [*SERVED_LANGUAGES, "zu", "xh", "ig"])
def test_codes(code: str) -> None:
    assert code_problem(code) is None

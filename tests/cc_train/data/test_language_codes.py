"""What is no ISO 639-1 code is told what was probably meant."""

from __future__ import annotations

import re

import pytest

from cc_core.language.detector import SERVED_LANGUAGES
from cc_train.data.language_codes import code_problem

OTHERS = re.findall(
    r"(\S+):(\w+)",
    "vn:vi dk:da cz:cs gr:el ua:uk il:he ir:fa al:sq ge:ka kz:kk rs:sr by:be pk:ur ph:tl tz:sw us:en gb:en mx:es eg:ar "
    "at:de lk:si iw:he ji:yi jw:jv arb:ar cmn:zh swh:sw pes:fa kor_Hang:ko zho_Hans:zh fil:tl Korean:ko 한국어:ko "
    "Deutsch:de français:fr Farsi:fa Castilian:es PT-br:pt",
)


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
        *(
            pair.split(":")
            for pair in [
                "vn:vi",
                "dk:da",
                "cz:cs",
                "gr:el",
                "ua:uk",
                "il:he",
                "ir:fa",
                "al:sq",
                "ge:ka",
                "kz:kk",
                "rs:sr",
                "by:be",
            ]
        ),
        *(
            pair.split(":")
            for pair in ["pk:ur", "ph:tl", "tz:sw", "us:en", "gb:en", "mx:es", "eg:ar", "at:de", "lk:si"]
        ),
        *OTHERS,
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


@pytest.mark.parametrize(("code", "meant"), [("in", "'id' or 'hi'"), ("mo", "'ro' or 'zh'"), ("KR", "'ko' or 'kr'")])
def test_codes_that_may_mean_two_languages(code: str, meant: str) -> None:
    assert code_problem(code) == f"{code!r} is no ISO 639-1 code; did you mean {meant}?"
    assert code_problem(code, meant[-3:-1]) == f"{code!r} is no ISO 639-1 code; did you mean {meant[-4:]}?"
    assert code_problem(code, "sw") == code_problem(code)

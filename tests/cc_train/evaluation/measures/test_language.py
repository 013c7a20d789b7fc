"""Answers in the question's language, in another one, and in both."""

from __future__ import annotations

import pytest

from cc_core.language.answer import answer_language
from cc_train.evaluation.measures.language import score_language

GERMAN = "das ist eine schöne Stadt, in der viele Menschen gerne leben"
ENGLISH = "this is a city in which many people like to live"


@pytest.mark.parametrize(
    ("lang", "answer", "expected"),
    [
        ("de", GERMAN, {"own_lines": 1, "own_words": 1}),
        ("de", ENGLISH, {"own_lines": 0, "own_words": 1}),
        ("de", f"{GERMAN}\n{ENGLISH}\n\n42", {"own_lines": 0.5, "own_words": 1}),
        ("de", "dit is een mooie stad waar veel mensen graag wonen", {"own_lines": 0, "own_words": 1}),
        ("th", "กรุงเทพเป็นเมืองหลวงของประเทศไทย", {"own_lines": 1, "own_words": 1}),
        ("ru", "столица of Франции это большой город", {"own_lines": 1, "own_words": 4 / 5}),
        ("ja", "東京は2020年に大きな大会がありました", {"own_lines": 1, "own_words": 1}),
        ("hi", "the capital is beautiful and old", {"own_lines": 0, "own_words": 0}),
    ],
)
def test_lines_and_words(lang: str, answer: str, expected: dict[str, float]) -> None:
    assert score_language(answer, lang) == pytest.approx(expected)


@pytest.mark.parametrize("answer", ["", "1,234", "Leonardo da Vinci", "Paris", "B", "https://example.org/eine/seite"])
def test_names_and_numbers_tell_no_line(answer: str) -> None:
    assert "own_lines" not in score_language(answer, "de")


@pytest.mark.parametrize(
    "answer",
    [
        "```python\nfor number in numbers:\n    total += number  # add it to the sum\n```",
        "```\nadd the number to the sum of them all\n```",
        "for number in numbers:\n    total += number\n",
        '{"शहर": "the capital of the country", "n": 1}',
    ],
)
@pytest.mark.parametrize("lang", ["de", "hi", "en"])
def test_code_and_json_tell_nothing_as_at_the_server(lang: str, answer: str) -> None:
    assert answer_language(answer, 8) is None
    assert score_language(answer, lang) == {}


@pytest.mark.parametrize(
    ("lang", "names"), [("ar", "باراك أوباما"), ("hi", "नरेन्द्र मोदी"), ("zh", "東京都 大阪府"), ("ko", "버락 오바마")]
)
def test_names_without_capitals_tell_no_line(lang: str, names: str) -> None:
    assert score_language(names, lang) == {"own_words": 1}


def test_names_in_latin_letters_are_no_foreign_words() -> None:
    assert score_language("Это написал William Shakespeare в 1600 году", "ru")["own_words"] == 1


def test_a_language_that_is_not_recognised_is_not_judged() -> None:
    assert score_language(GERMAN, "nl") == {}

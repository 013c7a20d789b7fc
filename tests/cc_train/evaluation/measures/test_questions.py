"""SQuAD's measures and their normalisation, worked by hand."""

from __future__ import annotations

import pytest

from cc_train.evaluation.measures.questions import score_question, tokens


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("The Broncos, again!", "en", ["broncos", "again"]),
        ("Die Broncos", "de", ["broncos"]),
        ("die Broncos", "en", ["die", "broncos"]),
        ("As Ilhas", "pt", ["ilhas"]),
        ("Los Ángeles", "es", ["ángeles"]),
        ("L'été", "fr", ["été"]),
        ("của Việt Nam", "vi", ["việt", "nam"]),
        ("الولايات المتحدة", "ar", ["ولايات", "متحدة"]),
        ("20–18", "en", ["2018"]),  # SQuAD removes marks and does not replace them
        ("«Бронкос»", "ru", ["бронкос"]),
        ("马文·盖伊", "zh", ["马", "文", "盖", "伊"]),
        ("ミラクルズ", "ja", ["ミ", "ラ", "ク", "ル", "ズ"]),
        ("2012年 NBA", "zh", ["2012", "年", "nba"]),
        ("हिंदी।", "hi", ["हिंदी"]),
        ("ＮＦＬ", "ja", ["nfl"]),
        ("The", "en", []),
    ],
)
def test_tokens(text: str, language: str, expected: list[str]) -> None:
    assert tokens(text, language) == expected


def test_measures() -> None:
    # "new york city" against "york": one of three words is right, all of the reference is there.
    assert score_question("New York City", ["the York"], "en") == pytest.approx(
        {"accuracy": 1, "exact_match": 0, "f1": 2 * (1 / 3) * 1 / (1 / 3 + 1)}
    )
    # 12 characters, the reference's 2 are among them.
    assert score_question("答案：北京。", ["北京"], "zh") == pytest.approx(
        {"accuracy": 1, "exact_match": 0, "f1": 2 * 2 / (4 + 2)}
    )
    assert score_question("york new", ["New York"], "en") == {"accuracy": 0, "exact_match": 0, "f1": 1}
    assert score_question("", ["York"], "en") == {"accuracy": 0, "exact_match": 0, "f1": 0}


def test_the_best_reference_counts() -> None:
    assert score_question("Ray Charles", ["Marvin Gaye", "Ray Charles"], "de")["exact_match"] == 1


@pytest.mark.parametrize(
    ("answer", "reference", "language", "right"),
    [
        ("서울입니다", "서울", "ko", 1),
        ("대한민국 서울에", "대한민국 서울", "ko", 1),
        ("120명", "12", "ko", 0),
        ("12월 120명", "12", "ko", 1),
        ("Romania", "Roman", "en", 0),
        ("in 2012", "12", "en", 0),
        ("2012年", "12", "zh", 0),
        ("อยู่ในประเทศไทย", "ไทย", "th", 1),
    ],
)
def test_whole_words_are_contained(answer: str, reference: str, language: str, right: float) -> None:
    assert score_question(answer, [reference], language)["accuracy"] == right


def test_a_reference_of_articles_alone_is_contained_in_nothing_but_itself() -> None:
    assert score_question("The", ["the"], "en")["accuracy"] == 1
    assert score_question("Broncos", ["the"], "en")["accuracy"] == 0

"""Which option an answer names, worked by hand."""

from __future__ import annotations

import pytest

from cc_train.evaluation.measures.choices import chosen_label, score_choice


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("B", "B"),
        (" b) ", "B"),
        ("B. Because the others are wrong, as A is.", "B"),
        ("**C**", "C"),
        ("(D) 42", "D"),
        ("The answer is (C), not (A).", "C"),
        ("A resposta é B", "B"),
        ("A", "A"),
        ("\n\nB\nbecause A is not", "B"),
        ("A\nB", None),
        ("(A) 77.07\n(B) 0.31\n(C) 0.33\n(D) 4.87", None),
        ("(A) 77.07\n(A) 77.07\n", "A"),
        ("答案是B。", "B"),
        ("Ｂ", "B"),
        ("정답은 C입니다.", "C"),
        ("إجابتي هي D", "D"),
        ("A Saturn", "A"),
        ("B or C", None),
        ("Between B and C", None),
        ("Because", None),
        ("ABCD", None),
        ("E", None),
        ("", None),
    ],
)
def test_letters(answer: str, label: str | None) -> None:
    assert chosen_label(answer, "ABCD") == label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("2", "2"),
        ("2.", "2"),
        ("(2) Neutral", "2"),
        ("إجابتي: ٣", "3"),
        ("২", "2"),
        ("๓", "3"),
        ("उत्तर २ है", "2"),
        ("选项2", "2"),
        ("2 ni jibu", "2"),
        ("4", None),
        ("1)\n\n2)\n\n3)\n\n4)", None),
        ("1. \n2. \n3. ", None),
        ("(1) 蕴涵\n(2) 中立\n(3", None),
        ("2. Neutral\n\nThe premise says 1 thing.", "2"),
        ("12", None),
        ("1.5", None),
        ("option 2 of 3", None),
        ("entailment", None),
    ],
)
def test_numbers(answer: str, label: str | None) -> None:
    assert chosen_label(answer, "123") == label


def test_an_answer_without_an_option_is_wrong_and_told_apart() -> None:
    assert score_choice("2", ["2"], "123") == {"accuracy": 1.0, "readable": 1.0}
    assert score_choice("1", ["2"], "123") == {"accuracy": 0.0, "readable": 1.0}
    assert score_choice("I do not know", ["2"], "123") == {"accuracy": 0.0, "readable": 0.0}

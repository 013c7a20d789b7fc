"""Numbers in answers, worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cc_train.evaluation.measures.numerals import last_number, score_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", "18"),
        ("= 18.", "18"),
        ("9 + 9 = 18 dollars", "18"),
        ("$1,234.50", "1234.5"),
        ("1.234,50 €", "1234.5"),
        ("1,234", "1234"),
        ("1.234", "1234"),
        ("1.234.567", "1234567"),
        ("12,34,567", "1234567"),
        ("1 234 567 рублей", "1234567"),
        ("1\u202f234 euros", "1234"),
        ("1'234", "1234"),
        ("10,00", "10"),
        ("0.125", "0.125"),
        ("1234.567", "1234.567"),
        ("3.0", "3"),
        ("-5", "-5"),
        ("−7", "-7"),
        ("-$5", "-5"),
        ("10-5", "5"),
        ("١٢٣", "123"),
        ("١٬٢٣٤٫٥", "1234.5"),
        ("۱۲", "12"),
        ("৩২০টি ভেড়া", "320"),
        ("२६०", "260"),
        ("౧౨", "12"),
        ("๑๒ บาท", "12"),
        ("１８個", "18"),
        ("x² = 9", "9"),
        ("5 12", "12"),
    ],
)
def test_digits_and_separators(text: str, value: str) -> None:
    assert last_number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "eighteen", "²", "-"])
def test_no_number(text: str) -> None:
    assert last_number(text) is None


def test_the_last_number_is_judged() -> None:
    assert score_number("3 × 6 = 18", ["18"]) == {"accuracy": 1.0, "readable": 1.0}
    assert score_number("18 = 3 × 6", ["18"]) == {"accuracy": 0.0, "readable": 1.0}
    assert score_number("1,800.00", ["1800"]) == {"accuracy": 1.0, "readable": 1.0}
    assert score_number("none", ["18"]) == {"accuracy": 0.0, "readable": 0.0}

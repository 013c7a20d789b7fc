"""Letters in the form that the tables know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.normalisation import normalise


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("plain: text", "plain: text"),
        ("مَرْحَبًا", "مرحبا"),
        ("ﻣﺮﺣﺒﺎ", "مرحبا"),
        ("ٱلسلام", "السلام"),
        ("مـرحـبا", "مرحبا"),
        ("столи́ца", "столица"),
        ("и\u0306", "й"),
        ("Ｈｏｌａ", "Hola"),
        ("ho\u200bla\u00ad", "hola"),
        ("u\u0332n\u0332d", "und"),
        ("ọ̀rẹ́", "ọ̀rẹ́"),
        ("भारत", "भारत"),
        ("\ud800", "\ud800"),
    ],
)
def test_only_letters_remain(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text(st.characters(codec=None)))
def test_any_text_is_normalised(text: str) -> None:
    assert isinstance(normalise(text), str)

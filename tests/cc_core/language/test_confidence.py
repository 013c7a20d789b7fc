"""Phrases and confidence of very short texts."""

from __future__ import annotations

import pytest

from cc_core.language.confidence import believed
from cc_core.language.phrases import phrase_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola!", "es"),
        ("hola", "es"),
        ("BOM DIA", "pt"),
        ("si", "es"),
        ("नमस्ते", "hi"),
        ("S'il te plait", "fr"),
        ("bawo ni", "yo"),
        ("moin moin", None),
    ],
)
def test_a_phrase_is_known_in_any_spelling(text: str, language: str | None) -> None:
    assert phrase_language(text) == language


def test_a_script_alone_is_surer_with_more_letters() -> None:
    assert believed(1.0, "", 2, script_alone=True) < believed(1.0, "", 12, script_alone=True) < 1


@pytest.mark.parametrize("text", ["API", "Los Angeles", "404 er", "Xy"])
def test_what_may_be_a_name_is_believed_less(text: str) -> None:
    assert believed(0.9, text, sum(map(str.isalpha, text)), script_alone=False) < 0.9


@pytest.mark.parametrize("text", ["guten Morgen", "Hola", "добрый", "a long text that has many letters"])
def test_words_are_believed(text: str) -> None:
    assert believed(0.9, text, sum(map(str.isalpha, text)), script_alone=False) == 0.9

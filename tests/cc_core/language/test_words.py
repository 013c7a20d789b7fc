"""How a text is split into words, and what the word lists say of them."""

from __future__ import annotations

import numpy as np
import pytest

from cc_core.language.scripts import CYRILLIC, LATIN, Script
from cc_core.language.words import SCRIPTS_WITH_WORDS, WORDS_FILE, word_table, words_of

LANGUAGES = ("de", "en", "fr", "vi", "sw")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's Peter's turn", ["it", "peter", "turn"]),
        ("C’est l’été à Paris", ["c", "est", "l", "été", "à", "paris"]),
        ("İSTANBUL", ["istanbul"]),
        ("e\u0301te\u0301", ["été"]),
        ("Привет, мир!", ["привет", "мир"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("12 😀 \ud800", []),
    ],
)
def test_words_are_in_lower_case_and_composed(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("word", "language"),
    [("the", "en"), ("nicht", "de"), ("merci", "fr"), ("habari", "sw"), ("được", "vi"), ("duoc", "vi"), ("uber", "de")],
)
def test_a_common_word_points_at_its_language(word: str, language: str) -> None:
    table = word_table(LATIN, LANGUAGES)
    (scores,) = table.lookup(table.rows_of([word]))
    assert LANGUAGES[int(scores.argmax())] == language


def test_unlisted_words_are_left_out_and_the_order_is_kept() -> None:
    table = word_table(LATIN, LANGUAGES)
    rows = table.rows_of(["the", "xqzzt", "nicht"])
    assert rows == [table.rows["the"], table.rows["nicht"]]
    np.testing.assert_array_equal(table.lookup(rows), table.scores[rows])
    assert table.lookup([]).shape == (0, len(LANGUAGES))


def test_a_language_without_a_list_is_as_likely_for_every_word() -> None:
    column = word_table(CYRILLIC, ("ru", "kk")).scores[:, 1]
    assert (column == column[0]).all()


@pytest.mark.parametrize("script", SCRIPTS_WITH_WORDS, ids=lambda script: script.name)
def test_every_served_language_has_a_list(script: Script) -> None:
    with np.load(WORDS_FILE) as arrays:
        listed = tuple(arrays[f"{script.name}.languages"].tolist())
    table = word_table(script, listed)
    assert set(script.languages) <= set(listed)
    assert table.scores.shape == (len(table.rows), len(listed))
    assert table.others.max() <= 0


def test_the_file_is_small() -> None:
    assert WORDS_FILE.stat().st_size < 1_000_000

"""Which script a text is written in, also where it mixes two."""

from __future__ import annotations

import pytest

from cc_core.language.scripts import LATIN, SCRIPTS, only_letters_of, script_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("Guten Tag", "latin", id="Latin"),
        pytest.param("Привет", "cyrillic", id="Cyrillic"),
        pytest.param("x", None, id="a lone letter"),
        pytest.param("123 😀", None, id="no letter"),
        pytest.param("\u0301\u0301", "latin", id="combining marks"),
        pytest.param("Кто написал The Lord of the Rings?", "cyrillic", id="a title with capitals"),
        pytest.param("кто поет she works hard for her money", "cyrillic", id="a title at the end"),
        pytest.param("she works hard for her money 누가 불렀나", "hangul", id="a title at the beginning"),
        pytest.param("what does the word 愛 mean", "latin", id="English around a word"),
        pytest.param("please translate 愛", "latin", id="an English instruction"),
        pytest.param("many words and then 愛", None, id="neither a title nor an instruction"),
    ],
)
def test_the_script_of_the_question_is_found(text: str, name: str | None) -> None:
    script, _ = script_of(text)
    assert (script.name if script else None) == name


def test_a_letter_counts_by_the_weight_of_its_script() -> None:
    assert script_of("Guten Tag")[1] == 8
    assert script_of("翻译")[1] == 6
    assert script_of("翻译 this")[1] == 10
    assert script_of("Привет, γεια σου, 翻译 this")[1] == 6 + 7 + 6 + 4


def test_other_scripts_are_left_out() -> None:
    assert only_letters_of(LATIN, "It's 愛, isn't it") == "It isn it"
    assert only_letters_of(LATIN, "C'est l'été à Paris.") == "C'est l'été à Paris.", "apostrophes matter"


def test_every_letter_belongs_to_one_script() -> None:
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    text = "".join(characters)
    found = [character for script in SCRIPTS for run in script.words.findall(text) for character in run]
    assert len(found) == len(set(found))

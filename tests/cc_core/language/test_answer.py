"""The language of an answer: what most of it is in, and none where nothing is sure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.answer import answer_language

GERMAN = "der nächste Bahnhof liegt gleich hinter der alten Brücke, und von dort fährt jede Stunde ein Zug."
SWAHILI = "kituo cha treni kilicho karibu kiko nyuma ya daraja la zamani, na treni huondoka kila saa."


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        (GERMAN, "de"),
        (f"{SWAHILI}\n\n{SWAHILI}\n\n{GERMAN}", "sw"),
        ("最寄りの駅は古い橋のすぐ後ろにあります。", "ja"),
        ("أقرب محطة قطار تقع خلف الجسر القديم مباشرة.", "ar"),
        ("il treno parte ogni ora dalla stazione che si trova dietro il vecchio ponte.", "it"),
        (f"1. {GERMAN}\n2. 42\n3. Berlin, Hamburg", "de"),
        ("42", None),
        ("Nairobi", None),
        ("Angela Merkel, Barack Obama", None),
        ("", None),
        ("```python\nfor x in range(10): print(x)\n```", None),
        ('{"city": "Nairobi", "country": "Kenya"}', None),
    ],
)
def test_it_is_that_of_most_of_the_answer(answer: str, language: str | None) -> None:
    assert answer_language(answer, 8) == language


def test_lines_beyond_the_bound_are_not_read() -> None:
    answer = "\n".join([SWAHILI, GERMAN, GERMAN])
    assert [answer_language(answer, lines) for lines in (0, 1, 3)] == [None, "sw", "de"]


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_is_answered(answer: str) -> None:
    language = answer_language(answer, 8)
    assert language is None or len(language) in (2, 3)

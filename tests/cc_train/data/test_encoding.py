"""Rows are encoded; one that cannot be is named."""

from __future__ import annotations

import pytest
from tokenizers import normalizers

from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import encode_rows
from cc_train.data.rows import Row
from tests.support.tiny_rows import STOPS, encoder, row
from tests.support.tiny_tokenizer import tiny_tokenizer


def test_a_row_without_room_for_its_answer_is_named() -> None:
    examples, skipped = encode_rows([row(), row(output="x" * 30)], encoder(), 20)
    assert len(examples) == 1
    assert "an answer of 31 tokens leaves no room for a prompt in max_length 20" in str(skipped[0])


@pytest.mark.parametrize(
    ("lang", "own", "english", "shortest"),
    [("de", "a" * 9, "b" * 9, None), ("de", "a", "b" * 9, 5), ("de", "a" * 9, "b", 5), ("en", "a", "b" * 9, 5)],
)
def test_a_prompt_too_short_for_the_anchor_is_named(lang: str, own: str, english: str, shortest: int | None) -> None:
    """The template around a prompt is 4 tokens, and every letter one."""
    some = [row(lang=lang, instruction=own, instruction_en=english)]
    examples, skipped = encode_rows(some, encoder(), 99, anchor_offset=-6)
    reasons = [] if shortest is None else [f"a prompt of {shortest} tokens has no anchor at offset -6"]
    assert [s.reason for s in skipped] == reasons
    assert len(examples) + len(skipped) == 1
    assert not encode_rows(some, encoder(), 99, anchor_offset=-5)[1], "the first token is the last that can be one"


def test_a_row_without_english_is_encoded_without_one() -> None:
    examples, _ = encode_rows([row(instruction="a" * 9, instruction_en="")], encoder(), 99, anchor_offset=-6)
    assert len(examples[0].english) == 0


def test_an_english_rows_english_prompt_needs_no_anchor() -> None:
    examples, _ = encode_rows([row(lang="en", instruction="a" * 9, instruction_en="b")], encoder(), 99, -6)
    assert len(examples) == 1


def test_a_conversation_that_the_template_refuses_is_named() -> None:
    template = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}a"
    made = ChatEncoder(tiny_tokenizer(template=template + "{% endfor %}"), None)
    some = Row("de", "b", "b", "beta", "f", 1, messages=(("system", "s"), ("user", "b")), messages_en=(("user", "b"),))
    examples, skipped = encode_rows([some, row()], made, 99)
    assert len(examples) == 1
    assert str(skipped[0]) == "f:1: the chat template cannot render turns of system, user: no system"


def test_an_answer_of_no_tokens_is_named() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    examples, skipped = encode_rows([row(output="\u200b")], ChatEncoder(tokenizer, STOPS), 99)
    assert not examples
    assert "has no tokens" in skipped[0].reason


def test_a_row_without_an_answer_is_encoded_without_one() -> None:
    examples, _ = encode_rows([row(output="")], encoder(), 99)
    assert len(examples[0].answer) == 0

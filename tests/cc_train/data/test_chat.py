"""Prompts and answers are encoded as a chat server encodes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.encoding import encode_rows
from cc_train.data.reading import read_rows
from tests.support.tiny_rows import STOPS, encoder
from tests.support.tiny_tokenizer import END, TEMPLATE, tiny_tokenizer, word_rows, write_rows


def test_the_template_supplies_bos_and_the_anchor_is_the_generation_prompt() -> None:
    tokenizer = tiny_tokenizer()
    ids = ChatEncoder(tokenizer, STOPS).prompt("hi", 99)
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "<user>", "h", "i", "<end>", "<model>"]


def test_an_answer_ends_as_the_template_ends_a_turn() -> None:
    assert encoder().answer("beta")[-1] == END
    assert ChatEncoder(tiny_tokenizer(), None).end == [2], "<end> does not stop generation, so eos does"
    assert ChatEncoder(tiny_tokenizer(), GenerationConfig(eos_token_id=2)).end == [2]


def test_a_tokenizer_without_a_template_gets_the_packaged_one() -> None:
    tokenizer = tiny_tokenizer(template=None)
    made = ChatEncoder(tokenizer, None)
    assert made.packaged_template
    assert made.render("Hi") == "<s>User: Hi\nAssistant:"
    assert made.end == [2]
    assert tokenizer.chat_template, "it must be saved with the tokenizer"


def test_a_tokenizer_without_any_end_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ChatError, match="no eos token"):
        ChatEncoder(tokenizer, None)


def test_a_template_that_raises_is_refused_in_one_line() -> None:
    with pytest.raises(ChatError, match="cannot render one user turn: no"):
        ChatEncoder(tiny_tokenizer(template="{{ raise_exception('no') }}"), None)


def test_a_template_without_a_generation_prompt_is_refused_and_its_advice_helps() -> None:
    without = TEMPLATE.partition("{% if add_generation_prompt")[0]
    with pytest.raises(ChatError, match="has no generation prompt: it writes '<model>' before an answer") as raised:
        ChatEncoder(tiny_tokenizer(template=without), STOPS)
    mended = tiny_tokenizer(template=without + str(raised.value).rpartition("add to its end: ")[2])
    assert ChatEncoder(mended, STOPS).render("hi") == "<s><user>hi<end><model>"


def test_a_template_that_writes_nothing_before_an_answer_needs_no_generation_prompt() -> None:
    mistral = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    assert ChatEncoder(tiny_tokenizer(template=mistral), STOPS).render("hi") == "<s>[INST] hi [/INST]"


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.integers(0, 40))
def test_truncation_takes_from_the_left_of_the_users_text_only(text: str, limit: int) -> None:
    made = encoder()
    ids = made.prompt(text, limit)
    frame = made.encode(made.render(""))
    if len(frame) > limit:
        assert ids is None
        return
    assert ids is not None
    assert len(ids) <= limit
    assert ids[:2] == frame[:2]
    assert ids[-2:] == frame[-2:]
    full = made.encode(made.render(text))
    if len(full) <= limit:
        assert ids == full
    elif "<" not in text and not any(w in text for w in ("eta", "alpha", "gamma", "delta", "epsilon")):
        assert ids == full[:2] + full[len(full) - (limit - 2) :], "no token more than needed is lost"


def test_the_words_of_the_tiny_tokenizer_are_single_tokens(tmp_path: Path) -> None:
    rows, _ = read_rows([write_rows(tmp_path / "rows.jsonl", word_rows(["de"], copies=1))])
    examples, _ = encode_rows(rows, encoder(), 64)
    assert all(len(e.answer) == 2 for e in examples)
    assert len({tuple(e.prompt) for e in examples}) == 1
    assert len({tuple(e.english) for e in examples}) == 8


def test_a_conversation_is_rendered_whole_and_loses_its_oldest_turns_first() -> None:
    made = encoder()
    turns = (("system", "s"), ("user", "aa"), ("assistant", "b"), ("user", "cc"), ("assistant", "d"), ("user", "eeee"))
    whole = made.prompt(turns, 99)
    assert made.tokenizer.decode(whole) == "<s><model>s<end><user>aa<end><model>b<end><user>cc<end><model>d<end>" + (
        "<user>eeee<end><model>"
    )
    shorter = made.prompt(turns, len(whole) - 1)
    assert shorter == made.encode(made.render((turns[0], *turns[3:])))
    last = made.prompt(turns, len(made.encode(made.render((turns[0], turns[-1])))) - 1)
    assert made.tokenizer.decode(last) == "<s><model>s<end><user>eee<end><model>", "and then the text from the left"
    assert made.prompt(turns, 6) is None

"""Rows of one word, and the encoder of the tiny tokenizer."""

from __future__ import annotations

from transformers import GenerationConfig

from cc_train.data.chat import ChatEncoder
from cc_train.data.rows import Row
from tests.support.tiny_tokenizer import END, tiny_tokenizer

STOPS = GenerationConfig(eos_token_id=[2, END])


def encoder() -> ChatEncoder:
    return ChatEncoder(tiny_tokenizer(), STOPS)


def row(**fields: str) -> Row:
    content = {"lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta", **fields}
    return Row(**content, file="f", line=1)  # type: ignore[arg-type]

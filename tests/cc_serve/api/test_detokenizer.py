"""Prompts of token ids are routed by their text."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from cc_serve.api.detokenizer import detokenizer, no_text
from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.middleware.connection import explain
from cc_serve.routing.router import Router

router = Router(["global"], ["de", "fr"])
GERMAN, ENGLISH = (
    [ord(c) for c in "Wo ist der nächste Bahnhof, bitte?"],
    [ord(c) for c in "Where is the station, please?"],
)


def by_code(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


@pytest.mark.parametrize(
    ("prompt", "language", "connection"),
    [
        (GERMAN, "de", "global"),
        ([GERMAN, GERMAN], "de", "global"),
        ([ENGLISH], "en", "off"),
        ([GERMAN, ENGLISH], None, "off"),
        ([], None, "off"),
        ([[]], None, "off"),
        ([1, "a"], None, "off"),
        ([True], None, "off"),
    ],
)
def test_token_ids_are_routed(prompt: object, language: str | None, connection: str) -> None:
    route = explain(GenerationRequest({"prompt": prompt}), router, by_code)
    assert (route.language, route.connection) == (language, connection)
    assert explain(GenerationRequest({"prompt": prompt}), router).language is None


def test_the_engines_tokenizer_keeps_control_tokens_and_reads_the_ends() -> None:
    asked: list[tuple[int, bool]] = []

    def decode(tokens: list[int], *, skip_special_tokens: bool) -> str:
        asked.append((len(tokens), skip_special_tokens))
        return by_code(tokens)

    detokenize = detokenizer(SimpleNamespace(tokenizer=SimpleNamespace(decode=decode)))
    assert detokenize([97]) == "a"
    assert len(detokenize([97] * 9_000)) == 2_000
    assert asked == [(1, False), (2_000, False)]


def test_without_a_tokenizer_or_with_foreign_ids_there_is_no_text() -> None:
    def decode(tokens: list[int], *, skip_special_tokens: bool) -> str:
        raise OverflowError

    assert detokenizer(SimpleNamespace(tokenizer=None))([1]) == ""
    assert detokenizer(SimpleNamespace(tokenizer=SimpleNamespace(decode=decode)))([1]) == ""
    assert no_text([1]) == ""

"""Prompts of completions are routed by the user's words in them, be they text or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.middleware.connection import explain
from cc_serve.api.raw_prompts import RawPrompts
from cc_serve.routing.router import Router

router = Router(["global"], ["de", "fr"])
GERMAN, ENGLISH = (
    [ord(c) for c in "Wo ist der nächste Bahnhof, bitte?"],
    [ord(c) for c in "Where is the station, please?"],
)


class Tokenizer:
    """A token is a character; the template has marks of its own, and a system prompt."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        self.asked.append((len(tokens), skip_special_tokens))
        return "".join(map(chr, tokens))

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        assert options == {"tokenize": False, "add_generation_prompt": True, "chat_template": None}
        turns = [f"~~{message['role']} asks~~ {message['content']} ~~done~~" for message in messages]
        return " ".join(["Answer briefly and in plain words.", *turns, "~~now~~"])


def of(tokenizer: object) -> RawPrompts:
    return RawPrompts(SimpleNamespace(tokenizer=tokenizer))


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
    route = explain(GenerationRequest({"prompt": prompt}), router, of(Tokenizer()))
    assert (route.language, route.connection) == (language, connection)
    assert explain(GenerationRequest({"prompt": prompt}), router).language is None


@pytest.mark.parametrize("ids", [False, True], ids=["text", "token ids"])
def test_a_prompt_that_the_models_template_rendered_is_routed_by_its_newest_turn(ids: bool) -> None:
    said = ["Where is the station, please?", "It is over there.", "Und wie komme ich am besten dorthin?"]
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), said, strict=True)]
    text = Tokenizer().apply_chat_template(turns, tokenize=False, add_generation_prompt=True, chat_template=None)
    prompts = of(Tokenizer())
    assert prompts.user_turns(text) == [said[2], said[0]]
    route = explain(GenerationRequest({"prompt": [*map(ord, text)] if ids else text}), router, prompts)
    assert (route.language, route.text) == ("de", said[2])


def test_the_engines_tokenizer_keeps_control_tokens_and_reads_the_ends() -> None:
    tokenizer = Tokenizer()
    prompts = of(tokenizer)
    assert prompts.text([97]) == "a"
    assert len(prompts.text([97] * 9_000)) == 2_000
    assert tokenizer.asked == [(1, False), (2_000, False)]


def test_without_a_tokenizer_or_a_template_or_with_foreign_ids_there_is_no_text() -> None:
    def refuse(*_arguments: object, **_options: object) -> str:
        raise OverflowError

    for prompts in (RawPrompts(), of(None), of(SimpleNamespace(decode=refuse, apply_chat_template=refuse))):
        assert prompts.text([1]) == ""
        assert prompts.user_turns("~~user asks~~ Wo?") == ["~~user asks~~ Wo?"]

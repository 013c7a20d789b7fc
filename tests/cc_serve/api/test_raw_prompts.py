"""Prompts of completions are routed by the user's words in them, be they text or token ids."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.middleware.connection import explain, plan
from cc_serve.api.raw_prompts import RawPrompts
from cc_serve.routing.router import Router
from tests.support.tiny_tokenizer import tiny_tokenizer

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


# As the templates of models have it that may think, or be kept from it.
THINKING = (
    "{% if effort %}Effort: {{ effort }}.{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<model>{% if enable_thinking is defined and enable_thinking is false %}"
    "<think></think>{% endif %}{% if reasoning_effort == 'high' %}<think>{% endif %}{% endif %}"
)
NO_THINKING = {"enable_thinking": False}
CHAT = {"messages": [{"role": "user", "content": "Wo ist der Bahnhof, bitte?"}]}
INPUT = {"input": "Wo ist der Bahnhof, bitte?"}


@pytest.mark.parametrize(
    ("fields", "default", "moved"),
    [
        ({**CHAT, "chat_template_kwargs": NO_THINKING}, {}, True),
        ({**CHAT, "chat_template_kwargs": NO_THINKING}, NO_THINKING, False),
        ({**CHAT, "chat_template_kwargs": {"enable_thinking": True}}, NO_THINKING, True),
        ({**CHAT, "chat_template_kwargs": {"enable_thinking": True}}, {}, False),
        ({**CHAT, "chat_template_kwargs": {"effort": "high", "unknown": None}}, {}, False),
        ({**CHAT, "chat_template_kwargs": {"add_generation_prompt": False}}, {}, True),
        ({**CHAT, "chat_template_kwargs": {"chat_template": "{{ messages }}"}}, {}, True),
        ({**CHAT, "chat_template_kwargs": {"unknown": "a" * 2000}}, {}, True),
        ({**CHAT, "reasoning_effort": "none"}, {}, True),
        ({**CHAT, "reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}, {}, False),
        ({**CHAT, "reasoning_effort": "high"}, {}, True),
        ({**CHAT, "reasoning_effort": "low"}, {}, False),
        ({**CHAT, "reasoning_effort": None}, {}, False),
        ({**CHAT, "thinking": {"type": "disabled"}}, {}, True),
        ({**CHAT, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, {}, False),
        ({**CHAT, "output_config": {"effort": "high"}}, {}, True),
        ({**INPUT, "reasoning": {"effort": "none"}}, {}, True),
        ({**INPUT, "reasoning": {"effort": "low"}}, {}, False),
        ({**INPUT, "reasoning": None, "chat_template_kwargs": 1}, {}, False),
        ({"prompt": INPUT["input"], "reasoning_effort": "none"}, {}, False),
    ],
)
def test_options_of_the_template_count_where_they_change_its_end(
    fields: dict[str, Any], default: dict[str, Any], moved: bool
) -> None:
    prompts = RawPrompts(SimpleNamespace(tokenizer=tiny_tokenizer(template=THINKING)), None, default)
    planned = plan(GenerationRequest(fields), router, "/v1/chat/completions", prompts)
    assert (planned.obstacle is not None) == moved == (planned.connection == "off")


def test_where_the_end_cannot_be_told_options_count() -> None:
    for prompts in (RawPrompts(), of(None), of(tiny_tokenizer(template="{{ raise_exception('no') }}"))):
        assert prompts.ends_as_ever({})
        assert not prompts.ends_as_ever({"enable_thinking": True})

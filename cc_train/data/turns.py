"""A conversation: its turns, their checks, and the answers in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cc_train.data.chat import Conversation
from cc_train.data.checks import UnusableError, checked_text, shown

_ROLES = ("system", "user", "assistant", "tool")
# What other formats call them: those with `from` and `value`.
_OTHER_ROLES = {"human": "user", "gpt": "assistant", "developer": "system", "function": "tool", "observation": "tool"}
# A prompt ends with a turn that an assistant answers.
_ASKING = ("user", "tool")


@dataclass(frozen=True)
class Turns:
    """A conversation.

    Args:
        prompt: up to the last turn that is answered.
        answer: the assistant's text after it; empty without.
    """

    prompt: Conversation
    answer: str


def turns_of(value: Any, field: str) -> Turns:
    """The turns of a field.

    Raises:
        UnusableError: it holds no conversation that can be trained on.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):  # a cell of a table
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UnusableError(f"field {field!r} is not a list of messages (not JSON: {error})") from error
    if not isinstance(value, list | tuple) or not value or not all(isinstance(turn, Mapping) for turn in value):
        raise UnusableError(f"field {field!r} is not a list of messages (found {shown(value)})")
    checked = [_turn(turn, f"{field}[{i}]") for i, turn in enumerate(value)]
    answer = checked.pop()[1] if checked[-1][0] == "assistant" else ""
    if not checked or checked[-1][0] not in _ASKING:
        raise UnusableError(f"field {field!r} does not end with a user's turn, or that and an assistant's")
    return Turns(tuple(checked), answer)


def answered(turns: Turns) -> Iterator[Turns]:
    """A conversation for each answer in ``turns``: what comes before it, and the answer."""
    whole = turns.prompt + ((("assistant", turns.answer),) if turns.answer else ())
    for i, (role, text) in enumerate(whole):
        if role == "assistant" and i and whole[i - 1][0] in _ASKING:
            yield Turns(whole[:i], text)
    if not turns.answer:
        yield turns


def parallel_turns(own: Turns, english: Turns | None) -> Iterator[Turns | None]:
    """The English parallel for each of `answered`.

    Raises:
        UnusableError: the conversations do not have the same turns.
    """
    if english is None:
        yield from (None for _ in answered(own))
        return
    if [role for role, _ in own.prompt] != [role for role, _ in english.prompt]:
        raise UnusableError("'messages' and 'messages_en' do not have the same turns, so their answers are no pairs")
    for turns in answered(own):
        yield Turns(english.prompt[: len(turns.prompt)], "")


def _turn(turn: Mapping[str, Any], what: str) -> tuple[str, str]:
    given = turn.get("role", turn.get("from"))
    role = _OTHER_ROLES.get(given, given) if isinstance(given, str) else given
    if role not in _ROLES:
        raise UnusableError(f"field '{what}.role' is none of {', '.join(_ROLES)} (found {shown(given)})")
    if turn.get("tool_calls"):
        raise UnusableError(f"field '{what}.tool_calls': calls of tools cannot be trained; write them into the content")
    name = "content" if "content" in turn or "value" not in turn else "value"
    return str(role), checked_text(_joined(turn.get(name), f"{what}.{name}"), f"field '{what}.{name}'")


def _joined(content: Any, what: str) -> Any:
    """The text of content parts, ``[{"type": "text", "text": ...}]``; anything else as it is."""
    if not isinstance(content, list | tuple) or not all(isinstance(part, Mapping) for part in content):
        return content
    others = [part.get("type") for part in content if part.get("type", "text") != "text"]
    if others:
        raise UnusableError(f"field '{what}' has a part of type {shown(others[0])}; only text can be trained on")
    return "".join(part["text"] for part in content if isinstance(part.get("text"), str))

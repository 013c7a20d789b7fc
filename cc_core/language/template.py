"""Finds the user's turns in a prompt that a chat template rendered, by what the template writes around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Self

Render = Callable[[list[dict[str, Any]]], str]

# Of private-use characters, which no template writes or trims.
_FIRST, _ANSWER, _SECOND = "\ue000first\ue001", "\ue000answer\ue001", "\ue000second\ue001"


@dataclass(frozen=True)
class ChatFrame:
    """What a chat template writes before and after each of the user's turns, without white space at the ends.

    Args:
        before: such as ``<|im_start|>user``.
        after: such as ``<|im_end|>\\n<|im_start|>assistant``.
    """

    before: str
    after: str

    @classmethod
    def of(cls, render: Render) -> Self | None:
        """The frame of a template; None where nothing marks the user's turns, or where the template alters them.

        Args:
            render: renders messages, each with ``role`` and ``content``, and the beginning of the next answer.
        """
        rendered = render(
            [
                {"role": "user", "content": _FIRST},
                {"role": "assistant", "content": _ANSWER},
                {"role": "user", "content": _SECOND},
            ]
        )
        start, first, rest = rendered.partition(_FIRST)
        first_end, answer, rest = rest.partition(_ANSWER)
        second_start, second, end = rest.partition(_SECOND)
        if not (first and answer and second):
            return None
        before = _mark(_common(start[::-1], second_start[::-1])[::-1].strip(), first_end + end)
        after = _common(first_end, end).strip()
        return cls(before, after) if before and after else None

    def user_turns(self, text: str) -> list[str] | None:
        """The user's turns in ``text``, the newest first; None if it was not rendered by this template."""
        pieces = text.split(self.before)[1:]
        turns = [turn for piece in reversed(pieces) if (turn := piece.partition(self.after)[0].strip())]
        return turns or None


def _common(one: str, other: str) -> str:
    """The beginning that ``one`` and ``other`` share."""
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _mark(before: str, of_others: str) -> str:
    """The shortest end of ``before`` that begins with a punctuation mark and does not occur in ``of_others``.

    The rest of ``before`` ends the turn before, or begins the prompt, which clients leave to the server. All of
    ``before`` if no end of it will do.
    """
    ends = (before[i:] for i in reversed(range(len(before))) if not (before[i].isalnum() or before[i].isspace()))
    return next((end for end in ends if end not in of_others and any(map(str.isalnum, end))), before)

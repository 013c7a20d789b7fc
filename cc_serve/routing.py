"""The policy: from what a request says to the connection it gets. English and undecided texts go plain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cc_serve.languages import SERVED_LANGUAGES, UNDECIDED, Detection, LanguageDetector

AUTO: Final = "auto"
OFF: Final = "off"
# `cc_train.connection.GLOBAL`, spelt out here: routing must start without loading torch.
GLOBAL: Final = "global"
ENGLISH: Final = "en"

# The kinds of content part that carry text, in chat and in responses.
TEXT_PARTS: Final = ("text", "input_text")
# How many user turns are looked at, newest first, for one whose language can be told.
TURNS: Final = 8


class UnknownConnectionError(ValueError):
    """The caller asked for a connection that this checkpoint does not have; the message names those it has."""

    def __init__(self, value: object, choices: Sequence[str]) -> None:
        super().__init__(f"unknown cc_connection {repr(value)[:80]}; this checkpoint has: {', '.join(choices)}")


@dataclass(frozen=True)
class Route:
    """What was decided for a request.

    Args:
        language: the language it was routed for, None when undecided.
        confidence: of the detection; 1 when the caller named the language.
        connection: ``off``, ``global`` or a language that has its own Transform Matrix.
    """

    language: str | None
    confidence: float
    connection: str


class Router:
    """Routes requests for one checkpoint.

    Args:
        connections: names of the checkpoint's Transform Matrices.
        languages: the languages the checkpoint was trained for.
        detector: by default one for the served languages.
    """

    def __init__(
        self, connections: Sequence[str], languages: Sequence[str], detector: LanguageDetector | None = None
    ) -> None:
        self.connections = frozenset(connections)
        self.languages = frozenset(languages)
        self.detector = detector or LanguageDetector()
        codes = sorted((self.connections | self.languages | {ENGLISH}) - {GLOBAL})
        #: Every value of ``cc_connection`` that a request may carry.
        self.choices: tuple[str, ...] = (AUTO, OFF, *([GLOBAL] if GLOBAL in self.connections else []), *codes)

    def route(self, texts: Sequence[str], override: object = AUTO) -> Route:
        """Choose the connection for a request.

        Args:
            texts: the user's words, the ones that count most first.
            override: ``cc_connection`` of the request, as the caller sent it.

        Raises:
            UnknownConnectionError: ``override`` is none of `choices`.
        """
        if override not in self.choices:
            raise UnknownConnectionError(override, self.choices)
        if override in (AUTO, OFF, GLOBAL):
            detection = self._detect(texts)
            connection = self.connection_for(detection.language) if override == AUTO else override
            return Route(detection.language, detection.confidence, str(connection))
        return Route(str(override), 1.0, self.connection_for(str(override)))

    def route_together(self, prompts: Sequence[str], override: object = AUTO) -> Route:
        """One connection for several prompts of one request: theirs if they agree, else none.

        Raises:
            UnknownConnectionError: as `route`.
        """
        routes = [self.route([prompt], override) for prompt in prompts]
        agreed = len({route.connection for route in routes}) == 1
        return routes[0] if agreed else Route(None, 0.0, OFF)

    def connection_for(self, language: str | None) -> str:
        """The connection of texts in ``language``."""
        if language in self.connections:
            return str(language)
        if language is None or language == ENGLISH or language not in self.languages:
            return OFF
        return GLOBAL if GLOBAL in self.connections else OFF

    def _detect(self, texts: Sequence[str]) -> Detection:
        newest = UNDECIDED
        for position, text in enumerate(texts[:TURNS]):
            detection = self.detector.detect(text)
            if detection.language is not None:
                return detection
            if position == 0:
                newest = detection
        return newest


def default_router() -> Router:
    """Routing without a checkpoint: every served language, with the ``global`` Transform Matrix."""
    return Router([GLOBAL], SERVED_LANGUAGES)


def user_texts(body: Mapping[str, Any]) -> list[str]:
    """The user's words in a generation request, the newest turn first; empty where there are none.

    Understands ``messages`` (chat), ``prompt`` (completions) and ``input`` (responses). Anything of another
    shape is left out: validating the request is the endpoint's work.
    """
    if "messages" in body:
        return list(_newest_user_turns(body["messages"]))
    if "input" in body:
        return [body["input"]] if isinstance(body["input"], str) else list(_newest_user_turns(body["input"]))
    return prompts_of(body)


def prompts_of(body: Mapping[str, Any]) -> list[str]:
    """The prompts of a completions request, which may have several; empty where they are no text."""
    prompt = None if "messages" in body or "input" in body else body.get("prompt")
    if isinstance(prompt, list) and all(isinstance(item, str) for item in prompt):
        return list(prompt)
    return [prompt] if isinstance(prompt, str) else []


def _newest_user_turns(messages: object) -> Iterator[str]:
    for message in reversed(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            text = _content_text(message.get("content"))
            if text:
                yield text


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") in TEXT_PARTS)
    return "\n\n".join(part for part in parts if isinstance(part, str))

"""The policy: from what a request says to the connection it gets. English and undecided texts go plain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from cc_core.language.detector import SERVED_LANGUAGES, UNDECIDED, Detection, LanguageDetector, Rule
from cc_core.names import AUTO, ENGLISH, GLOBAL, OFF, connection_for
from cc_serve.routing.policy import RoutingPolicy

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


@dataclass(frozen=True)
class Explanation(Route):
    """A route, and how it came about.

    Args:
        text: what was judged, of at most 501 characters; empty where the caller named the language.
        scores: probabilities of the best few languages, the best first.
        rule: what decided.
    """

    text: str = ""
    scores: dict[str, float] = field(default_factory=dict, hash=False)
    rule: Rule = Rule.UNDECIDED


class Router:
    """Routes requests for one checkpoint by one policy. It never changes: another policy is another router.

    Args:
        connections: names of the checkpoint's Transform Matrices.
        languages: the languages the checkpoint was trained for.
        policy: by default every language of the checkpoint, with the best connection it has for it.

    Raises:
        PolicyError: the policy names what the checkpoint does not have.
    """

    def __init__(
        self, connections: Iterable[str], languages: Iterable[str], policy: RoutingPolicy | None = None
    ) -> None:
        self.connections: Final = frozenset(connections)
        self.languages: Final = frozenset(languages)
        self.policy: Final = policy or RoutingPolicy()
        self.policy.check(self.connections, self.languages)
        self.detector: Final = LanguageDetector(threshold=self.policy.threshold)
        self._by_language: Final = self._connections_by_language()
        named = [GLOBAL] if GLOBAL in self.connections else []
        #: Every value of ``cc_connection`` that a request may carry.
        self.choices: Final[tuple[str, ...]] = (AUTO, OFF, *named, *sorted(self._by_language))

    @classmethod
    def of(cls, checkpoint: Path | str, policy: RoutingPolicy | None = None) -> Self:
        """The router of a checkpoint.

        Raises:
            CheckpointError: its connection cannot be used.
            PolicyError: as for a new router.
        """
        from cc_core.checkpoint import load_connection  # here, since it imports torch

        connection, config = load_connection(Path(checkpoint))
        return cls(connection.names, config.languages, policy)

    def with_policy(self, policy: RoutingPolicy) -> Self:
        """A router of the same checkpoint by another policy.

        Raises:
            PolicyError: as for a new router.
        """
        return type(self)(self.connections, self.languages, policy)

    def route(self, texts: Sequence[str], override: object = AUTO) -> Route:
        """Choose the connection for a request: `explain`, for those who need no reasons.

        Args:
            texts: the user's words, the ones that count most first.
            override: ``cc_connection`` of the request, as the caller sent it.

        Raises:
            UnknownConnectionError: ``override`` is none of `choices`.
        """
        return self.explain(texts, override)

    def explain(self, texts: Sequence[str], override: object = AUTO) -> Explanation:
        """`route`, with the text that was judged and what decided."""
        if override not in self.choices:
            raise UnknownConnectionError(override, self.choices)
        if override not in (AUTO, OFF, GLOBAL):
            language = str(override)
            return Explanation(language, 1.0, self.connection_for(language), rule=Rule.OVERRIDE)
        found = self._detect(texts)
        connection, rule = (
            (self.connection_for(found.language), found.rule) if override == AUTO else (str(override), Rule.OVERRIDE)
        )
        return Explanation(found.language, found.confidence, connection, found.text, dict(found.scores), rule)

    def explain_together(self, prompts: Sequence[str], override: object = AUTO) -> Explanation:
        """One connection for several prompts of one request: theirs if they agree, with the first one's reasons.

        Raises:
            UnknownConnectionError: as `route`.
        """
        routes = [self.explain([prompt], override) for prompt in prompts]
        if len({route.connection for route in routes}) == 1:
            return routes[0]
        return Explanation(None, 0.0, OFF, rule=Rule.PROMPTS_DISAGREE)

    def explain_request(self, body: Mapping[str, Any], override: object = AUTO) -> Explanation:
        """What happens to a generation request: its prompts together where it has several, else its user turns.

        Raises:
            UnknownConnectionError: as `route`.
        """
        prompts = prompts_of(body)
        return self.explain_together(prompts, override) if prompts else self.explain(user_texts(body), override)

    def connection_for(self, language: str | None) -> str:
        """The connection of texts in ``language``; None is undecided."""
        return self.policy.default if language is None else self._by_language.get(language, OFF)

    @property
    def connected(self) -> dict[str, str]:
        """The connection by language, for those that get one."""
        return {language: name for language, name in self._by_language.items() if name != OFF}

    def _connections_by_language(self) -> dict[str, str]:
        served = {*self.policy.languages} if self.policy.languages else self.languages | self.connections - {GLOBAL}
        connections = {language: connection_for(language, self.connections) for language in served}
        return {**connections, ENGLISH: OFF, **self.policy.connections}

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
    if (messages := body.get("messages")) is not None:
        return list(_newest_user_turns(messages))
    if (given := body.get("input")) is not None:
        return [given] if isinstance(given, str) else list(_newest_user_turns(given))
    return prompts_of(body)


def prompts_of(body: Mapping[str, Any]) -> list[str]:
    """What is answered separately in one request: prompts of completions, or the newest user turns of a batch.

    Empty for one conversation, and for prompts that are no text.
    """
    messages = body.get("messages")
    if messages is not None or body.get("input") is not None:
        batch = isinstance(messages, list) and all(isinstance(conversation, list) for conversation in messages)
        return [next(_newest_user_turns(conversation), "") for conversation in messages or []] if batch else []
    prompt = body.get("prompt")
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

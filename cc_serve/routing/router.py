"""The router: from the user's texts to their language, and from the language to a connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from cc_core.description import ConnectionDescription, read_description
from cc_core.evidence import Evidence
from cc_core.language.detection import Rule
from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector
from cc_core.names import AUTO, ENGLISH, GLOBAL, OFF, OVERRIDE_FIELD, matrix_for
from cc_serve.routing.policy import RoutingPolicy


class UnknownConnectionError(ValueError):
    """The caller asked for a connection that this checkpoint lacks; the message lists those that it has."""

    def __init__(self, value: object, choices: Sequence[str]) -> None:
        super().__init__(f"unknown {OVERRIDE_FIELD} {repr(value)[:80]}; this checkpoint has: {', '.join(choices)}")


class Plain(StrEnum):
    """Why a request is answered plain; `docs/routing.md` explains each reason."""

    ASKED = "asked"
    ENGLISH = "english"
    UNDECIDED = "undecided"
    POLICY = "policy"
    NOT_TRAINED = "not-trained"
    NO_MATRIX = "no-matrix"
    MEASURED_HARM = "measured-harm"
    PROMPTS_DISAGREE = "prompts-disagree"
    OBSTACLE = "obstacle"
    HOLDOUT = "holdout"


@dataclass(frozen=True)
class Route:
    """The decision for a request.

    Args:
        language: the language that the request was routed for; None when undecided.
        confidence: the detection's confidence; 1 when the caller named the language.
        connection: ``off``, ``global`` or a language that has its own Transform Matrix.
    """

    language: str | None
    confidence: float
    connection: str


@dataclass(frozen=True)
class Explanation(Route):
    """A route, and the reasons for it.

    Args:
        text: the text that was judged, of at most 501 characters; empty where the caller named the language.
        scores: the probabilities of the likeliest languages, the likeliest first.
        rule: what decided the route.
        plain: why the connection is ``off``; None for every other connection.
    """

    text: str = ""
    scores: dict[str, float] = field(default_factory=dict, hash=False)
    rule: Rule = Rule.UNDECIDED
    plain: Plain | None = None


class Router:
    """Routes the texts of requests, for one checkpoint and by one policy. Another policy needs another router.

    Args:
        connections: names of the checkpoint's Transform Matrices.
        languages: the languages that the checkpoint was trained for.
        policy: by default, each language of the checkpoint gets its own matrix, or else the global one.
        evidence: the connection's gain on held-out pairs; None if the checkpoint has none.
        sha256: the digest of the connection's file; None without a checkpoint.

    Raises:
        PolicyError: the policy names what the checkpoint does not have.
    """

    def __init__(
        self,
        connections: Iterable[str],
        languages: Iterable[str],
        policy: RoutingPolicy | None = None,
        evidence: Evidence | None = None,
        sha256: str | None = None,
    ) -> None:
        self.connections: Final = frozenset(connections)
        self.languages: Final = frozenset(languages)
        self.policy: Final = policy or RoutingPolicy()
        self.evidence: Final = evidence
        self.sha256: Final = sha256
        self.policy.check(self.connections, self.languages)
        self.detector: Final = LanguageDetector(threshold=self.policy.threshold)
        self._by_language: Final = self._connections_by_language()
        #: Languages that go plain because the connection was shown to harm them.
        self.harmed: Final = self._harmed()
        named = [GLOBAL] if GLOBAL in self.connections else []
        #: Every value of ``cc_connection`` that a request may carry.
        self.choices: Final[tuple[str, ...]] = (AUTO, OFF, *named, *sorted(self._by_language))

    @classmethod
    def of(cls, checkpoint: Path | str, policy: RoutingPolicy | None = None) -> Self:
        """The router of a checkpoint. It reads the names of languages and matrices, but no matrix.

        Raises:
            CheckpointError: the checkpoint does not describe a connection.
            PolicyError: as for a new router.
        """
        return cls.described(read_description(Path(checkpoint)), policy)

    @classmethod
    def described(cls, description: ConnectionDescription, policy: RoutingPolicy | None = None) -> Self:
        """The router of a checkpoint whose description has been read; raises `PolicyError`."""
        entry = description.config
        return cls(description.names, entry.languages, policy, entry.evidence, entry.sha256)

    def with_policy(self, policy: RoutingPolicy) -> Self:
        """A router for the same checkpoint with another policy.

        Raises:
            PolicyError: as for a new router.
        """
        return type(self)(self.connections, self.languages, policy, self.evidence, self.sha256)

    def route(self, texts: Sequence[str], override: object = AUTO) -> Route:
        """Choose the connection of a request: as `explain`, for callers that need no reasons.

        Args:
            texts: the user's turns, the newest first.
            override: the request's ``cc_connection``, as the caller sent it.

        Raises:
            UnknownConnectionError: ``override`` is not one of `choices`.
        """
        return self.explain(texts, override)

    def explain(self, texts: Sequence[str], override: object = AUTO) -> Explanation:
        """Choose as `route` does, and say which text was judged and what decided."""
        if override not in self.choices:
            raise UnknownConnectionError(override, self.choices)
        if override not in (AUTO, OFF, GLOBAL):
            # A language that the caller names is connected even if the evidence shows harm: so it can be measured.
            language = str(override)
            connection = self._by_language[language]
            return Explanation(language, 1.0, connection, rule=Rule.OVERRIDE, plain=self._why(language, connection))
        newest, *earlier = texts or ("",)
        found = self.detector.detect(newest, earlier)
        if override == AUTO:
            connection = self.connection_for(found.language)
            rule = Rule.MEASURED_HARM if found.language in self.harmed else found.rule
            plain = self._why(found.language, connection)
        else:
            connection, rule = str(override), Rule.OVERRIDE
            plain = Plain.ASKED if override == OFF else None
        return Explanation(found.language, found.confidence, connection, found.text, dict(found.scores), rule, plain)

    def explain_together(self, conversations: Iterable[Sequence[str]], override: object = AUTO) -> Explanation:
        """One route for several prompts of one request: the first prompt's, if all have the same connection.

        Otherwise, the request is answered plain.

        Args:
            conversations: the user's turns in each prompt, the newest first.
            override: as for `route`.

        Raises:
            UnknownConnectionError: as for `route`.
        """
        routes = [self.explain(texts, override) for texts in conversations]
        if len({route.connection for route in routes}) == 1:
            return routes[0]
        return Explanation(None, 0.0, OFF, rule=Rule.PROMPTS_DISAGREE, plain=Plain.PROMPTS_DISAGREE)

    def connection_for(self, language: str | None) -> str:
        """The connection that routing gives to texts in ``language``; None stands for undecided texts."""
        if language is None:
            return self.policy.default
        return OFF if language in self.harmed else self._by_language.get(language, OFF)

    def _why(self, language: str | None, connection: str) -> Plain | None:
        """Why ``connection``, which ``language`` is given, is ``off``; None if it is not."""
        if connection != OFF:
            return None
        if language is None:
            return Plain.UNDECIDED
        if language in self.policy.connections:
            return Plain.POLICY
        if language == ENGLISH:
            return Plain.ENGLISH
        if language in self.harmed:
            return Plain.MEASURED_HARM
        if language not in self.languages | self.connections:
            return Plain.NOT_TRAINED
        return Plain.NO_MATRIX if language in self._by_language else Plain.POLICY

    @property
    def connected(self) -> dict[str, str]:
        """The connection of each connected language."""
        given = {language: self.connection_for(language) for language in self._by_language}
        return {language: name for language, name in given.items() if name != OFF}

    def _connections_by_language(self) -> dict[str, str]:
        served = {*self.policy.languages} if self.policy.languages else self.languages | self.connections - {GLOBAL}
        connections = {language: matrix_for(language, self.connections) for language in served}
        return {**connections, ENGLISH: OFF, **self.policy.connections}

    def _harmed(self) -> frozenset[str]:
        if self.evidence is None or self.policy.connect == "always":
            return frozenset()
        harmed = {language for language, gain in self.evidence.languages.items() if gain.harms}
        # The operator's own choice for a language outranks the evidence.
        mentioned = self.policy.connections.keys()
        return frozenset(n for n, c in self._by_language.items() if c != OFF and n in harmed - mentioned)


def default_router() -> Router:
    """Routing without a checkpoint: every served language, with the ``global`` Transform Matrix."""
    return Router([GLOBAL], SERVED_LANGUAGES)

"""The operator's choices about routing: languages, threshold, connection by language, and the default."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from cc_core.language.detector import THRESHOLD
from cc_core.names import ENGLISH, GLOBAL, MAX_STRENGTH, OFF


def _is_connection_name(value: object) -> object:
    """YAML reads a bare ``off`` as false; and ``on`` as true, which names no connection."""
    if value is False:
        return OFF
    if not isinstance(value, str):
        raise ValueError(f'should be "off", "global" or a language\'s own (found {repr(value)[:40]})')
    return value


ConnectionName = Annotated[str, BeforeValidator(_is_connection_name)]

Strength = Annotated[float, Field(ge=0, le=MAX_STRENGTH, allow_inf_nan=False)]


def _is_share(value: object) -> object:
    """Refuse what pydantic would convert: YAML reads ``1e-3`` and ``5%`` as strings, and ``true`` would count as 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"should be a number from 0 to 1, such as 0.05 (found {repr(value)[:40]})")
    return value


Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_is_share)]


class PolicyError(ValueError):
    """The checkpoint lacks a language or connection that the policy names; ``field`` is the field to correct."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class RoutingPolicy(BaseModel):
    """How languages are routed. A policy never changes: `replaced` makes another one.

    A language without an entry in ``connections`` gets its own Transform Matrix if the checkpoint has one, and
    ``global`` otherwise. English is answered plain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Languages (ISO 639-1) that are connected; unset: all of the checkpoint's.",
    )
    threshold: float = Field(
        default=THRESHOLD, ge=0, le=1, allow_inf_nan=False, description="Probability below which a text is undecided."
    )
    connections: dict[str, ConnectionName] = Field(
        default_factory=dict,
        description='Connection by language: "off", "global" or the language itself, for a matrix of its own.',
    )
    default: ConnectionName = Field(
        default=OFF,
        description='Connection of undecided texts, whatever was measured: "off", "global" or a language\'s own.',
    )
    connect: Literal["measured", "always"] = Field(
        default="measured",
        description='"measured": a language for which the checkpoint\'s evidence shows that the connection harms is '
        'answered plain, unless `connections` names it; "always": evidence is ignored.',
    )
    holdout: Share = Field(
        default=0.0,
        description="Share of users, 0 to 1, whose requests are answered plain where routing would connect them.",
    )
    strengths: tuple[Strength, Strength] = Field(
        default=(0.0, MAX_STRENGTH),
        description="The lowest and the highest `cc_strength` that requests may ask for. 1 has to be among them.",
    )

    @field_validator("strengths")
    @classmethod
    def _with_one(cls, strengths: tuple[float, float]) -> tuple[float, float]:
        if not strengths[0] <= 1 <= strengths[1]:
            raise ValueError("should be a lowest and a highest strength, with 1 among them")
        return strengths

    def replaced(self, **fields: Any) -> Self:
        """This policy with other values for some fields.

        Raises:
            pydantic.ValidationError: a field or its value is not valid.
        """
        return type(self).model_validate({**self.model_dump(), **fields})

    def check(self, connections: Collection[str], languages: Collection[str]) -> None:
        """Check that a checkpoint can follow this policy.

        Args:
            connections: names of the checkpoint's Transform Matrices.
            languages: the languages that the checkpoint was trained for.

        Raises:
            PolicyError: the checkpoint lacks a language or a connection; the message names the field and the choices.
        """
        known = {*languages, *connections, ENGLISH} - {GLOBAL}
        for position, language in enumerate(self.languages or ()):
            if language not in known:
                raise PolicyError(f"languages.{position}", _unknown(language, "language", known))
        served = known if self.languages is None else {*self.languages, ENGLISH}
        for language, connection in self.connections.items():
            field = f"connections.{language}"
            if language not in served:
                raise PolicyError(field, _unknown(language, "served language", served))
            offered = {OFF, *({GLOBAL, language} & set(connections))}
            if connection not in offered:
                raise PolicyError(field, _unknown(connection, "connection", offered))
        if self.default not in (OFF, *connections):
            raise PolicyError("default", _unknown(self.default, "connection", {OFF, *connections}))


def _unknown(value: str, kind: str, choices: Collection[str]) -> str:
    return f"{value[:80]!r} is no {kind} here; there are: {', '.join(sorted(choices))}"

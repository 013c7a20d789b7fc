"""What the loaded checkpoint can do: ``GET /v1/languages``, and a field of each card of ``/v1/models``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel

from cc_core.evidence import Gain
from cc_core.names import AUTO, CARD_FIELD, GLOBAL, OFF
from cc_serve.api.fit import Fit
from cc_serve.routing.router import Router

_ALL: Final = "all"


class Language(BaseModel):
    """A language that requests may be in or name.

    Args:
        language: ISO 639-1.
        connection: the connection that routing gives it.
        fit: how well its matrix was fitted.
        gain: the gain of its connection on held-out pairs.
        harmed: whether its requests are answered plain because the gain shows harm.
    """

    language: str
    connection: str
    fit: Fit | None
    gain: Gain | None = None
    harmed: bool = False


class Languages(BaseModel):
    """The checkpoint's languages and Transform Matrices; ``fit`` and ``gain`` are those of all languages together.

    Args:
        held_out_of: ``training`` if no part of it saw the pairs of the gains; ``fit`` if only the fit did not.
        strengths: the lowest and the highest allowed ``cc_strength``.
    """

    object: str = "list"
    connections: list[str]
    fit: Fit | None
    gain: Gain | None = None
    held_out_of: str | None = None
    strengths: tuple[float, float]
    data: list[Language]


def languages_of(router: Router, fit: dict[str, Fit]) -> Languages:
    """What `GET /v1/languages` answers."""
    evidence = router.evidence
    gains = evidence.languages if evidence is not None else {}
    data = [
        Language(
            language=code,
            connection=router.connection_for(code),
            fit=fit.get(code),
            gain=gains.get(code),
            harmed=code in router.harmed,
        )
        for code in router.choices
        if code not in (AUTO, OFF, GLOBAL)
    ]
    return Languages(
        connections=connections_of(router),
        fit=fit.get(_ALL),
        gain=evidence.overall if evidence is not None else None,
        held_out_of=evidence.held_out_of if evidence is not None else None,
        strengths=router.policy.strengths,
        data=data,
    )


def connections_of(router: Router) -> list[str]:
    """The checkpoint's Transform Matrices, ``global`` first."""
    return sorted(router.connections, key=lambda name: (name != GLOBAL, name))


def languages_endpoint(router_of: Callable[[Request], Router], fit_of: Callable[[], dict[str, Fit]]) -> APIRouter:
    """The endpoint.

    Args:
        router_of: returns the router for the caller's requests.
        fit_of: returns the fit of the served connection, from `load_fit`.
    """
    endpoint = APIRouter()

    @endpoint.get("/v1/languages")
    async def languages(request: Request) -> Languages:
        """The checkpoint's languages: the connection that each gets, how well it was fitted, and what it is worth."""
        return languages_of(router_of(request), fit_of())

    return endpoint


def describe_models(models: Any, router_of: Callable[[], Router]) -> None:
    """Add to each model in ``/v1/models`` what its connection can do.

    Args:
        models: vLLM's `OpenAIServingModels`, which is changed.
        router_of: returns the router of the served connection. Clients compare the digest of its file to see whether
            the connection has changed.
    """
    show = models.show_available_models

    async def shown() -> Any:
        cards, router = await show(), router_of()
        languages = sorted(router.languages)
        connected = {"connections": connections_of(router), "languages": languages, "sha256": router.sha256}
        for card in cards.data:
            setattr(card, CARD_FIELD, connected)
        return cards

    models.show_available_models = shown

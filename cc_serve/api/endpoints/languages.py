"""What the loaded checkpoint can do: ``GET /v1/languages``, and a field of each card of ``/v1/models``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from cc_core.names import AUTO, FIT_FILE, GLOBAL, OFF
from cc_serve.payloads import CARD_FIELD
from cc_serve.routing.router import Router

logger = logging.getLogger(__name__)

_ALL: Final = "all"


class Agreement(BaseModel):
    """How near activations come to the true English ones, each at most 1.

    Args:
        r2: over all layers; null where the true ones do not vary.
        cosine: mean over the layers.
        agreement: how often the same layer is chosen.
        cosine_by_layer: the cosine of each, which `GET /v1/layers` tells.
    """

    r2: float | None
    cosine: float
    agreement: float
    cosine_by_layer: list[float] = Field(default=[], exclude=True)


class Fit(BaseModel):
    """What a connection was worth on pairs held out of its fit.

    Args:
        pairs: held-out pairs that were scored.
        transform: the Transform Matrix's.
        identity: of the same activations without one.
        answer_loss: nats per token of the answer: ``plain``, with ``identity``, with ``transform``, and ``english``,
            the true activations, the bound.
    """

    pairs: int
    transform: Agreement
    identity: Agreement
    answer_loss: dict[str, float]


class Language(BaseModel):
    """A language that requests may be in or name."""

    language: str
    connection: str
    fit: Fit | None


class Languages(BaseModel):
    """The checkpoint's languages and Transform Matrices; ``fit`` is that of all languages together."""

    object: str = "list"
    connections: list[str]
    fit: Fit | None
    data: list[Language]


def load_fit(checkpoint: Path) -> dict[str, Fit]:
    """The fit's figures by language, and ``all``; empty where the checkpoint came without them.

    They only describe: a file that cannot be understood is named in the log and is no reason not to serve.
    """
    path = checkpoint / FIT_FILE
    try:
        scores = json.loads(path.read_bytes())["scores"]
        return {name: Fit.model_validate(figures) for name, figures in scores.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        logger.warning("%s is left out of /v1/languages: %s", path, problem)
        return {}


def languages_of(router: Router, fit: dict[str, Fit]) -> Languages:
    """What `GET /v1/languages` answers."""
    codes = [choice for choice in router.choices if choice not in (AUTO, OFF, GLOBAL)]
    data = [Language(language=code, connection=router.connection_for(code), fit=fit.get(code)) for code in codes]
    return Languages(connections=connections_of(router), fit=fit.get(_ALL), data=data)


def connections_of(router: Router) -> list[str]:
    """The checkpoint's Transform Matrices, ``global`` first."""
    return sorted(router.connections, key=lambda name: (name != GLOBAL, name))


def languages_endpoint(router_of: Callable[[Request], Router], fit: dict[str, Fit]) -> APIRouter:
    """The endpoint.

    Args:
        router_of: by what the caller's requests are routed.
        fit: from `load_fit`.
    """
    endpoint = APIRouter()

    @endpoint.get("/v1/languages")
    async def languages(request: Request) -> Languages:
        """The checkpoint's languages, the connection that each gets, and how well that was fitted."""
        return languages_of(router_of(request), fit)

    return endpoint


def describe_models(models: Any, router: Router, sha256: str) -> None:
    """Let each card of ``/v1/models`` say that the model is connected.

    Args:
        models: vLLM's `OpenAIServingModels`.
        router: of the checkpoint.
        sha256: of its connection, which tells whether it is still the one of another day.
    """
    show = models.show_available_models
    connected = {"connections": connections_of(router), "languages": sorted(router.languages), "sha256": sha256}

    async def shown() -> Any:
        cards = await show()
        for card in cards.data:
            setattr(card, CARD_FIELD, connected)
        return cards

    models.show_available_models = shown

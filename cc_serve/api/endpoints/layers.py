"""``GET /v1/layers``: by language, how well the connection fits each of the model's layers, and which were chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import APIRouter, Request
from pydantic import BaseModel

from cc_serve.api.endpoints.languages import languages_of
from cc_serve.api.fit import Fit
from cc_serve.api.telemetry.metrics import chosen_layers
from cc_serve.routing.router import Router


class LanguageLayers(BaseModel):
    """One language's layers.

    Args:
        language: ISO 639-1, or ``und`` for prompts whose language was undecided.
        cosine: by layer, the cosine between the transformed activations and the true English ones, on held-out pairs;
            null if the checkpoint does not have it.
        chosen: by layer, for how many prompts it was chosen since the server started.
    """

    language: str
    cosine: list[float] | None
    chosen: list[int]


class Layers(BaseModel):
    """The layers of all languages; ``layers`` is how many the model has, counted from 0."""

    object: str = "list"
    layers: int
    data: list[LanguageLayers]


def layers_endpoint(router_of: Callable[[Request], Router], fit_of: Callable[[], dict[str, Fit]]) -> APIRouter:
    """The endpoint.

    Args:
        router_of: returns the router for the caller's requests.
        fit_of: returns the fit of the served connection, from `cc_serve.api.endpoints.languages.load_fit`.
    """
    endpoint = APIRouter()

    @endpoint.get("/v1/layers")
    async def layers(request: Request) -> Layers:
        """The model's layers by language: how well the connection fits each, and which were chosen so far."""
        count = request.app.state.vllm_config.model_config.get_total_num_hidden_layers()
        # In a thread: with several API processes, the metrics' files of all are read.
        return await asyncio.to_thread(layers_of, router_of(request), fit_of(), count)

    return endpoint


def layers_of(router: Router, fit: dict[str, Fit], count: int) -> Layers:
    """What ``GET /v1/layers`` answers for a model of ``count`` layers."""
    chosen = chosen_layers()
    served = [item.language for item in languages_of(router, fit).data]
    data = []
    for language in dict.fromkeys([*served, *sorted(chosen)]):
        cosine = fit[language].transform.cosine_by_layer if language in fit else []
        counts = [chosen.get(language, {}).get(layer, 0) for layer in range(count)]
        data.append(LanguageLayers(language=language, cosine=cosine or None, chosen=counts))
    return Layers(layers=count, data=data)

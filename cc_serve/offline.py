"""Connections through vLLM's own ``LLM``, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cc_core.names import OFF
from cc_serve.payloads import ENGINE_ARGUMENT, ENGINE_REPORT, STRENGTH
from cc_serve.routing.router import Route

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams


def connected(parameters: SamplingParams, connection: Route | str, strength: float = 1.0) -> SamplingParams:
    """A copy of ``parameters`` that asks for a connection.

    Args:
        parameters: one request's sampling parameters.
        connection: a route of `cc_serve.Router`, or a name: ``off``, ``global`` or a language with its own matrix.
        strength: the factor of the connection's vector, from 0 to 2; 1 is what it was trained for. The engine refuses
            any other value.
    """
    name = connection.connection if isinstance(connection, Route) else connection
    copy = parameters.clone()
    others = {key: value for key, value in (copy.extra_args or {}).items() if key not in (ENGINE_ARGUMENT, STRENGTH)}
    asked: dict[str, Any] = {ENGINE_ARGUMENT: name} if strength == 1 else {ENGINE_ARGUMENT: name, STRENGTH: strength}
    copy.extra_args = others if name == OFF else {**others, **asked}
    return copy


def connection_of(output: RequestOutput) -> dict[str, Any] | None:
    """What a finished request's connection was: ``{"name": ..., "layer": ..., "captures": ...}``; None without one.

    ``layer`` is the layer that the Decision Maker chose. ``captures`` is 1, and one more for each preemption.
    ``strength`` is there if it is not 1, and ``draft_confirmed`` if the capture step's token was a draft.
    """
    return (output.kv_transfer_params or {}).get(ENGINE_REPORT)

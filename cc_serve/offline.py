"""Connections through vLLM's own ``LLM``, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cc_core.names import CONNECTION_KEY, OFF
from cc_serve.routing.router import Route

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams


def connected(parameters: SamplingParams, connection: Route | str) -> SamplingParams:
    """A copy of ``parameters`` that asks for a connection.

    Args:
        parameters: of one request.
        connection: a route of `cc_serve.Router`, or a name: ``off``, ``global`` or a language with its own matrix.
    """
    name = connection.connection if isinstance(connection, Route) else connection
    copy = parameters.clone()
    others = {key: value for key, value in (copy.extra_args or {}).items() if key != CONNECTION_KEY}
    copy.extra_args = others if name == OFF else {**others, CONNECTION_KEY: name}
    return copy


def connection_of(output: RequestOutput) -> dict[str, Any] | None:
    """What was done for a finished request: ``{"name": ..., "layer": ..., "captures": ...}``; None without connection.

    ``layer`` is the one that the Decision Maker chose; ``captures`` counts one, and one more for each preemption.
    """
    return (output.kv_transfer_params or {}).get(CONNECTION_KEY)

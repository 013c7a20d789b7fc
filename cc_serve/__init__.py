"""Serving of CC-Tuned models: routing by language, connections for vLLM, and the server.

What a program needs is here; it is loaded when it is first used, so that ``import cc_serve`` costs nothing.

>>> from cc_serve import Router
>>> Router.of("outputs/demo").route(["Habari ya leo?"]).connection
'global'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cc_core.language.detector import LanguageDetector as LanguageDetector
    from cc_serve.offline import connected as connected
    from cc_serve.offline import connection_of as connection_of
    from cc_serve.routing.policy import RoutingPolicy as RoutingPolicy
    from cc_serve.routing.router import Route as Route
    from cc_serve.routing.router import Router as Router

_MODULES = {
    "LanguageDetector": "cc_core.language.detector",
    "Route": "cc_serve.routing.router",
    "Router": "cc_serve.routing.router",
    "RoutingPolicy": "cc_serve.routing.policy",
    "connected": "cc_serve.offline",
    "connection_of": "cc_serve.offline",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)

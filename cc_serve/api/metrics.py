"""What this layer adds to vLLM's metrics, in the same registry and so at the same ``/metrics``."""

from __future__ import annotations

from prometheus_client import Counter

_REQUESTS = Counter(
    "cc:requests",
    "Generation requests, by the language they were routed for and their connection.",
    ["language", "connection"],
)

_LIMITS = Counter("cc:limits_hit", "Requests that a limit refused or cut short, by limit.", ["limit"])


def count_limit(limit: str) -> None:
    """Count a request that ``limit`` refused or cut short; one of a few fixed names, never a key."""
    _LIMITS.labels(limit).inc()


def count_request(language: str, connection: str) -> None:
    """Count a routed request."""
    _REQUESTS.labels(language, connection).inc()

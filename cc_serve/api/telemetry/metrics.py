"""What this server adds to vLLM's metrics, in the same registry and so at the same ``/metrics``; see docs/metrics.md.

Every label has few values: languages and connections are the checkpoint's, outcomes and limits are listed in code.
"""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.routing.holdout import Side

#: Labels of requests that were answered before they were routed, and of those on no side of a holdout.
UNROUTED: Final = "none"
# Where prometheus_client keeps the values of several processes.
_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
_ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
_TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_DETECTION_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1)

_REQUESTS = Counter(
    "cc:requests",
    "Generation requests that are over, by the language they were routed for, connection, outcome and side.",
    ["language", "connection", "outcome", "holdout"],
)
_UNDECIDED = Counter("cc:undecided", "Generation requests whose language could not be told.")
_OVERRIDES = Counter(
    "cc:overrides", "Generation requests that named their connection or language themselves.", ["connection"]
)
_LIMITS = Counter("cc:limits_hit", "Requests that a limit refused or cut short, by limit.", ["limit"])
_STORE_ERRORS = Counter(
    "cc:store_errors",
    "Requests whose key's limits the shared store could not tell, by what became of them: `allow` or `refuse`.",
    ["action"],
)
_USAGE_ERRORS = Counter("cc:usage_errors", "Attempts to write what keys have used that failed; the server tries again.")
_DETECTION = Histogram("cc:detection_seconds", "Choosing a request's connection.", buckets=_DETECTION_BUCKETS)
_END_TO_END = Histogram(
    "cc:request_seconds",
    "From a generation request's headers to the last byte of its answer, where the outcome is ok.",
    ["connection", "holdout"],
    buckets=_ANSWER_BUCKETS,
)
_FIRST_TOKEN = Histogram(
    "cc:time_to_first_token_seconds",
    "From handing a prompt to the engine to its first token.",
    ["connection", "holdout"],
    buckets=_ANSWER_BUCKETS,
)
_INTER_TOKEN = Histogram(
    "cc:inter_token_seconds",
    "Mean time between the tokens of one answer, for answers of two tokens and more.",
    ["connection"],
    buckets=_TOKEN_BUCKETS,
)
_PROMPT_TOKENS = Counter("cc:prompt_tokens", "Tokens of the prompts that were answered.", ["connection"])
_GENERATED_TOKENS = Counter("cc:generation_tokens", "Tokens that were generated.", ["connection", "holdout"])
_LAYERS_NAME: Final = "cc:connection_layer"
_LAYERS = Counter(
    _LAYERS_NAME,
    "Connected prompts whose answer is over, by the layer that was chosen.",
    ["language", "connection", "layer"],
)
_CONNECTION = Gauge(
    "cc:connection_info",
    "1 for the connection that new requests begin with, by the SHA-256 of its file; 0 for one that was served before.",
    ["sha256"],
    multiprocess_mode="mostrecent",
)
_CAPTURES = Counter(
    "cc:connection_captures", "Times that the anchors of these prompts were captured: again after each preemption."
)
_ANSWERS = Counter(
    "cc:answers",
    "Sampled answers that ended well, by the language of the question, that of the answer, connection and side.",
    ["asked", "answered", "connection", "holdout"],
)
_DROPPED_ANSWERS = Counter(
    "cc:answers_dropped", "Sampled answers whose language was not looked at, because too many waited for it."
)


_Metric = TypeVar("_Metric", Counter, Histogram)


@cache
def _labelled(metric: _Metric, *labels: str) -> _Metric:
    """``metric.labels``, which takes longer than counting. There are few labels, so that the cache stays small."""
    return metric.labels(*labels)


def count_limit(limit: str) -> None:
    """Count a request that ``limit`` refused or cut short. Its name is one of a few fixed ones, never a key's."""
    _labelled(_LIMITS, limit).inc()


def expect_store_errors(action: str) -> None:
    """Show the counter from the start: Prometheus sees no rise if a counter appears with the first error."""
    _labelled(_STORE_ERRORS, action)


def count_store_error(action: str) -> None:
    """Count a request whose key's limits could not be asked of the store; ``action`` is what became of the request."""
    _labelled(_STORE_ERRORS, action).inc()


def count_usage_error() -> None:
    """Count an attempt to write usage that failed."""
    _USAGE_ERRORS.inc()


def count_request(record: RequestRecord) -> None:
    """Count a generation request that is over."""
    route, outcome = record.route, record.outcome
    connection = route.connection if route else UNROUTED
    side = record.holdout or UNROUTED
    _labelled(_REQUESTS, record.language or UNROUTED, connection, outcome, side).inc()
    if outcome == "ok":
        _labelled(_END_TO_END, connection, side).observe(record.seconds)
    if route is None:
        return
    if record.detection_seconds is not None:
        _DETECTION.observe(record.detection_seconds)
    if record.overridden:
        _labelled(_OVERRIDES, connection).inc()
    elif route.language is None:
        _UNDECIDED.inc()


def count_answer(record: RequestRecord, answered: str) -> None:
    """Count a sampled answer in the language ``answered``, to a request that was routed."""
    connection = record.route.connection if record.route else UNROUTED
    _ANSWERS.labels(record.language or UNROUTED, answered, connection, record.holdout or UNROUTED).inc()


def count_dropped_answer() -> None:
    """Count a sampled answer for whose detection there was no time."""
    _DROPPED_ANSWERS.inc()


def count_tokens(connection: str, side: Side | None, prompt: int, generated: int) -> None:
    """Count the tokens of an engine request that is over."""
    _labelled(_PROMPT_TOKENS, connection).inc(prompt)
    _labelled(_GENERATED_TOKENS, connection, side or UNROUTED).inc(generated)


def show_connection(sha256: str, before: str | None = None) -> None:
    """Show the connection that new requests begin with, in place of the one ``before``; both by digest."""
    if before is not None:
        _CONNECTION.labels(before).set(0)
    _CONNECTION.labels(sha256).set(1)


def count_connection(language: str | None, report: Mapping[str, Any]) -> None:
    """Count the engine's report on a connected prompt; ``language`` is the language that it was routed for."""
    _LAYERS.labels(language or UNROUTED, report["name"], report["layer"]).inc()
    _CAPTURES.inc(report["captures"])


def chosen_layers() -> dict[str, dict[int, int]]:
    """For how many connected prompts each layer was chosen since the start, by language and layer."""
    chosen: defaultdict[str, Counts[int]] = defaultdict(Counts)
    # If there are several processes, those of all.
    collected = next((metric for metric in _collect() if metric.name == _LAYERS_NAME), None)
    for sample in collected.samples if collected else ():
        if sample.name.endswith("_total"):
            chosen[sample.labels["language"]][int(sample.labels["layer"])] += int(sample.value)
    return {language: dict(counts) for language, counts in chosen.items()}


def _collect() -> Iterable[Metric]:
    if _DIRECTORY not in os.environ:
        return _LAYERS.collect()
    return MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call,no-any-return]


def observe_token_times(connection: str, side: Side | None, first: float, between: float | None) -> None:
    """Record an answer's time to the first token, and mean time between tokens where it has several; seconds."""
    _labelled(_FIRST_TOKEN, connection, side or UNROUTED).observe(first)
    if between is not None:
        _labelled(_INTER_TOKEN, connection).observe(between)

"""Token counts and times by connection, taken where vLLM's front end talks to its engine.

There they need no parsing of what is streamed to clients, and answers that are not streamed have them as well.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any

from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from cc_core.names import CONNECTION_KEY, OFF
from cc_serve.api.telemetry.metrics import count_connection, count_tokens, observe_token_times
from cc_serve.api.telemetry.record import RequestRecord, current


def observe_engine(engine: Any, connections: Collection[str]) -> None:
    """Let ``engine``, vLLM's `AsyncLLM`, count and time what it generates.

    Args:
        engine: its ``generate`` is replaced by one that does the same.
        connections: the names that may become a label.
    """
    generate = engine.generate

    @functools.wraps(generate)
    async def observed(
        prompt: Any, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncGenerator[RequestOutput, None]:
        name = (sampling_params.extra_args or {}).get(CONNECTION_KEY, OFF)
        tally = _Tally(sampling_params, name if name in connections else OFF, current.get())
        try:
            # Closed at once when the caller goes: that is how vLLM learns that it shall stop.
            async with aclosing(generate(prompt, sampling_params, request_id, **options)) as outputs:
                async for output in outputs:
                    tally.add(output)
                    yield output
        except VLLMClientError:
            tally.fail("client_error")
            raise
        except GracefulHTTPError as error:
            tally.fail("client_error" if error.http_status < 500 else "server_error")
            raise
        except Exception:
            tally.fail("server_error")
            raise
        finally:
            tally.close()

    engine.generate = observed


class _Tally:
    """What one engine request generates."""

    def __init__(self, parameters: SamplingParams, connection: str, record: RequestRecord | None) -> None:
        self.deltas = parameters.output_kind == RequestOutputKind.DELTA
        self.connection = connection
        self.record = record
        self.generated = 0
        self.last: RequestOutput | None = None
        self.report: dict[str, Any] | None = None

    def add(self, output: RequestOutput) -> None:
        tokens = sum(len(answer.token_ids) for answer in output.outputs)
        self.generated = self.generated + tokens if self.deltas else tokens
        self.last = output
        if output.kv_transfer_params:
            # Of the last answer of several: they share the prompt. Clients get it only where they ask for it.
            self.report = output.kv_transfer_params.pop(CONNECTION_KEY, None)
            output.kv_transfer_params = output.kv_transfer_params or None
        if output.finished and any(answer.finish_reason == "error" for answer in output.outputs):
            self.fail("server_error")

    def fail(self, failure: str) -> None:
        if self.record is not None:
            self.record.failure = failure  # type: ignore[assignment]

    def close(self) -> None:
        output, record = self.last, self.record
        if output is None:
            return
        prompt = len(output.prompt_token_ids or ())
        count_tokens(self.connection, prompt, self.generated)
        if self.report is not None:
            count_connection(record.language if record else None, self.report)
        if record is not None:
            record.connections += [self.report] if self.report else []
            record.prompt_tokens += prompt
            record.generated_tokens += self.generated
        times = output.metrics  # None where vLLM's statistics are off
        if times is None or not times.first_token_latency:
            return
        later = times.num_generation_tokens - 1
        between = (times.last_token_ts - times.first_token_ts) / later if later > 0 else None
        observe_token_times(self.connection, times.first_token_latency, between)
        if record is not None and record.first_token_seconds is None:
            record.first_token_seconds = times.first_token_latency

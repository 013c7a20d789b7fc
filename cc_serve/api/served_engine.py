"""The only way to the engine: vLLM's client, with limits, counts and times, which stops only after the last response.

Each task has an object of its own: `Work` limits and charges, `Tally` counts and times, `Drain` waits.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from cc_core.names import OFF, OVERRIDE_FIELD
from cc_serve.api.connections import Connections
from cc_serve.api.drain import Drain
from cc_serve.api.faults import StoppedError
from cc_serve.api.patterns import named_schema_error, refuse_misread_patterns
from cc_serve.api.telemetry.record import RequestRecord, current_record
from cc_serve.api.telemetry.token_times import Tally
from cc_serve.api.vllm import EngineDeadError, RequestOutput, SamplingParams, VLLMValidationError
from cc_serve.api.work import Work, current_work
from cc_serve.payloads import DIGEST, ENGINE_ARGUMENT


class ServedEngine:
    """Takes the place of vLLM's engine client, `AsyncLLM`. Only `generate` and `shutdown` differ from the client's.

    Args:
        engine: vLLM's client.
        connections: the connections that requests begin with; their names may become labels of metrics.
        drain: the running responses.
        xgrammar: whether xgrammar makes answers follow patterns, and not another backend.
    """

    def __init__(self, engine: Any, connections: Connections, drain: Drain, *, xgrammar: bool = True) -> None:
        self._engine = engine
        self._connections = connections
        self._drain = drain
        self._xgrammar = xgrammar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncGenerator[RequestOutput]:
        """vLLM's ``generate``, within the limits of `current_work`, and noted in `current_record`.

        It refuses at once, so that the client gets a status and not an event in a stream.

        Raises:
            VLLMValidationError: see `Work.begin` and `refuse_misread_patterns`; or the request's connection is not
                held any more.
        """
        if self._xgrammar:
            refuse_misread_patterns(sampling_params)
        work = current_work.get()
        if work is not None:
            work.begin(prompt, sampling_params)
        sha256 = self._connect(sampling_params, work)
        outputs = self._engine.generate(prompt, sampling_params, request_id, **options)
        return self._followed(outputs, prompt, sampling_params, work, current_record.get(), sha256)

    def _connect(self, parameters: SamplingParams, work: Work | None) -> str:
        """Name to the engine the connection that a request began with. Returns its digest, also for plain requests."""
        sha256 = (work.sha256 if work is not None else None) or self._connections.served.sha256
        arguments = parameters.extra_args or {}
        name = arguments.get(ENGINE_ARGUMENT)
        if name is not None and sha256:
            if not self._connections.has(sha256, name):
                raise VLLMValidationError(
                    f"connection {repr(name)[:80]} is not served any more; send the request again",
                    parameter=OVERRIDE_FIELD,
                )
            parameters.extra_args = {**arguments, DIGEST: sha256}
        return sha256

    async def _followed(
        self,
        outputs: AsyncGenerator[RequestOutput],
        prompt: object,
        parameters: SamplingParams,
        work: Work | None,
        record: RequestRecord | None,
        sha256: str,
    ) -> AsyncGenerator[RequestOutput]:
        more = partial(anext, outputs, None)
        name = (parameters.extra_args or {}).get(ENGINE_ARGUMENT, OFF)
        tally = Tally(parameters.output_kind, name if self._connections.has(sha256, name) else OFF, record)
        if work is not None:
            work.start(prompt)  # not before: vLLM first calls `generate` for all prompts, and one may be refused
        try:
            # Closed at once when the caller leaves: that is how vLLM learns to stop.
            with self._connections.answered_with(sha256):
                async with aclosing(outputs):
                    while (output := await (work.in_time(more()) if work else more())) is not None:
                        new = tally.add(output)
                        if work is not None:
                            work.answered(new)
                        yield output
        except Exception as error:
            stopped = isinstance(error, EngineDeadError) and self._drain.stopping
            fault = StoppedError() if stopped else named_schema_error(error)
            tally.fail(fault)
            if fault is error:
                raise
            raise fault from error
        finally:
            tally.close()
            if work is not None:
                work.end(parameters)

    def shutdown(self, timeout: float | None = None) -> None:
        """Wait for running responses and stop the engine, for ``timeout`` seconds altogether. Call it in a thread.

        Requests that still run then fail with `StoppedError`; clients that do not receive their answers are cut off.

        vLLM's own drain only waits until the engine has computed its last token, which clients may not have received
        yet. It may also cancel the task that hands out the engine's outputs before that task learns that the engine
        has stopped. Then a clean stop logs an error, and answers that still run may never end.
        """
        start = time.monotonic()
        drained = self._drain.stop(timeout)
        remaining = None if timeout is None else max(0.0, timeout - (time.monotonic() - start))
        handler = self._engine.output_handler
        if drained and handler is not None:
            handler.get_loop().call_soon_threadsafe(handler.cancel)
        self._engine.shutdown(timeout=remaining)
        if not drained and handler is not None:
            loop = handler.get_loop()
            loop.call_soon_threadsafe(self._engine.output_processor.propagate_error, EngineDeadError())
            loop.call_soon_threadsafe(self._drain.hurry)

    async def lose(self) -> None:
        """Fail all running requests: another process has seen the engine die."""
        self._engine.engine_core.resources.engine_dead = True
        self._engine.engine_core.shutdown()

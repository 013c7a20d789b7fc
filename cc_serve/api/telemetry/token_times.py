"""Tokens and times of an engine request, taken from the engine's own outputs.

So nothing that is streamed to clients has to be parsed, and answers that are not streamed have them as well.
"""

from __future__ import annotations

from typing import Any

from cc_serve.api.faults import note_fault
from cc_serve.api.telemetry.metrics import count_connection, count_tokens, observe_token_times
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.api.vllm import RequestOutput, RequestOutputKind
from cc_serve.payloads import ENGINE_REPORT


class Tally:
    """What one engine request generates, for the metrics and the HTTP request's record when it is over.

    Args:
        kind: whether each output has the new tokens only, all tokens so far, or all tokens at the end.
        connection: the connection's name, as the label of metrics.
        record: the HTTP request's record; None outside of one.
    """

    def __init__(self, kind: RequestOutputKind, connection: str, record: RequestRecord | None) -> None:
        self._cumulative = kind is RequestOutputKind.CUMULATIVE
        self._connection = connection
        self._record = record
        sample = record.sample if record is not None else None
        self._sample = sample if sample is not None and sample.claim() else None
        self._counted: dict[int, int] = {}  # by answer, where each output repeats what came before
        self._generated = 0
        self._last: RequestOutput | None = None
        self._report: dict[str, Any] | None = None

    def add(self, output: RequestOutput) -> int:
        """Count an output, and take the engine's report out of it. Returns how many of its tokens are new."""
        new = 0
        for answer in output.outputs:
            new += len(answer.token_ids)
            if self._cumulative:
                new -= self._counted.get(answer.index, 0)
                self._counted[answer.index] = len(answer.token_ids)
            if self._sample is not None and answer.index == 0:
                self._sample.add(answer.text, whole=self._cumulative)
        self._generated += new
        self._last = output
        if output.kv_transfer_params:
            # All answers to a prompt have the same report. Clients get it only if they ask for it.
            self._report = output.kv_transfer_params.pop(ENGINE_REPORT, None)
            output.kv_transfer_params = output.kv_transfer_params or None
        failed = output.finished and any(answer.finish_reason == "error" for answer in output.outputs)
        if failed and self._record is not None:
            self._record.failure = "server_error"
        return new

    def fail(self, error: Exception) -> None:
        """Note that ``error`` ends the request, and whose fault it is."""
        if self._record is not None:
            note_fault(self._record, error)

    def close(self) -> None:
        """Count the request, which is over, however it ended."""
        output, record = self._last, self._record
        if output is None:
            return
        prompt = len(output.prompt_token_ids or ())
        side = record.holdout if record is not None else None
        count_tokens(self._connection, side, prompt, self._generated)
        if self._report is not None:
            count_connection(record.language if record else None, self._report)
        if record is not None:
            record.connections += [self._report] if self._report else []
            record.prompt_tokens += prompt
            record.generated_tokens += self._generated
        times = output.metrics  # None if vLLM's statistics are off
        if times is None or not times.first_token_latency:
            return
        later = times.num_generation_tokens - 1
        between = (times.last_token_ts - times.first_token_ts) / later if later > 0 else None
        observe_token_times(self._connection, side, times.first_token_latency, between)
        if record is not None and record.first_token_seconds is None:
            record.first_token_seconds = times.first_token_latency

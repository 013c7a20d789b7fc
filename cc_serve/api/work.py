"""The engine's work for one request: counted, bounded, and over at the deadline.

The middleware that admits a request puts a `Work` into the context; the engine client finds it there, whichever
endpoint calls it. So the tokens are those of the engine's own outputs, for streams as for whole answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from vllm.exceptions import GracefulHTTPError, VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams

from cc_serve.api.telemetry.metrics import count_limit
from cc_serve.config.configuration import Limits


class DeadlineError(GracefulHTTPError):
    """The request took longer than the server allows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request ran into the deadline of {seconds:g} s", HTTPStatus.GATEWAY_TIMEOUT)


class Work:
    """What the engine does for one HTTP request, which may have several prompts and answers.

    Args:
        limits: what it may ask for.
        started: when it arrived, on the event loop's clock.
        charge: told of tokens as they are used.
        field: where the request has its prompt.
    """

    def __init__(self, limits: Limits, started: float, charge: Callable[[int], None], field: str = "prompt") -> None:
        self.limits = limits
        self.field = field
        self.deadline = None if limits.deadline_seconds is None else started + limits.deadline_seconds
        self.charge = charge
        self._sequences = 0

    def begin(self, prompt: object, parameters: SamplingParams) -> None:
        """Check and count one more prompt, and bound the length of its answers.

        Raises:
            VLLMValidationError: the prompt is too long, or the request wants too many answers.
        """
        limits = self.limits
        # Those of a request are all begun before the first is run; beam search begins and ends them step by step.
        self._sequences += parameters.n
        if self._sequences > limits.sequences:
            count_limit("sequences")
            raise VLLMValidationError(
                f"the request asks for {self._sequences} answers and more (prompts times n); this server allows at "
                f"most {limits.sequences}",
                parameter=self.field,
            )
        length = _prompt_length(prompt)
        if limits.prompt_tokens is not None and length > limits.prompt_tokens:
            count_limit("prompt_tokens")
            raise VLLMValidationError(
                f"the prompt has {length} tokens; this server allows at most {limits.prompt_tokens}",
                parameter=self.field,
            )
        if limits.output_tokens is not None:
            parameters.max_tokens = min(parameters.max_tokens or limits.output_tokens, limits.output_tokens)
        self.charge(length)

    async def watch(
        self, outputs: AsyncGenerator[RequestOutput], parameters: SamplingParams
    ) -> AsyncGenerator[RequestOutput]:
        """``outputs``, of which the tokens are counted; raises `DeadlineError` when it is time, which ends them."""
        counted: dict[int, int] = {}
        try:
            async with aclosing(outputs):
                while (output := await self._next(outputs)) is not None:
                    self.charge(_new_tokens(output, parameters.output_kind, counted))
                    yield output
        finally:
            self._sequences -= parameters.n

    async def _next(self, outputs: AsyncGenerator[RequestOutput]) -> RequestOutput | None:
        if self.deadline is None:  # a timeout that never comes costs microseconds a token all the same
            return await anext(outputs, None)
        try:
            async with asyncio.timeout_at(self.deadline) as timeout:
                return await anext(outputs, None)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            count_limit("deadline")
            raise DeadlineError(self.limits.deadline_seconds or 0) from error


#: The work of the request that is being answered here; None outside of one.
current: ContextVar[Work | None] = ContextVar("work", default=None)


class BoundedEngine:
    """Stands in for vLLM's engine client; the only difference is that generating goes by the `current` work."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, **options: Any
    ) -> AsyncGenerator[RequestOutput]:
        """As vLLM's, and refuses at once, so that the refusal is no event in a stream that has begun.

        Raises:
            VLLMValidationError: as `Work.begin`.
        """
        work = current.get()
        if work is not None:
            work.begin(prompt, sampling_params)
        outputs = self._engine.generate(prompt, sampling_params, request_id, **options)
        return outputs if work is None else work.watch(outputs, sampling_params)


def _prompt_length(prompt: object) -> int:
    tokens = prompt.get("prompt_token_ids") if isinstance(prompt, Mapping) else None
    return len(tokens or ())


def _new_tokens(output: RequestOutput, kind: RequestOutputKind, counted: dict[int, int]) -> int:
    """How many tokens ``output`` has beyond those that ``counted`` has by answer, which is brought up to date."""
    new = 0
    for answer in output.outputs:
        before = counted.get(answer.index, 0) if kind is RequestOutputKind.CUMULATIVE else 0
        new += len(answer.token_ids) - before
        counted[answer.index] = len(answer.token_ids)
    return new

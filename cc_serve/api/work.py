"""The engine's work for one request: it is bounded, charged to the request's key, and ends at the deadline.

The middleware that admits a request puts a `Work` into the context, where the engine's client finds it, whichever
endpoint calls the client. So the tokens of the engine's own outputs are charged, whether the answer is streamed or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TypeVar

from cc_serve.api.faults import DeadlineError
from cc_serve.api.telemetry.metrics import count_limit
from cc_serve.api.vllm import SamplingParams, VLLMValidationError
from cc_serve.config.configuration import Limits

_T = TypeVar("_T")


class Work:
    """What the engine does for one HTTP request, which may have several prompts and answers.

    Args:
        limits: what the request may ask for.
        started: when the request arrived, in seconds of the event loop's clock.
        charge: receives each number of tokens as they are used; `prompts`, `prompt_tokens` and `answer_tokens` have the
            sums.
        field: the request's field that holds the prompt.
        arguments: the engine's arguments that this server adds to the client's: whose the request is.
        sha256: the digest of the connection that the request began with.
    """

    def __init__(
        self,
        limits: Limits,
        started: float,
        charge: Callable[[int], None],
        field: str = "prompt",
        arguments: Mapping[str, float] | None = None,
        sha256: str | None = None,
    ) -> None:
        self.limits = limits
        self.field = field
        self.deadline = None if limits.deadline_seconds is None else started + limits.deadline_seconds
        self.charge = charge
        self.sha256 = sha256
        self._arguments = arguments or {}
        self.prompts = 0
        self.prompt_tokens = 0
        self.answer_tokens = 0
        self._sequences = 0
        self._overran = False

    def begin(self, prompt: object, parameters: SamplingParams) -> None:
        """Check one more prompt, and bound the length of its answers.

        Raises:
            VLLMValidationError: the prompt is too long, or the request wants too many answers.
        """
        limits = self.limits
        # All prompts of a request pass here before any of them starts. Beam search begins and ends some in each step.
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
        if self._arguments:
            parameters.extra_args = {**(parameters.extra_args or {}), **self._arguments}

    def start(self, prompt: object) -> None:
        """Charge the tokens of a prompt that goes to the engine now."""
        self.prompts += 1
        length = _prompt_length(prompt)
        self.prompt_tokens += length
        self.charge(length)

    def answered(self, tokens: int) -> None:
        """Charge tokens of an answer."""
        self.answer_tokens += tokens
        self.charge(tokens)

    def end(self, parameters: SamplingParams) -> None:
        """The answers to one prompt are over."""
        self._sequences -= parameters.n

    def in_time(self, wanted: Awaitable[_T], grace: float = 0) -> Awaitable[_T]:
        """``wanted``, if it comes before the deadline, or ``grace`` seconds later.

        Raises:
            DeadlineError: it does not. Then it is cancelled.
        """
        # Even a timeout that never comes costs microseconds for each token.
        return wanted if self.deadline is None else self._by(self.deadline + grace, wanted)

    async def _by(self, moment: float, wanted: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout_at(moment) as timeout:
                return await wanted
        except Exception as error:
            if not timeout.expired():
                raise
            raise self._overrun() from error

    def _overrun(self) -> DeadlineError:
        """The error after the deadline. It is counted once, however many prompts run into the deadline."""
        if not self._overran:
            self._overran = True
            count_limit("deadline")
        return DeadlineError(self.limits.deadline_seconds or 0)


#: The work for the request that this task answers; None outside of a request.
current_work: ContextVar[Work | None] = ContextVar("current_work", default=None)


def _prompt_length(prompt: object) -> int:
    if not isinstance(prompt, Mapping):
        return 0
    # With `--enable-prompt-embeds`, a prompt may be a tensor with a row for each token.
    tokens = prompt.get("prompt_token_ids", prompt.get("prompt_embeds"))
    return 0 if tokens is None else len(tokens)

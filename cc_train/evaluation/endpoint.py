"""Answers from an OpenAI endpoint, with many requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import openai

from cc_core.names import CARD_FIELD, CONNECTION_HEADER, OVERRIDE_FIELD
from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.backend import OnAnswer, OnRefusal
from cc_train.evaluation.items import EvaluationError, EvaluationRow

RETRIES = 10
_CHECK_SECONDS = 30.0
# So many refusals before any answer mean that every request is wrong, or that the engine is gone.
_HOPELESS = 20
# These mean that one row cannot be served; any other error would come back for every row.
_REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError, openai.InternalServerError)
_UNAVAILABLE = (502, 503, 504)


class EndpointError(EvaluationError):
    """The endpoint has stopped answering; the answers until then are kept."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind the chat completions API.

    Args:
        url: its base address, as the openai client takes it; ``/v1`` is added to an address without a path.
        model: the name that the model is served under.
        key: the API key.
        connection: sent as ``cc_connection`` if not None; the endpoint then has to say what it connected.
        max_tokens: most tokens of an answer.
        concurrency: requests in flight.
        timeout: seconds for one request.
        retries: of a request that cannot connect, times out, or gets 408, 409, 429 or 5xx. The client waits as long as
            ``Retry-After`` says; without it, longer each time.
    """

    url: str
    model: str
    key: str
    connection: str | None = None
    max_tokens: int = 40
    concurrency: int = 32
    timeout: float = 600.0
    retries: int = RETRIES

    def system(self) -> dict[str, Any]:
        """What the answers depend on, as the endpoint says; its address is not part of it.

        Raises:
            EndpointError: it cannot be reached, refuses the key, or does not serve the model.
        """
        return asyncio.run(self._system())

    def answer(self, rows: Iterable[EvaluationRow], on_answer: OnAnswer, on_refusal: OnRefusal) -> None:
        """Ask for an answer to every row once.

        Args:
            rows: the rows to answer.
            on_answer: called with each answer as it comes.
            on_refusal: called with each row that the endpoint refuses (because its prompt is too long, say), and why.

        Raises:
            EndpointError: the endpoint is gone, or refuses everything.
        """
        asyncio.run(self._answer(list(rows), on_answer, on_refusal))

    def _client(self, timeout: float, retries: int) -> openai.AsyncOpenAI:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise EndpointError(f"--endpoint {self.url}: not an address such as http://127.0.0.1:8000/v1")
        url = self.url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
        return openai.AsyncOpenAI(base_url=url, api_key=self.key, timeout=timeout, max_retries=retries)

    async def _system(self) -> dict[str, Any]:
        async with self._client(_CHECK_SECONDS, 0) as client:
            try:
                cards = {card.id: card async for card in client.models.list()}
            except openai.OpenAIError as error:
                raise self._gone(error) from error
        if self.model not in cards:
            raise EndpointError(f"{self.url} serves no model {self.model!r}; it serves: {', '.join(cards)}")
        card = cards[self.model].model_dump()
        return {
            "backend": "endpoint",
            "model": self.model,
            "connection": self.connection or "auto",
            "max_tokens": self.max_tokens,
            "checkpoint": card.get("root"),  # vLLM's field: where the server loaded it from
            "connection_sha256": (card.get(CARD_FIELD) or {}).get("sha256"),  # ours: fitting again changes it
        }

    async def _answer(self, rows: list[EvaluationRow], on_answer: OnAnswer, on_refusal: OnRefusal) -> None:
        waiting = iter(rows)
        answered = refused = 0

        async def work(client: openai.AsyncOpenAI) -> None:
            nonlocal answered, refused
            for row in waiting:  # shared by all workers: each takes the next
                try:
                    answer = await self._ask(client, row)
                except openai.APIStatusError as error:
                    if not isinstance(error, _REFUSALS) or error.status_code in _UNAVAILABLE:
                        raise self._gone(error) from error
                    refused += 1
                    if refused >= _HOPELESS and not answered:
                        raise EndpointError(f"{self.url} refuses every request: {_reason(error)}") from error
                    on_refusal(row, _reason(error))
                except openai.OpenAIError as error:
                    raise self._gone(error) from error
                else:
                    answered += 1
                    on_answer(answer)

        async with self._client(self.timeout, self.retries) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.concurrency, len(rows))):
                        group.create_task(work(client))
            except* EvaluationError as errors:
                raise errors.exceptions[0] from errors.exceptions[0].__cause__

    async def _ask(self, client: openai.AsyncOpenAI, row: EvaluationRow) -> Answer:
        response = await client.chat.completions.with_raw_response.create(
            model=self.model,
            messages=[{"role": "user", "content": row.prompt}],
            max_tokens=self.max_tokens,
            temperature=0,
            extra_body=None if self.connection is None else {OVERRIDE_FIELD: self.connection},
        )
        connection = response.headers.get(CONNECTION_HEADER)
        if self.connection is not None and connection is None:
            raise EndpointError(
                f"{self.url} does not say what it connected (no {CONNECTION_HEADER} header), so --connection "
                f"{self.connection} would mean nothing; leave it out, or use cc-serve"
            )
        completion = response.parse()
        choice, usage = completion.choices[0], completion.usage
        return Answer(
            row.key,
            row.digest,
            choice.message.content or "",
            choice.finish_reason,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            connection,
        )

    def _gone(self, error: openai.OpenAIError) -> EndpointError:
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EndpointError(f"{self.url} refuses the API key ({_reason(error)}); set OPENAI_API_KEY")
        if isinstance(error, openai.NotFoundError):
            return EndpointError(f"{self.url}: not found ({_reason(error)}); the address usually ends in /v1")
        if isinstance(error, openai.APITimeoutError):
            return EndpointError(f"{self.url} does not answer in time; raise --timeout, or lower --concurrency")
        if isinstance(error, openai.APIConnectionError):
            return EndpointError(f"{self.url} cannot be reached ({error.__cause__ or error}); is the server running?")
        return EndpointError(f"{self.url}: {_reason(error)}")


def _reason(error: openai.OpenAIError) -> str:
    if not isinstance(error, openai.APIStatusError):
        return str(error)
    body = error.body if isinstance(error.body, dict) else {}
    return f"status {error.status_code}: {body.get('message') or error.message}"

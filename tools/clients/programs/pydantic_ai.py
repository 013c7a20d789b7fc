"""pydantic-ai: fields of ours in the settings' ``extra_body``; headers only by a hook of the HTTP client."""

import asyncio
from typing import Any

import httpx2
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tools.clients.steps import (
    ADDRESS,
    ENGLISH,
    GERMAN,
    MODEL,
    TOKENS,
    UNKNOWN,
    require,
    require_connection,
    require_refusal,
    run,
)

headers: dict[str, str] = {}


async def _note(response: httpx2.Response) -> None:
    headers.update(response.headers)


def _agent(**settings: Any) -> Any:
    http = httpx2.AsyncClient(event_hooks={"response": [_note]}, timeout=60)
    provider = OpenAIProvider(base_url=f"{ADDRESS}/v1", api_key="none", http_client=http)
    # The answer of a tiny model may be empty, after which an agent would ask again.
    return Agent(
        OpenAIChatModel(MODEL, provider=provider), model_settings={"max_tokens": TOKENS, **settings}, output_type=str
    )


def _ask(question: str, *, connected: bool) -> None:
    answer = asyncio.run(_agent().run(question))
    require_connection(headers, connected=connected)
    require(answer.usage.output_tokens, "no usage")


async def _stream() -> None:
    async with _agent().run_stream(GERMAN) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True)]
        require_connection(headers, connected=True)
        require(pieces, "no pieces")
        require(stream.usage.output_tokens, "no usage")


async def _refused() -> None:
    try:
        await _agent(extra_body={"cc_connection": UNKNOWN}).run(GERMAN)
    except ModelHTTPError as error:
        require_refusal(error)
        require(error.status_code == 400, f"status {error.status_code}")
    else:
        require(False, "no error")


run(
    lambda: _ask(ENGLISH, connected=False),
    lambda: _ask(GERMAN, connected=True),
    lambda: asyncio.run(_stream()),
    lambda: asyncio.run(_refused()),
)

"""litellm: the model is ``openai/NAME``; it hands fields of ours on from ``extra_body``, and prefixes headers."""

from typing import Any

import litellm

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

HEADER = "llm_provider-x-cc-connection"


def _answer(question: str, **options: Any) -> Any:
    messages = [{"role": "user", "content": question}]
    return litellm.completion(
        model=f"openai/{MODEL}",
        api_base=f"{ADDRESS}/v1",
        api_key="none",
        messages=messages,
        max_tokens=TOKENS,
        max_retries=0,
        **options,
    )


def _ask(question: str, *, connected: bool) -> None:
    answer = _answer(question)
    require_connection(answer._hidden_params["additional_headers"], connected=connected, name=HEADER)
    require(answer.usage.completion_tokens, "no usage")


def _stream() -> None:
    stream = _answer(GERMAN, stream=True, stream_options={"include_usage": True})
    require_connection(stream._hidden_params["additional_headers"], connected=True, name=HEADER)
    chunks = list(stream)
    require(getattr(chunks[-1], "usage", None), "no usage in the last event")


def _refused() -> None:
    try:
        _answer(GERMAN, extra_body={"cc_connection": UNKNOWN})
    except litellm.BadRequestError as error:
        require_refusal(error)
    else:
        require(False, "no error")


run(lambda: _ask(ENGLISH, connected=False), lambda: _ask(GERMAN, connected=True), _stream, _refused)

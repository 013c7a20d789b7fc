"""OpenAI's client for Python: fields of ours in ``extra_body``, headers by ``with_raw_response``."""

from typing import Any

from openai import BadRequestError, OpenAI

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

client = OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", max_retries=0)


def _options(question: str) -> Any:
    return {"model": MODEL, "max_tokens": TOKENS, "messages": [{"role": "user", "content": question}]}


def _ask(question: str, *, connected: bool) -> None:
    answer = client.chat.completions.with_raw_response.create(**_options(question))
    require_connection(answer.headers, connected=connected)
    require(answer.parse().usage.completion_tokens, "no usage")


def _stream() -> None:
    usage: Any = {"include_usage": True}
    details = {"cc_details": True}
    chunks = list(
        client.chat.completions.create(**_options(GERMAN), stream=True, stream_options=usage, extra_body=details)
    )
    require(chunks[-1].usage, "no usage in the last event")
    require(chunks[-1].model_extra["cc_connection"]["prompts"], "no cc_details in the last event")


def _refused() -> None:
    try:
        client.chat.completions.create(**_options(GERMAN), extra_body={"cc_connection": UNKNOWN})
    except BadRequestError as error:
        require_refusal(error)
        require(error.param == "cc_connection", f"param is {error.param}")
    else:
        require(False, "no error")


run(lambda: _ask(ENGLISH, connected=False), lambda: _ask(GERMAN, connected=True), _stream, _refused)

"""Anthropic's client: fields of ours in ``extra_body``, headers by ``with_raw_response``; it adds ``/v1`` itself."""

from typing import Any

from anthropic import Anthropic, BadRequestError

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

client = Anthropic(base_url=ADDRESS, api_key="none", max_retries=0)


def _options(question: str) -> Any:
    return {"model": MODEL, "max_tokens": TOKENS, "messages": [{"role": "user", "content": question}]}


def _ask(question: str, *, connected: bool) -> None:
    answer = client.messages.with_raw_response.create(**_options(question))
    require_connection(answer.headers, connected=connected)
    require(answer.parse().usage.output_tokens, "no usage")
    require(answer.parse()._request_id, "no request id")


def _stream() -> None:
    with client.messages.stream(**_options(GERMAN)) as stream:
        require_connection(stream.response.headers, connected=True)
        require("message_stop" in [event.type for event in stream], "no end")
        require(stream.get_final_message().usage.output_tokens, "no usage")


def _refused() -> None:
    try:
        client.messages.create(**_options(GERMAN), extra_body={"cc_connection": UNKNOWN})
    except BadRequestError as error:
        require_refusal(error)
        body: Any = error.body
        require(body["error"]["type"] == "invalid_request_error", f"the body is {body}")
    else:
        require(False, "no error")


run(lambda: _ask(ENGLISH, connected=False), lambda: _ask(GERMAN, connected=True), _stream, _refused)

"""langchain-openai: fields of ours in ``extra_body``, headers with ``include_response_headers``, a stream's usage with
``stream_usage``."""

from typing import Any

from langchain_openai import ChatOpenAI
from openai import BadRequestError

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


def _model(**options: Any) -> Any:
    return ChatOpenAI(
        model=MODEL,
        base_url=f"{ADDRESS}/v1",
        api_key="none",
        max_completion_tokens=TOKENS,
        max_retries=0,
        include_response_headers=True,
        **options,
    )


def _ask(question: str, *, connected: bool) -> None:
    answer = _model().invoke(question)
    require_connection(answer.response_metadata["headers"], connected=connected)
    require(answer.usage_metadata["output_tokens"], "no usage")


def _stream() -> None:
    chunks = list(_model(stream_usage=True).stream(GERMAN))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    require_connection(whole.response_metadata["headers"], connected=True)
    require(whole.usage_metadata and whole.usage_metadata["output_tokens"], "no usage")


def _refused() -> None:
    try:
        _model(extra_body={"cc_connection": UNKNOWN}).invoke(GERMAN)
    except BadRequestError as error:
        require_refusal(error)
    else:
        require(False, "no error")


run(lambda: _ask(ENGLISH, connected=False), lambda: _ask(GERMAN, connected=True), _stream, _refused)

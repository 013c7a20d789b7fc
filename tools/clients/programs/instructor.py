"""instructor: its mode ``JSON_SCHEMA`` sends a schema that any model then follows; fields of ours in ``extra_body``."""

from typing import Any, Literal

import httpx2
import instructor
from instructor.core import InstructorRetryException
from openai import OpenAI
from pydantic import BaseModel

from tools.clients.steps import (
    ADDRESS,
    ENGLISH,
    GERMAN,
    MODEL,
    UNKNOWN,
    require,
    require_connection,
    require_refusal,
    run,
)


class City(BaseModel):
    """What is asked for."""

    name: Literal["Bonn", "Nairobi"]


headers: dict[str, str] = {}
http = httpx2.Client(event_hooks={"response": [lambda response: headers.update(response.headers)]}, timeout=60)
openai = OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", max_retries=0, http_client=http)
client = instructor.from_openai(openai, mode=instructor.Mode.JSON_SCHEMA)


def _options(question: str) -> Any:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "response_model": City, "max_tokens": 60, "max_retries": 0}


def _ask(question: str, *, connected: bool) -> None:
    city, answer = client.chat.completions.create_with_completion(**_options(question))
    require(city.name, "no city")
    require_connection(headers, connected=connected)
    require(answer.usage.completion_tokens, "no usage")


def _stream() -> None:
    cities = list(client.chat.completions.create_partial(**_options(GERMAN)))
    require_connection(headers, connected=True)
    require(len(cities) > 1 and cities[-1].name, f"{len(cities)} pieces")


def _refused() -> None:
    try:
        client.chat.completions.create(**_options(GERMAN), extra_body={"cc_connection": UNKNOWN})
    except InstructorRetryException as error:
        require_refusal(error)
    else:
        require(False, "no error")


run(lambda: _ask(ENGLISH, connected=False), lambda: _ask(GERMAN, connected=True), _stream, _refused)

"""The contract: what a stock vLLM server answers to its clients, this one answers as well.

The same requests go to both, over the same weights. An English prompt is answered plainly, so everything must be equal
but for ids and times; a German one is connected, so the answer differs and its shape must not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.support.server import MODEL, Server, started_stock

ENGLISH = "Where is the train station, please?"
GERMAN = "Wo ist der Bahnhof, bitte?"
# What differs from request to request, or names the server's build.
VOLATILE = frozenset(
    {"id", "created", "created_at", "completed_at", "system_fingerprint", "item_id", "request_id", "root"}
)
# In the messages of xgrammar.
TIME_OF_DAY = re.compile(r"\[\d\d:\d\d:\d\d\]")
# Where the fields of an object are tokens.
TOKENS = (".top_logprobs[]", ".prompt_logprobs[]")
REPORT = "kv_transfer_params"
OURS = frozenset({"x-cc-language", "x-cc-connection", "x-request-id"})

WEATHER = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Bonn", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "string", "enum": ["one", "two"]}},
    "required": ["n"],
    "additionalProperties": False,
}
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}

Case = Callable[[Server, str], Any]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("stock")
    with started_stock(directory / MODEL, directory / "server.log") as running:
        yield running


def chat(server: Server, text: str, **options: Any) -> Any:
    messages = options.pop("messages", [{"role": "user", "content": text}])
    return server.client.chat.completions.create(model=MODEL, messages=messages, **GREEDY | options)


def chat_stream(server: Server, text: str, **options: Any) -> list[Any]:
    return list(chat(server, text, stream=True, **options))


def complete(server: Server, text: str, **options: Any) -> Any:
    prompt = options.pop("prompt", text)
    return server.client.completions.create(model=MODEL, prompt=prompt, **GREEDY | options)


def respond(server: Server, text: str, **options: Any) -> Any:
    return server.client.responses.create(model=MODEL, input=text, temperature=0, max_output_tokens=12, **options)


def respond_stream(server: Server, text: str) -> list[Any]:
    return list(respond(server, text, stream=True))


def claude(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.address, api_key="none", max_retries=0)


def message(server: Server, text: str, **options: Any) -> Any:
    request: Any = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 12, **options}
    return claude(server).messages.create(**request, extra_body={"temperature": 0})


def message_stream(server: Server, text: str) -> list[Any]:
    return list(message(server, text, stream=True))


CASES: dict[str, Case] = {
    "chat": chat,
    "chat: several turns": lambda s, t: chat(
        s,
        t,
        messages=[
            {"role": "system", "content": "alpha"},
            {"role": "user", "content": "beta"},
            {"role": "assistant", "content": "gamma"},
            {"role": "user", "content": t},
        ],
    ),
    "chat: text parts": lambda s, t: chat(
        s, t, messages=[{"role": "user", "content": [{"type": "text", "text": t}, {"type": "text", "text": "beta"}]}]
    ),
    "chat: n": lambda s, t: chat(s, t, n=3, temperature=1, seed=7),
    "chat: seed": lambda s, t: chat(s, t, temperature=1, seed=7),
    "chat: stop": lambda s, t: chat(s, t, stop=["a", "e"], max_tokens=60),
    "chat: logprobs": lambda s, t: chat(s, t, logprobs=True, top_logprobs=3),
    "chat: penalties": lambda s, t: chat(s, t, frequency_penalty=0.5, presence_penalty=0.5),
    "chat: logit bias": lambda s, t: chat(s, t, logit_bias={"20": 100}),
    "chat: max_completion_tokens": lambda s, t: s.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": t}], max_completion_tokens=5, temperature=0
    ),
    "chat: ignored fields": lambda s, t: chat(s, t, user="u", metadata={"a": "b"}, store=False),
    "chat: JSON object": lambda s, t: chat(s, t, response_format={"type": "json_object"}, max_tokens=40),
    "chat: JSON schema": lambda s, t: chat(
        s, t, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}, max_tokens=60
    ),
    "chat: tools, none called": lambda s, t: chat(s, t, tools=TOOLS, tool_choice="none"),
    "chat: tools, automatic": lambda s, t: chat(s, t, tools=TOOLS),
    "chat: tools, required": lambda s, t: chat(s, t, tools=TOOLS, tool_choice="required", max_tokens=120),
    "chat: tools, named": lambda s, t: chat(
        s, t, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=60
    ),
    "chat: vLLM's own fields": lambda s, t: chat(
        s, t, extra_body={"return_token_ids": True, "top_k": 5, "ignore_eos": True, "prompt_logprobs": 1}
    ),
    "chat stream": chat_stream,
    "chat stream: usage": lambda s, t: chat_stream(s, t, stream_options={"include_usage": True}),
    "chat stream: usage in each chunk": lambda s, t: chat_stream(
        s, t, stream_options={"include_usage": True, "continuous_usage_stats": True}
    ),
    "chat stream: logprobs": lambda s, t: chat_stream(s, t, logprobs=True, top_logprobs=2),
    "chat stream: tools, named": lambda s, t: chat_stream(
        s, t, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}}, max_tokens=60
    ),
    "chat stream: JSON schema": lambda s, t: chat_stream(
        s, t, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}, max_tokens=60
    ),
    "completion": complete,
    "completion: n": lambda s, t: complete(s, t, n=2, temperature=1, seed=7),
    "completion: echo": lambda s, t: complete(s, t, echo=True, logprobs=2),
    "completion: logprobs": lambda s, t: complete(s, t, logprobs=3),
    "completion: stop": lambda s, t: complete(s, t, stop=["a"], max_tokens=60),
    "completion: several prompts": lambda s, t: complete(s, t, prompt=[t, t + " alpha"]),
    "completion: token ids": lambda s, t: complete(s, t, prompt=[1, 20, 21, 22]),
    "completion: suffix of one token": lambda s, t: complete(s, t, max_tokens=1),
    "completion: beam search": lambda s, t: complete(s, t, n=2, extra_body={"use_beam_search": True}),
    "completion stream": lambda s, t: list(complete(s, t, stream=True, stream_options={"include_usage": True})),
    "response": respond,
    "response: instructions": lambda s, t: respond(s, t, instructions="alpha"),
    "response: JSON schema": lambda s, t: s.client.responses.create(
        model=MODEL,
        input=t,
        temperature=0,
        max_output_tokens=60,
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    ),
    "response stream": respond_stream,
    "message": message,
    "message: system, stop": lambda s, t: message(s, t, system="alpha", stop_sequences=["e"], max_tokens=60),
    "message: tools": lambda s, t: message(
        s, t, tools=[{"name": "weather", "input_schema": WEATHER["parameters"]}], tool_choice={"type": "auto"}
    ),
    "message stream": message_stream,
    "message: count tokens": lambda s, t: claude(s).messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": t}]
    ),
    "models": lambda s, _t: s.client.models.list().data[0].model_dump(exclude={"cc_connection"}),
    "tokenize": lambda s, t: s.http.post("/tokenize", json={"model": MODEL, "prompt": t}).json(),
    "detokenize": lambda s, _t: s.http.post("/detokenize", json={"model": MODEL, "tokens": [20, 21]}).json(),
    "version": lambda s, _t: s.http.get("/version").json(),
    "invocations": lambda s, t: s.http.post(
        "/invocations", json={"model": MODEL, "messages": [{"role": "user", "content": t}], **GREEDY}
    ).json(),
}

REFUSED: dict[str, Case] = {
    "unknown model": lambda s, t: s.client.chat.completions.create(
        model="other", messages=[{"role": "user", "content": t}]
    ),
    "no such role": lambda s, t: chat(s, t, messages=[{"role": 5, "content": t}]),
    "temperature": lambda s, t: chat(s, t, temperature=-1),
    "top_p": lambda s, t: chat(s, t, top_p=2),
    "n of none": lambda s, t: chat(s, t, n=0),
    "n as text": lambda s, t: chat(s, t, n="many"),
    "max_tokens": lambda s, t: chat(s, t, max_tokens=-5),
    "too long a prompt": lambda s, t: complete(s, t, prompt="a" * 2000),
    "logprobs": lambda s, t: chat(s, t, logprobs=True, top_logprobs=999),
    "a stream's options without a stream": lambda s, t: chat(s, t, stream_options={"include_usage": True}),
    "a tool that is not there": lambda s, t: chat(
        s, t, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "x"}}
    ),
    "completion without a prompt": lambda s, t: s.client.completions.create(model=MODEL, prompt=""),
    "completion of unknown tokens": lambda s, t: complete(s, t, prompt=[99999]),
    "response of another": lambda s, t: s.client.responses.retrieve("resp_none"),
    "message of an unknown model": lambda s, t: message(s, t, model="other"),
    "message of no tokens": lambda s, t: message(s, t, max_tokens=0),
}


def dumped(answer: Any) -> Any:
    """An answer as plain JSON values; a stream's in a form that does not depend on how its tokens were grouped."""
    if isinstance(answer, list):
        return folded([dumped(item) for item in answer])
    return answer.model_dump(mode="json") if hasattr(answer, "model_dump") else answer


def without_report(answer: Any) -> Any:
    """An answer without the field in which connected ones say what the engine did, which plain ones leave empty."""
    if isinstance(answer, list):
        return [without_report(item) for item in answer]
    if isinstance(answer, dict):
        return {key: without_report(value) for key, value in answer.items() if key != REPORT}
    return without_report(answer.model_dump(mode="json")) if hasattr(answer, "model_dump") else answer


def folded(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The text of a stream, the forms that its chunks have, and the tokens that it counts in the end."""
    usages = [usage for chunk in chunks for usage in found(chunk, "usage") if usage]
    return {
        "text": "".join(text for chunk in chunks for text in found_text(chunk)),
        "forms": sorted({json.dumps(form(chunk)) for chunk in chunks}),
        "usage": usages[-1:],
    }


def found(value: Any, name: str) -> Iterator[Any]:
    """Every value of that name anywhere in ``value``."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == name:
            yield inner
        yield from found(inner, name)
    for inner in value if isinstance(value, list) else ():
        yield from found(inner, name)


def found_text(chunk: dict[str, Any]) -> Iterator[str]:
    """What a chunk adds to the text. The Responses and Messages APIs say it in certain events, and sum up in others."""
    added = chunk if "delta" in str(chunk.get("type", "delta")) else {}
    for name in ("content", "text", "delta", "arguments", "partial_json"):
        yield from (text for text in found(added, name) if isinstance(text, str))


def form(value: Any) -> Any:
    """The fields of ``value``, all the way down, without their values but for the kind of event."""
    if isinstance(value, dict):
        return {k: v if k in ("type", "object") else form(v) for k, v in value.items()}
    return form(value[:1][0]) if isinstance(value, list) and value else ""


def stable(value: Any) -> Any:
    """``value``, with types in place of what differs from request to request."""
    if isinstance(value, dict):
        return {k: type(v).__name__ if k in VOLATILE else stable(v) for k, v in value.items()}
    return [stable(item) for item in value] if isinstance(value, list) else value


def assert_same_shape(ours: Any, theirs: Any, where: str = "answer") -> None:
    """The same fields of the same types; a null goes with anything, and lists may differ in length."""
    if ours is None or theirs is None or where.endswith(TOKENS):
        return
    assert type(ours) is type(theirs), where
    if where.endswith(".forms"):
        assert ours == theirs
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_same_shape(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        for one, other in zip([*ours[:1], *ours[-1:]], [*theirs[:1], *theirs[-1:]], strict=False):
            assert_same_shape(one, other, f"{where}[]")


@pytest.mark.parametrize("case", CASES)
def test_plain_answers_are_the_same(server: Server, stock: Server, case: str) -> None:
    ours, theirs = (dumped(CASES[case](each, ENGLISH)) for each in (server, stock))
    assert stable(ours) == stable(theirs)


@pytest.mark.parametrize("case", CASES)
def test_connected_answers_have_the_same_shape(server: Server, stock: Server, case: str) -> None:
    ours, theirs = (CASES[case](each, GERMAN) for each in (server, stock))
    assert_same_shape(*(dumped(without_report(answer)) for answer in (ours, theirs)))


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_the_same(server: Server, stock: Server, case: str) -> None:
    def refusal(each: Server) -> tuple[int, str]:
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
            REFUSED[case](each, GERMAN)
        body: Any = caught.value.body
        # Ours have Anthropic's shape all the time, vLLM's only where its own handler refuses.
        told = body["error"]["message"] if isinstance(caught.value, anthropic.APIStatusError) else body
        return caught.value.status_code, TIME_OF_DAY.sub("", json.dumps(told))

    assert refusal(server) == refusal(stock)


def test_a_bad_schema_is_refused_in_vllms_words_and_named(server: Server, stock: Server) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "nonsense"}}}

    def message(each: Server) -> str:
        with pytest.raises(openai.BadRequestError) as caught:
            chat(each, GERMAN, response_format=form)
        body: Any = caught.value.body
        return TIME_OF_DAY.sub("", body["message"])

    named, _, words = message(server).partition(" cannot be followed: ")
    assert words.startswith(message(stock))
    assert "response_format" in named


@pytest.mark.parametrize("stream", [False, True])
def test_headers_are_the_same_but_for_those_that_are_added(server: Server, stock: Server, stream: bool) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": ENGLISH}], "stream": stream, **GREEDY}

    def names(each: Server) -> set[str]:
        return set(each.http.post("/v1/chat/completions", json=body).headers)

    assert names(server) - OURS == names(stock)
    assert names(server) >= OURS


def test_every_operation_of_vllms_is_there(server: Server, stock: Server) -> None:
    def operations(each: Server) -> dict[str, set[str]]:
        return {path: set(item) for path, item in each.http.get("/openapi.json").json()["paths"].items()}

    ours, theirs = operations(server), operations(stock)
    assert theirs.items() <= ours.items()


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"", b'{"model": 5}', b"[" * 10_000])
def test_malformed_bodies_are_refused_alike(server: Server, stock: Server, content: bytes) -> None:
    def refusal(each: Server) -> tuple[int, str]:
        response = httpx.post(
            f"{each.address}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
        )
        return response.status_code, response.json()

    ours, theirs = refusal(server), refusal(stock)
    assert ours[0] == theirs[0] == 400
    assert ours == theirs or "detail" in theirs[1]  # type: ignore[operator]

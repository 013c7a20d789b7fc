"""What OpenAI's and Anthropic's clients meet on the real server: errors, grammars, tool calls, odd requests."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.support.server import MODEL, Server

GERMAN = "Wo ist der Bahnhof, bitte?"
USER: Any = [{"role": "user", "content": GERMAN}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bonn", "Rome"]}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}]


@pytest.fixture(scope="module")
def claude(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.address, api_key="none", max_retries=0)


def chat(server: Server, **options: Any) -> Any:
    return server.client.chat.completions.create(model=MODEL, messages=USER, **{"max_tokens": 60, **options})


def call_a_tool(server: Server, choice: Any) -> None:
    (call,) = chat(server, tools=TOOLS, tool_choice=choice, max_tokens=120, temperature=0).choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["city"] in ("Bonn", "Rome")


def refused(server: Server, **options: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(server, **options)
    return caught.value


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_no_request_spoils_the_tools_of_others(server: Server, choice: Any) -> None:
    """Before and after: the engine has one grammar backend, which the first request must not choose."""
    for _ in range(2):
        outside = refused(server, extra_body={"structured_outputs": {"regex": r"\p{Arabic}+"}})
        assert "Unicode character class" in outside.message
        call_a_tool(server, choice)


@pytest.mark.parametrize(
    "options",
    [
        {"extra_body": {"structured_outputs": {"regex": r"[\p{Arabic}]+"}}},
        {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {
            "type": "object", "properties": {"a": {"type": "string", "pattern": r"[\p{L}]"}}}}}],
         "tool_choice": "required"},
    ],
    ids=["regex", "tool"],
)  # fmt: skip
def test_what_xgrammar_misreads_is_refused(server: Server, options: dict[str, Any]) -> None:
    error = refused(server, **options)
    assert r"\p in a character class" in error.message
    assert error.param == "structured_outputs"


@pytest.mark.parametrize(
    "schema", [{"type": "array", "items": {}, "uniqueItems": True}, {"type": "integer", "multipleOf": 3}]
)
def test_what_xgrammar_cannot_express_is_refused(server: Server, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert "not supported by xgrammar" in refused(server, response_format=form).message


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_errors_have_its_shape(claude: anthropic.Anthropic, stream: bool) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(
            model=MODEL, messages=USER, max_tokens=4, stream=stream, extra_body={"cc_connection": "xx"}
        )
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert "unknown cc_connection 'xx'" in body["error"]["message"]
    assert caught.value.request_id == body["request_id"] == caught.value.response.headers["X-Request-Id"]


def test_what_vllm_refuses_has_anthropics_names(claude: anthropic.Anthropic) -> None:
    options: Any = {"messages": USER, "max_tokens": 4}
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(**options, model="another")
    with pytest.raises(anthropic.BadRequestError) as wrong:
        claude.messages.create(**options, model=MODEL, extra_body={"temperature": 9})
    for error, kind in ((missing.value, "not_found_error"), (wrong.value, "invalid_request_error")):
        body: Any = error.body
        assert body["error"]["type"] == kind
        assert body["request_id"] == error.request_id


def test_an_answer_has_the_id_that_anthropics_client_reads(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(model=MODEL, messages=USER, max_tokens=4)
    assert message._request_id


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_that_is_cut_short_is_an_answer(claude: anthropic.Anthropic, stream: bool) -> None:
    tools: Any = [{"name": "weather", "input_schema": WEATHER}]
    for choice in ({"type": "any"}, {"type": "tool", "name": "weather"}):
        options: Any = {"tools": tools, "tool_choice": choice, "max_tokens": 3}
        if stream:
            with claude.messages.stream(model=MODEL, messages=USER, **options) as events:
                list(events)
                stop = events.current_message_snapshot.stop_reason
        else:
            stop = claude.messages.create(model=MODEL, messages=USER, **options).stop_reason
        assert stop == "max_tokens"


PATHS = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/responses": "input",
    "/v1/messages": "messages",
}


def sent(server: Server, path: str, **fields: Any) -> tuple[int, Any]:
    body = {"model": MODEL, "max_tokens": 1, "messages": USER, "prompt": GERMAN, "input": GERMAN}
    kept = {name: value for name, value in body.items() if name in (PATHS[path], "model", "max_tokens")}
    response = server.http.post(
        path, content=json.dumps({**kept, **fields}), headers={"Content-Type": "application/json"}
    )
    return response.status_code, response.json()


@pytest.mark.parametrize("path", PATHS)
def test_a_null_is_absent_or_named(server: Server, path: str) -> None:
    status, answer = sent(server, path, cc_details=None, cc_connection=None)
    assert status == 200, answer
    status, answer = sent(server, path, **{PATHS[path]: None})
    assert status == 400
    assert PATHS[path] in answer["error"]["message"] + str(answer["error"].get("param"))


NOTHING: Any = [None]
ODD: dict[str, Any] = {
    "tools": [NOTHING, 1, {}, "a"],
    "stream_options": [NOTHING, 1],
    "structured_outputs": [NOTHING, 1],
    "vllm_xargs": [NOTHING, 1],
    "top_k": [1 << 64, -(1 << 70)],
    "cc_details": [NOTHING, 1],
    "cc_connection": [NOTHING, 1, {}],
}
# Of the Messages API's fields, it ignores what it does not know.
IGNORED = {"/v1/messages": ("stream_options", "structured_outputs", "vllm_xargs"), "/v1/responses": ("stream_options",)}


@pytest.mark.parametrize("path", PATHS)
def test_what_is_odd_within_a_field_is_named(server: Server, path: str) -> None:
    turns = [{"role": "user", "content": NOTHING}]
    own = {"messages": [NOTHING, 1, {}, turns], "input": [NOTHING, 1, {}, turns], "prompt": [NOTHING, [NOTHING], {}]}
    for field, values in {**ODD, PATHS[path]: own[PATHS[path]]}.items():
        for value in () if field in IGNORED.get(path, ()) else values:
            status, answer = sent(server, path, **{field: value})
            assert status == 400, (field, value, answer)
            assert field in answer["error"]["message"] + str(answer["error"].get("param")), (field, value, answer)


def test_tokenizing_and_rendering_name_what_is_odd(server: Server) -> None:
    for path, fields, place in (
        ("/tokenize", {"prompt": "a \ud83d"}, "prompt"),
        ("/tokenize", {"messages": NOTHING}, "messages.0"),
        ("/detokenize", {"tokens": [1 << 70]}, "tokens.0"),
        ("/v1/chat/completions/render", {"messages": USER, "structured_outputs": NOTHING}, "structured_outputs"),
        ("/v1/completions/render", {"prompt": "a \ud83d"}, "prompt"),
        ("/v1/messages/count_tokens", {"messages": USER, "system": "\ud83d"}, "system"),
    ):
        content = json.dumps({"model": MODEL, **fields})
        response = server.http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 400, path
        assert response.json()["error"]["message"].startswith(f"'{place}' "), response.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("field", ["stop", "vllm_xargs.a", "user", "its own"])
def test_half_a_character_is_named(server: Server, path: str, field: str) -> None:
    name = PATHS[path] if field == "its own" else field
    value: Any = [{"role": "user", "content": "a \ud83d"}] if name == "messages" else "a \ud83d"
    outer, _, inner = name.partition(".")
    status, answer = sent(server, path, **{outer: {inner: value} if inner else value})
    assert status == 400
    assert answer["error"]["message"].startswith(f"'{name}")


def test_rendering_needs_no_flag_and_tokens_are_refused_for_their_reason(server: Server) -> None:
    rendered = server.http.post("/v1/chat/completions/render", json={"model": MODEL, "messages": USER})
    assert rendered.status_code == 200, rendered.text
    answer = chat(server, max_tokens=1, extra_body={"return_token_ids": True})
    assert rendered.json()["token_ids"] == answer.prompt_token_ids
    tokens = server.http.post("/tokenize", json={"model": MODEL, "prompt": "alpha beta"}).json()["tokens"]
    generated = {"request_id": "a", "choices": [{"index": 0, "token_ids": tokens, "finish_reason": "stop"}]}
    asked = {"model": MODEL, "messages": USER}
    back = {"model": MODEL, "generate_response": generated, "chat_request": asked}
    derendered = server.http.post("/v1/chat/completions/derender", json=back)
    assert derendered.json()["choices"][0]["message"]["content"] == "alpha beta"
    refusal = server.http.post("/inference/v1/generate", json={"model": MODEL, "token_ids": [1]})
    assert refusal.status_code == 403
    assert "token ids have no language" in refusal.json()["error"]["message"]


def test_an_echo_moves_nothing(server: Server) -> None:
    def complete(**options: Any) -> Any:
        return server.client.completions.with_raw_response.create(
            model=MODEL, prompt=GERMAN, max_tokens=8, temperature=0, **options
        )

    plain, echoed = complete(), complete(echo=True)
    assert plain.headers["X-CC-Connection"] == echoed.headers["X-CC-Connection"] == "de"
    assert echoed.parse().choices[0].text == GERMAN + plain.parse().choices[0].text


def test_an_answer_that_is_continued_is_plain_unless_asked(server: Server) -> None:
    turns: Any = [*USER, {"role": "assistant", "content": "Der Bahnhof ist"}]
    more = {"add_generation_prompt": False, "continue_final_message": True}
    for named, expected in (({}, "off"), ({"cc_connection": "de"}, "de")):
        response = server.client.chat.completions.with_raw_response.create(
            model=MODEL, messages=turns, max_tokens=4, extra_body={**more, **named}
        )
        assert response.headers["X-CC-Connection"] == expected

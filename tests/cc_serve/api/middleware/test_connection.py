"""The connection middleware over a real application: what reaches the endpoint, what comes back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.types import Message, Receive, Scope, Send

from cc_serve.api.errors import RefusedError
from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.api.middleware.connection import ConnectionMiddleware
from cc_serve.config.settings import LiveSettings
from cc_serve.paths import CONNECTED_PATHS, PLAIN_PATHS
from cc_serve.routing.router import Router, UnknownConnectionError
from tests.support.connecting import connect_body
from tests.support.echo import PIECES, client_of, echo_app

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
FRENCH = "Où se trouve la gare la plus proche ?"
ENGLISH = "Where is the nearest train station, please?"

router = Router(["global", "de"], ["de", "fr"])
settings = LiveSettings(None, router, {})
app = echo_app(Middleware(KeyMiddleware, settings=settings), Middleware(ConnectionMiddleware))


def post(path: str, content: bytes | dict[str, Any], **options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        async with client_of(app) as client:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            return await client.post(path, content=body, **options)

    return asyncio.run(send())


def received(response: httpx.Response) -> dict[str, Any]:
    """The body that reached the endpoint; its declared length is right."""
    echo = response.json()
    assert int(echo["length"]) == len(echo["body"])
    return json.loads(echo["body"].encode("latin-1"))


def headers_of(response: httpx.Response) -> tuple[str | None, str | None]:
    return response.headers.get("X-CC-Language"), response.headers.get("X-CC-Connection")


def test_the_connection_takes_the_place_of_the_field() -> None:
    response = post("/v1/completions", {"prompt": GERMAN, "cc_connection": "auto", "vllm_xargs": {"a": 1}})
    assert received(response) == {"prompt": GERMAN, "vllm_xargs": {"a": 1, "cc_connection": "de"}}
    assert headers_of(response) == ("de", "de")


@pytest.mark.parametrize(
    ("body", "headers", "arguments"),
    [
        ({"prompt": FRENCH}, ("fr", "global"), {"cc_connection": "global"}),
        ({"prompt": ENGLISH}, ("en", "off"), None),
        ({"prompt": "123"}, ("und", "off"), None),
        ({"prompt": [1, 2, 3]}, ("und", "off"), None),
        ({"prompt": [GERMAN, "What is the capital of Kenya?"]}, ("und", "off"), None),
        ({"prompt": GERMAN, "cc_connection": "off"}, ("de", "off"), None),
        ({"prompt": GERMAN, "cc_connection": "global"}, ("de", "global"), {"cc_connection": "global"}),
        ({"prompt": ENGLISH, "cc_connection": "fr"}, ("fr", "global"), {"cc_connection": "global"}),
        ({"prompt": GERMAN, "cc_connection": None}, ("de", "de"), {"cc_connection": "de"}),
        ({"prompt": GERMAN, "vllm_xargs": None}, ("de", "de"), {"cc_connection": "de"}),
        ({"prompt": GERMAN, "use_beam_search": True}, ("de", "off"), None),
        ({"prompt": GERMAN, "use_beam_search": False}, ("de", "de"), {"cc_connection": "de"}),
    ],
)
def test_routes(body: dict[str, Any], headers: tuple[str, str], arguments: dict[str, str] | None) -> None:
    response = post("/v1/completions", body)
    assert headers_of(response) == headers
    request = received(response)
    assert request.get("vllm_xargs") == arguments
    assert "cc_connection" not in request


@pytest.mark.parametrize("path", sorted(CONNECTED_PATHS - {"/v1/chat/completions"}))
def test_every_connected_path_is_routed(path: str) -> None:
    assert headers_of(post(path, {"messages": [{"role": "user", "content": GERMAN}]})) == ("de", "de")


@pytest.mark.parametrize("path", sorted(PLAIN_PATHS))
def test_endpoints_that_cannot_be_connected_say_so(path: str) -> None:
    body = {"messages": [{"role": "user", "content": GERMAN}]}
    plain = post(path, body)
    assert headers_of(plain) == ("de", "off")
    assert received(plain) == body
    refused = post(path, {**body, "cc_connection": "de"})
    assert refused.status_code == 400
    assert f"{path} cannot have a connection" in refused.json()["error"]["message"]


@pytest.mark.parametrize("value", [True, 1, "true", "on"])
def test_an_answer_that_outlives_its_request_is_refused(value: object) -> None:
    refused = post("/v1/responses", {"input": GERMAN, "background": value})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")
    assert "in no limit and in no usage; leave it out" in refused.json()["error"]["message"]


@pytest.mark.parametrize("value", [None, False, 0, "off", "perhaps", [True]])
def test_what_asks_for_no_background_is_the_endpoints(value: object) -> None:
    assert received(post("/v1/responses", {"input": ENGLISH, "background": value}))["background"] == value
    assert post("/v1/completions", {"prompt": ENGLISH, "background": True}).status_code == 200


CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": GERMAN}]}


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        ({**CHAT, "continue_final_message": True}, True),
        ({**CHAT, "add_generation_prompt": False}, True),
        ({**CHAT, "chat_template_kwargs": {"enable_thinking": False}}, True),
        ({"input": [*CHAT["messages"], {"role": "assistant", "content": "", "status": "in_progress"}]}, True),
        ({**CHAT, "continue_final_message": False, "add_generation_prompt": True, "chat_template_kwargs": {}}, False),
        ({**CHAT, "chat_template_kwargs": None, "echo": True}, False),
        ({"input": [*CHAT["messages"], {"role": "assistant", "content": "", "status": "completed"}]}, False),
        ({"prompt": GERMAN, "echo": True, "chat_template_kwargs": {"a": 1}}, False),
    ],
)
def test_an_anchor_that_training_never_saw_is_connected_only_on_request(body: dict[str, Any], moved: bool) -> None:
    assert headers_of(post("/v1/responses", body))[1] == ("off" if moved else "de")
    assert headers_of(post("/v1/responses", {**body, "cc_connection": "global"}))[1] == "global"


def test_a_streamed_response_passes_with_the_headers() -> None:
    response = post("/v1/chat/completions", {"stream": True, "messages": [{"role": "user", "content": GERMAN}]})
    assert headers_of(response) == ("de", "de")
    assert response.text == "".join(f"data: {number}\n\n" for number in range(PIECES))


def test_a_body_that_needs_no_change_arrives_byte_by_byte() -> None:
    body = b'{"prompt" :  "\\u0031", "a": 1e400, "a": NaN}'
    assert post("/v1/completions", body).json()["body"] == body.decode()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"1", b"\xff\xfe", b"[" * 100_000, b"9" * 10_000])
def test_what_is_no_json_object_passes_untouched(body: bytes) -> None:
    response = post("/v1/completions", body)
    assert response.json()["body"] == body.decode("latin-1")
    assert headers_of(response) == (None, None)


@pytest.mark.parametrize("arguments", [7, "a", ["cc_connection"]])
def test_odd_engine_arguments_are_left_to_the_endpoint(arguments: object) -> None:
    assert received(post("/v1/completions", {"prompt": GERMAN, "vllm_xargs": arguments}))["vllm_xargs"] == arguments


@pytest.mark.parametrize("path", ["/v1/embeddings", "/tokenize", "/v1/completions/render"])
def test_other_paths_pass_untouched(path: str) -> None:
    response = post(path, {"prompt": GERMAN, "cc_connection": "auto"})
    assert received(response) == {"prompt": GERMAN, "cc_connection": "auto"}
    assert headers_of(response) == (None, None)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (
            {"cc_connection": "xx"},
            "cc_connection",
            "unknown cc_connection 'xx'; this checkpoint has: auto, off, global, de",
        ),
        ({"cc_connection": 5}, "cc_connection", "unknown cc_connection 5; this checkpoint has: auto"),
        ({"cc_connection": "\ud800"}, "cc_connection", "half of a surrogate pair"),
        ({"vllm_xargs": {"cc_connection": "de"}}, "vllm_xargs", "'cc_connection' belongs at the top level"),
        ({"vllm_xargs": {"cc_strength": 1}}, "vllm_xargs", "'cc_strength' belongs at the top level"),
        ({"cc_strength": 3}, "cc_strength", "cc_strength is 3; this server takes numbers from 0 to 2"),
        ({"cc_connection": "de", "use_beam_search": True}, "cc_connection", "beam search"),
        ({"vllm_xargs": {"kv_transfer_params": "x"}}, "vllm_xargs", "'kv_transfer_params' cannot be set"),
        ({"structured_outputs": []}, "structured_outputs", "'structured_outputs' must be an object"),
        ({"messages": 5}, "messages", "'messages' must be a list"),
        ({"messages": [{"role": "user", "content": "a"}, []]}, "messages", "'messages.1' must be an object"),
    ],
)
def test_refusals_have_openais_shape(body: dict[str, Any], param: str, words: str) -> None:
    response = post("/v1/completions", body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("BadRequestError", param, 400)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("root", "path"),
    [("/models/cc", "/models/cc/v1/completions"), ("/", "/v1/completions"), ("/v", "/v1/completions")],
)
def test_a_root_path_is_taken_off_as_starlette_does(root: str, path: str) -> None:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post(path, json={"prompt": GERMAN})

    assert headers_of(asyncio.run(send())) == ("de", "de")


def test_a_body_in_pieces_is_read_whole_and_the_clients_leaving_is_passed_on() -> None:
    body = json.dumps({"prompt": GERMAN}).encode()
    messages: list[Message] = [
        {"type": "http.request", "body": body[:10], "more_body": True},
        {"type": "http.request", "body": body[10:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    seen: list[Message] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])

    run(endpoint, messages)
    assert json.loads(seen[0]["body"])["vllm_xargs"] == {"cc_connection": "de"}
    assert seen[1] == {"type": "http.disconnect"}


def test_a_client_that_leaves_while_sending_reaches_no_endpoint() -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        pytest.fail("nobody is there to be answered")

    run(endpoint, [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])


def run(endpoint: Any, messages: list[Message]) -> None:
    """Send ``messages`` to the middleware over ``endpoint``."""
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
    asyncio.run(KeyMiddleware(ConnectionMiddleware(endpoint), settings)(scope, receive, send))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["role", "content", "text"]), inner),
    max_leaves=20,
)
fields = st.sampled_from(["messages", "prompt", "input", "cc_connection", "vllm_xargs", "use_beam_search", "stream"])


@given(json_values | st.dictionaries(fields, json_values | st.just({"cc_connection": "de"})))
def test_any_json_is_routed_or_refused(value: object) -> None:
    try:
        body, connected = connect_body(json.dumps(value).encode(), router, "/v1/completions")
    except (RefusedError, UnknownConnectionError):
        return
    if connected is not None:
        request = json.loads(body)
        assert "cc_connection" not in request
        arguments = request.get("vllm_xargs")
        if isinstance(arguments, dict):
            assert arguments.get("cc_connection", "off") == connected.route.connection


@given(st.binary())
def test_any_bytes_are_routed_or_passed(body: bytes) -> None:
    assert connect_body(body, router, "/v1/completions")[0] == body

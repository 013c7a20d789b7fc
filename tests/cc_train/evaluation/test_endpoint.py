"""The client against a real HTTP server that misbehaves as it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cc_train.evaluation.answer_file import Answer
from cc_train.evaluation.endpoint import Endpoint, EndpointError
from cc_train.evaluation.items import EvaluationRow
from tests.support.ports import free_port

KEY = "cc-secret"
ROOT = "checkpoints/tiny"


def error(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status, headers)


def completion(text: str | None) -> JSONResponse:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice], "usage": usage}
    return JSONResponse(body, headers={"X-CC-Connection": "global"})


@dataclass
class Server:
    """What it answers to the prompt, and to the how manieth time it is asked it, is for a test to say."""

    url: str = ""
    reply: Callable[[str, int], Response] = lambda prompt, times: completion(prompt.upper())
    delay: float = 0.0
    #: No answer comes before so many requests have run at the same time.
    together: int = 1
    bodies: list[dict] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def models(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return error(401, "wrong key")
        card = {"id": "tiny", "object": "model", "created": 0, "owned_by": "test", "root": ROOT}
        card["cc_connection"] = {"sha256": "0f"}
        return JSONResponse(
            {"object": "list", "data": [card, {**card, "id": "other", "root": None, "cc_connection": None}]}
        )

    async def chat(self, request: Request) -> Response:
        self.running += 1
        self.most = max(self.most, self.running)
        body = await request.json()
        self.bodies.append(body)
        self.times.append(time.monotonic())
        async with asyncio.timeout(60):
            while self.most < self.together:
                await asyncio.sleep(0.01)
        await asyncio.sleep(self.delay)
        prompt = body["messages"][0]["content"]
        self.running -= 1
        return self.reply(prompt, sum(b["messages"][0]["content"] == prompt for b in self.bodies))


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()
    routes = [Route("/v1/models", told.models), Route("/v1/chat/completions", told.chat, methods=["POST"])]
    port = free_port()
    http = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=port, log_level="error"))
    thread = threading.Thread(target=http.run)
    thread.start()
    while not http.started:
        assert thread.is_alive()
        time.sleep(0.01)
    told.url = f"http://127.0.0.1:{port}"
    yield told
    http.should_exit = True
    thread.join()


def rows(count: int) -> list[EvaluationRow]:
    return [EvaluationRow(f"mkqa/de/{n}", "mkqa", "de", f"wer {n}?", "", ("Ray",)) for n in range(count)]


def ask(endpoint: Endpoint, count: int) -> tuple[dict[str, Answer], dict[str, str]]:
    answered: dict[str, Answer] = {}
    refused: dict[str, str] = {}
    endpoint.answer(rows(count), lambda a: answered.update({a.key: a}), lambda row, why: refused.update({row.key: why}))
    return answered, refused


def at(server: Server, **settings: object) -> Endpoint:
    return replace(Endpoint(server.url, "tiny", KEY), **settings)  # type: ignore[arg-type]


def test_answers_and_what_is_asked(server: Server) -> None:
    answered, refused = ask(at(server), 2)
    assert not refused
    row = rows(2)[1]
    assert answered[row.key] == Answer(row.key, row.digest, "WER 1?", "stop", 7, 3, "global")
    assert {frozenset(body) for body in server.bodies} == {
        frozenset({"model", "messages", "max_tokens", "temperature"})
    }, "an endpoint without the field is asked nothing unknown"
    assert server.bodies[0]["max_tokens"] == 40
    assert server.bodies[0]["temperature"] == 0
    ask(at(server, connection="off"), 1)
    assert server.bodies[-1]["cc_connection"] == "off"


def test_as_many_requests_are_in_flight_as_allowed(server: Server) -> None:
    server.delay, server.together = 0.1, 5
    answered, _ = ask(at(server, concurrency=5), 20)
    assert len(answered) == len(server.bodies) == 20, "each row is asked once"
    assert server.most == 5


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(server: Server, status: int) -> None:
    busy = error(status, "busy", **{"Retry-After": "1"})
    server.reply = lambda prompt, times: busy if times == 1 else completion(None)
    answered, _ = ask(at(server), 1)
    assert answered["mkqa/de/0"].text == "", "an empty answer is one"
    assert server.times[1] - server.times[0] >= 1


def test_a_refused_row_is_told_and_the_others_go_on(server: Server) -> None:
    too_long = error(400, "maximum context length is 512 tokens")
    server.reply = lambda prompt, times: too_long if prompt == "wer 1?" else completion("x")
    answered, refused = ask(at(server), 3)
    assert set(answered) == {"mkqa/de/0", "mkqa/de/2"}
    assert refused == {"mkqa/de/1": "status 400: maximum context length is 512 tokens"}


def test_a_server_that_refuses_everything_is_left(server: Server) -> None:
    server.reply = lambda prompt, times: error(400, "unknown cc_connection 'xx'")
    with pytest.raises(EndpointError, match="refuses every request: status 400: unknown cc_connection 'xx'"):
        ask(at(server, connection="xx"), 200)
    assert len(server.bodies) < 100


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "refuses the API key"),
        (403, "refuses the API key"),
        (404, "not found"),
        (503, "status 503: gone"),
        (504, "status 504: gone"),
    ],
)
def test_a_server_that_is_lost_ends_the_run_and_keeps_what_came(server: Server, status: int, message: str) -> None:
    server.reply = lambda prompt, times: completion("x") if prompt < "wer 4?" else error(status, "gone")
    answered: dict[str, Answer] = {}
    with pytest.raises(EndpointError, match=message):
        at(server, concurrency=1, retries=0).answer(
            rows(9), lambda a: answered.update({a.key: a}), lambda row, why: pytest.fail(why)
        )
    assert len(answered) == 4


def test_a_slow_server(server: Server) -> None:
    server.together = 2  # and there is one
    with pytest.raises(EndpointError, match="does not answer in time; raise --timeout"):
        ask(at(server, timeout=0.05, retries=0), 1)
    server.together = 1


def test_a_connection_that_nobody_applies_is_refused(server: Server) -> None:
    server.reply = lambda prompt, times: JSONResponse(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": []}
    )
    with pytest.raises(EndpointError, match=r"does not say what it connected \(no X-CC-Connection header\)"):
        ask(at(server, connection="global"), 1)


def test_the_system_is_the_model_and_not_the_address(server: Server) -> None:
    asked = {"backend": "endpoint", "model": "tiny", "connection": "auto", "max_tokens": 40}
    expected = {**asked, "checkpoint": ROOT, "connection_sha256": "0f"}
    assert at(server).system() == expected
    assert at(server, url=f"{server.url}/v1/", concurrency=1).system() == expected
    nothing_known = {"checkpoint": None, "connection_sha256": None}
    assert at(server, model="other").system() == {**asked, "model": "other", **nothing_known}


def test_a_wrong_start_is_told_before_anything_is_asked(server: Server) -> None:
    with pytest.raises(EndpointError, match="serves no model 'big'; it serves: tiny, other"):
        at(server, model="big").system()
    with pytest.raises(EndpointError, match=r"refuses the API key \(status 401: wrong key\); set OPENAI_API_KEY"):
        at(server, key="none").system()
    with pytest.raises(EndpointError, match=r"not found .* the address usually ends in /v1"):
        at(server, url=f"{server.url}/v2").system()
    with pytest.raises(EndpointError, match=r"cannot be reached \(.*\); is the server running\?"):
        at(server, url=f"http://127.0.0.1:{free_port()}").system()
    with pytest.raises(EndpointError, match="not an address such as"):
        at(server, url="localhost:8000").system()

"""Details of the connection: in the answer of whoever asks, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from starlette.types import Message

from cc_serve.api.middleware.details import with_details
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.routing.router import Route
from cc_train.model.reference import Reference
from tests.support.server import MODEL, Server

GERMAN = "Wer hat das Buch Faust geschrieben?"
ENGLISH = "Who wrote the book Faust?"


def through(*messages: Message) -> list[Message]:
    """What a client gets of ``messages``."""
    record = RequestRecord("r", "/v1/completions", route=Route("de", 1.0, "de"))
    record.connections.append({"name": "de", "layer": 3, "captures": 1})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        detailing = with_details(send, record)
        for message in messages:
            await detailing(message)

    asyncio.run(run())
    return sent


def start(kind: str, status: int = 200) -> Message:
    headers = [(b"content-type", kind.encode()), (b"content-length", b"2")]
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(content: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def test_an_answer_in_pieces() -> None:
    head, answer = through(start("application/json"), body(b"{", more=True), body(b"}"))
    assert json.loads(answer["body"])["cc_connection"] == {
        "language": "de",
        "connection": "de",
        "prompts": [{"name": "de", "layer": 3, "captures": 1}],
    }
    assert dict(head["headers"])[b"content-length"] == str(len(answer["body"])).encode()


@pytest.mark.parametrize(
    "messages", [(start("application/json", 400), body(b"{}")), (start("text/plain"), body(b"{}"))]
)
def test_other_answers_pass_untouched(messages: tuple[Message, ...]) -> None:
    assert through(*messages) == list(messages)


def test_a_stream_gets_an_event_before_its_last() -> None:
    text = "a stream ends with data: [DONE] on a line"
    event = {"id": "x", "object": "o", "created": 1, "model": "m", "choices": [{"text": text}]}
    chunks = [b"data: %s\n\n" % json.dumps(event).encode(), b"data: [DONE]\n\n"]
    for pieces in (chunks, [b"".join(chunks)]):
        sent = through(start("text/event-stream"), *(body(piece, more=True) for piece in pieces), body(b""))
        events = b"".join(message["body"] for message in sent[1:]).decode().strip().split("\n\n")
        assert events[0] == chunks[0].decode().strip()
        added = json.loads(events[1].removeprefix("data: "))
        assert added["choices"] == []
        assert (added["id"], added["cc_connection"]["prompts"][0]["layer"]) == ("x", 3)
        assert events[2] == "data: [DONE]"


def test_the_usage_is_in_the_last_event_that_clients_get() -> None:
    common = {"id": "x", "object": "o", "created": 1, "model": "m"}
    events = [
        # Counted in each chunk, or only at the end; and text that looks like an event.
        {**common, "choices": [{"text": '{"choices":[],"usage":{}}'}], "usage": {"total_tokens": 3}},
        {**common, "choices": [], "usage": {"total_tokens": 4}},
    ]
    chunks = [b"data: %s\n\n" % json.dumps(event, separators=(",", ":")).encode() for event in events]
    for pieces in ([*chunks, b"data: [DONE]\n\n"], [b"".join([*chunks, b"data: [DONE]\n\n"])]):
        sent = through(start("text/event-stream"), *(body(piece, more=True) for piece in pieces), body(b""))
        first, last, done = b"".join(message["body"] for message in sent[1:]).decode().strip().split("\n\n")
        assert first == chunks[0].decode().strip()
        told = json.loads(last.removeprefix("data: "))
        assert told.pop("cc_connection")["connection"] == "de"
        assert told == events[1]
        assert done == "data: [DONE]"


@pytest.fixture(scope="module")
def reference(server: Server) -> Reference:
    return Reference.from_checkpoint(server.checkpoint)


def ask(server: Server, text: str, **extra: Any) -> httpx.Response:
    options = {"model": MODEL, "max_tokens": 4, "temperature": 0, "messages": [{"role": "user", "content": text}]}
    return server.http.post("/v1/chat/completions", json=options | extra)


def test_the_layer_is_the_references(server: Server, reference: Reference) -> None:
    answer = ask(server, GERMAN, cc_details=True, return_token_ids=True).json()
    layer = reference.generate(answer["prompt_token_ids"], "de", 1).layer
    assert answer["cc_connection"] == {
        "language": "de",
        "connection": "de",
        "prompts": [{"name": "de", "layer": layer, "captures": 1}],
    }
    metrics = server.http.get("/metrics").text
    assert f'cc:connection_layer_total{{connection="de",language="de",layer="{layer}"}}' in metrics
    assert "cc:connection_captures_total" in metrics


def test_a_stream_for_the_openai_client(server: Server) -> None:
    stream = server.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": GERMAN}],
        max_tokens=4,
        stream=True,
        extra_body={"cc_details": True},
    )
    *_, last = stream
    assert isinstance(last, openai.types.chat.ChatCompletionChunk)
    assert last.model_extra is not None
    assert last.model_extra["cc_connection"]["connection"] == "de"


@pytest.mark.parametrize("continuous", [False, True])
def test_the_openai_clients_stream_knows_usage_and_details(server: Server, continuous: bool) -> None:
    with server.client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": GERMAN}],
        max_tokens=60,
        stream_options={"include_usage": True, "continuous_usage_stats": continuous},
        extra_body={"cc_details": True, "structured_outputs": {"choice": ["ja"]}},  # the helper refuses cut answers
    ) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        completion = stream.get_final_completion()
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["cc_connection"]["prompts"]


def test_a_plain_answer_has_no_layer(server: Server) -> None:
    assert ask(server, ENGLISH, cc_details=True).json()["cc_connection"] == {
        "language": "en",
        "connection": "off",
        "prompts": [],
    }


def test_nobody_else_gets_them(server: Server) -> None:
    answer = ask(server, GERMAN).json()
    assert "cc_connection" not in answer
    assert answer["kv_transfer_params"] is None


def test_refusals(server: Server) -> None:
    wrong = ask(server, GERMAN, cc_details="yes")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "cc_details")
    elsewhere = server.http.post("/v1/responses", json={"model": MODEL, "input": GERMAN, "cc_details": True})
    assert elsewhere.status_code == 400
    assert "/v1/chat/completions" in elsewhere.json()["error"]["message"]

"""Stopping: running responses finish, new requests are sent away, and the engine stops last."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from starlette.middleware import Middleware
from starlette.types import Message, Receive, Scope, Send
from vllm.v1.engine.exceptions import EngineDeadError

from cc_serve.api.drain import Drain
from cc_serve.api.middleware.drain import DrainMiddleware
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.stall import PatientSend, StalledClientError
from tests.support.connecting import connections
from tests.support.echo import client_of, echo_app


class Engine:
    """Records how it is shut down."""

    model = "tiny"

    def __init__(self, output_handler: asyncio.Task[None] | None = None) -> None:
        self.timeouts: list[float | None] = []
        self.output_handler = output_handler
        self.output_processor = self
        self.propagated: list[Exception] = []

    def shutdown(self, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)

    def propagate_error(self, error: Exception) -> None:
        self.propagated.append(error)


def test_stopping_waits_for_the_running_requests() -> None:
    drain = Drain()
    assert drain.enter()
    assert drain.enter()
    assert not drain.stop(timeout=0.01)
    assert drain.stopping
    assert not drain.enter(), "nobody new is let in"
    for delay in (0.05, 0.1):
        threading.Timer(delay, drain.leave).start()
    assert drain.stop(timeout=30)


def test_an_idle_server_stops_at_once() -> None:
    assert Drain().stop(timeout=0)


def test_the_engine_stops_last_with_the_time_that_is_left() -> None:
    drain, engine = Drain(), Engine()
    drain.enter()
    threading.Timer(0.2, drain.leave).start()
    ServedEngine(engine, connections(), drain).shutdown(timeout=30)
    (left,) = engine.timeouts
    assert left is not None
    assert 5 < left < 30


def test_a_response_that_does_not_end_is_given_up() -> None:
    drain, engine = Drain(), Engine()
    drain.enter()
    start = time.monotonic()
    ServedEngine(engine, connections(), drain).shutdown(timeout=0.1)
    assert time.monotonic() - start < 10, "not a measurement: nothing ends it"
    assert engine.timeouts == [0.0]


@pytest.mark.parametrize("running", [0, 1])
def test_who_still_waits_learns_that_the_engine_is_gone_and_nobody_else(running: int) -> None:
    async def stop() -> Engine:
        engine, drain = Engine(asyncio.create_task(asyncio.sleep(60))), Drain()
        for _ in range(running):
            drain.enter()
        await asyncio.to_thread(ServedEngine(engine, connections(), drain).shutdown, 0.05)
        await asyncio.sleep(0.05)
        return engine

    engine = asyncio.run(stop())
    assert [type(error) for error in engine.propagated] == [EngineDeadError] * running


def test_who_does_not_take_the_news_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_serve.api.drain.LAST_SECONDS", 0.05)

    async def never(message: Message) -> None:
        await asyncio.sleep(60)

    async def stop() -> None:
        drain = Drain()
        drain.enter()
        send = PatientSend(never, 60)
        drain.sending.add(send)
        stalled = asyncio.create_task(send({"type": "http.response.body", "body": b"word"}))
        await asyncio.sleep(0)
        engine = Engine(asyncio.create_task(asyncio.sleep(60)))
        await asyncio.to_thread(ServedEngine(engine, connections(), drain).shutdown, 0.01)
        with pytest.raises(StalledClientError):
            await asyncio.wait_for(stalled, 30)

    asyncio.run(stop())


def test_a_clean_stop_takes_the_outputs_from_nobody() -> None:
    """Or what hands them out would log, now and then, that the engine has died."""
    cancelled: list[bool] = []

    class Stopping(Engine):
        def shutdown(self, timeout: float | None = None) -> None:
            assert self.output_handler is not None
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.output_handler.get_loop()).result(30)
            cancelled.append(self.output_handler.done())

    async def stop() -> None:
        engine = Stopping(asyncio.create_task(asyncio.sleep(60)))
        await asyncio.to_thread(ServedEngine(engine, connections(), Drain()).shutdown, 5)

    asyncio.run(stop())
    assert cancelled == [True]


def test_without_a_limit_the_engine_has_none_either() -> None:
    engine = Engine()
    ServedEngine(engine, connections(), Drain()).shutdown()
    assert engine.timeouts == [None]


def test_all_else_is_the_engines() -> None:
    engine = ServedEngine(Engine(), connections(), Drain())
    assert engine.model == "tiny"
    with pytest.raises(AttributeError):
        _ = engine.missing


def test_new_requests_are_sent_away_and_reading_goes_on() -> None:
    drain = Drain()

    async def talk() -> None:
        async with client_of(echo_app(Middleware(DrainMiddleware, drain=drain))) as client:
            assert (await client.post("/a")).status_code == 200
            assert drain.stop(timeout=0), "the response is over"
            assert (await client.get("/a")).status_code == 200
            response = await client.post("/a")
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0
            assert response.json()["error"]["type"] == "ServiceUnavailableError"

    asyncio.run(talk())


def test_a_request_that_fails_is_not_counted_for_ever() -> None:
    drain = Drain()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        asyncio.run(DrainMiddleware(endpoint, drain)({"type": "http", "method": "POST"}, receive_nothing, send_nothing))
    assert drain.stop(timeout=0)


async def receive_nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def send_nothing(message: object) -> None:
    pass

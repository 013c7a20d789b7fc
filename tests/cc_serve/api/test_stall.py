"""A client that does not take in its answer is given up on, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message

from cc_serve.api.stall import PIECE_BYTES, PatientSend, StalledClientError
from tests.support import clock

CHUNK: Message = {"type": "http.response.body", "body": b"word", "more_body": True}


def send_all(delays: list[float], seconds: float) -> list[float]:
    """What of messages that each take ``delays`` seconds to send went out."""
    sent: list[float] = []

    async def slow(message: Message) -> None:
        await asyncio.sleep(message["delay"])
        sent.append(message["delay"])

    async def talk() -> None:
        send = PatientSend(slow, seconds)
        try:
            for delay in delays:
                await send({**CHUNK, "delay": delay})
        finally:
            send.close()

    clock.run(talk())
    return sent


def test_many_messages_may_take_longer_than_one() -> None:
    assert send_all([0.3] * 6, seconds=0.4) == [0.3] * 6


def test_a_message_that_does_not_go_out_is_given_up() -> None:
    with pytest.raises(StalledClientError):
        send_all([0.0, 0.02, 60], seconds=0.05)


def run_in_task(body: Callable[[PatientSend], Awaitable[None]]) -> str:
    """Run ``body`` with a channel that never sends, and cancel it from outside."""

    async def never(message: Message) -> None:
        await asyncio.sleep(60)

    async def main() -> str:
        task = asyncio.ensure_future(body(PatientSend(never, 30)))
        await asyncio.sleep(0.01)
        task.cancel("from outside")
        try:
            await task
        except asyncio.CancelledError as error:
            return str(error)
        return "not cancelled"

    return clock.run(main())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def body(send: PatientSend) -> None:
        await send(CHUNK)

    assert run_in_task(body) == "from outside"


def test_the_task_can_go_on_after_giving_up() -> None:
    async def talk() -> str:
        async def never(message: Message) -> None:
            await asyncio.sleep(60)

        send = PatientSend(never, 0.01)
        with pytest.raises(StalledClientError):
            await send(CHUNK)
        await asyncio.sleep(0.02)
        task = asyncio.current_task()
        assert task is not None
        return f"{task.cancelling()} cancellations left"

    assert clock.run(talk()) == "0 cancellations left"


def test_a_large_message_goes_out_in_pieces() -> None:
    sent: list[Message] = []

    async def take(message: Message) -> None:
        sent.append(message)

    async def talk() -> None:
        send = PatientSend(take, 30)
        for more in (True, False):
            await send({"type": "http.response.body", "body": b"ab" * PIECE_BYTES, "more_body": more})
        send.close()

    clock.run(talk())
    assert b"".join(message["body"] for message in sent) == b"ab" * PIECE_BYTES * 2
    assert [message["more_body"] for message in sent] == [True, True, True, False]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_patience_can_be_cut_short(when: str) -> None:
    async def talk() -> float:
        send = PatientSend(never, 30)
        loop = asyncio.get_running_loop()
        if when == "before":
            send.hurry(0.05)
        else:
            loop.call_later(0.01, send.hurry, 0.05)
        begun = loop.time()
        with pytest.raises(StalledClientError):
            await send(CHUNK)
        return loop.time() - begun

    assert clock.run(talk()) == pytest.approx(0.05)


async def never(message: Message) -> None:
    await asyncio.sleep(60)

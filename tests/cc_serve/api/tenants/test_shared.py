"""Limits that several limiters keep together in a real store, and what happens without it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from cc_serve.api.tenants.limiter import Place
from cc_serve.api.tenants.scripts import ADMIT, PROBE
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import LostError, StoreError
from cc_serve.config.configuration import KeyLimits
from tests.support.limiters import PATIENCE, among, asked, impatient, looked_for, run, until
from tests.support.ports import free_port
from tests.support.store import StoreServer, running_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(server: StoreServer) -> StoreServer:
    """Running, and empty."""
    if server.process is None:
        server.start()
    server.resume()  # after a test that failed meanwhile
    server.client().flushall()
    return server


def limits(**rates: int) -> KeyLimits:
    return KeyLimits.model_validate(rates)


def refused(place: Place) -> str | None:
    return place.refusal and place.refusal.limit


def test_a_request_rate_is_of_all_servers_together(store: StoreServer) -> None:
    async def talk(one: SharedLimiter, other: SharedLimiter) -> None:
        rates = limits(requests_per_minute=3)
        places = [await limiter.admit("alice", rates, take=True) for limiter in (one, other, one, other)]
        assert [refused(place) for place in places] == [None, None, None, "requests_per_minute"]
        assert [place.allowances()["requests"].remaining for place in places] == [2, 1, 0, 0]
        refusal = places[-1].refusal
        assert refusal is not None
        assert 10 <= refusal.seconds <= 20, "20 s after the first"
        assert refusal.message == f"this key may use 3 requests a minute; try again in {refusal.seconds} s"
        assert refused(await one.admit("bob", rates, take=True)) is None, "everybody has their own"
        assert refused(await one.admit(None, rates, take=True)) is None
        assert refused(await other.admit("carol", rates, take=False)) is None
        assert (await one.admit("carol", rates, take=True)).allowances()["requests"].remaining == 2, "only asked"

    run(store, talk)


def test_a_token_rate_is_of_all_servers_together(store: StoreServer) -> None:
    async def talk(one: SharedLimiter, other: SharedLimiter) -> None:
        rates = limits(tokens_per_minute=100)
        begun = time.monotonic()

        def back() -> float:
            """How many tokens come back in the time that has passed."""
            return (time.monotonic() - begun) * 100 / 60

        mine = await one.admit("alice", rates, take=True)
        mine.charge(30)
        mine.charge(10)
        assert 60 <= mine.allowances()["tokens"].remaining <= 60 + back()
        same = await one.admit("alice", rates, take=True)
        assert 60 <= same.allowances()["tokens"].remaining <= 60 + back(), "charged with the next request"

        async def known() -> bool:
            return (await other.admit("alice", rates, take=False)).allowances()["tokens"].remaining < 60

        same.charge(50)
        await until(known)  # while the request still runs
        same.charge(870)
        await same.leave()
        place = await other.admit("alice", rates, take=True)
        assert refused(place) == "tokens_per_minute"
        assert place.refusal
        waited = time.monotonic() - begun
        assert 516 - waited <= place.refusal.seconds <= 518, "use beyond the limit has to drain first"

    run(store, talk)


def test_requests_at_the_same_time_are_of_all_servers_together(store: StoreServer) -> None:
    async def talk(one: SharedLimiter, other: SharedLimiter) -> None:
        rates = limits(concurrent_requests=2)
        first, second = [await limiter.admit("alice", rates, take=True) for limiter in (one, other)]
        assert refused(await one.admit("alice", rates, take=True)) == "concurrent_requests_per_key"
        await second.leave()
        await second.leave()
        third = await one.admit("alice", rates, take=True)
        assert refused(third) is None
        assert refused(await other.admit("alice", rates, take=True)) == "concurrent_requests_per_key"
        first.abandon()
        third.abandon()
        assert one.running == other.running == 0

        async def gone() -> bool:
            return store.client().exists("cc-serve:{alice}:running") == 0

        await until(gone)

    run(store, talk)


def test_a_client_that_leaves_while_the_store_is_asked_takes_no_place(store: StoreServer) -> None:
    async def talk(one: SharedLimiter) -> None:
        rates = limits(concurrent_requests=1)
        store.suspend()
        asking = asyncio.create_task(one.admit("alice", rates, take=True))
        await asyncio.sleep(0.05)
        asking.cancel()
        store.resume()

        async def free() -> bool:
            place = await one.admit("alice", rates, take=True)
            return place.refusal is None

        await until(free)

    run(store, talk, limiters=1, lease_seconds=600)


def test_a_killed_servers_places_become_free_and_a_living_ones_do_not(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A living server renews its lease so often that no pause of a busy machine makes it too late.
    lease, patience = 2.0, 60.0
    monkeypatch.setattr("cc_serve.api.tenants.shared._RENEWALS", 600)

    def end_of(name: str) -> float:
        ((_, end),) = store.client().zrange(f"cc-serve:{{{name}}}:running", 0, -1, withscores=True)
        return float(end)

    async def talk(killed: SharedLimiter) -> None:
        async def others(living: SharedLimiter, asking: SharedLimiter) -> None:
            rates = limits(concurrent_requests=1)
            await living.admit("alice", rates, take=True)
            first = end_of("alice")
            started = time.monotonic()
            await killed.admit("bob", rates, take=True)
            killed._held.clear()  # what a killed server does: it says no more
            seconds, microseconds = store.client().time()
            assert end_of("bob") - seconds - microseconds / 1e6 <= lease

            async def free() -> bool:
                return refused(await asking.admit("bob", rates, take=True)) is None

            await until(free)
            assert time.monotonic() - started > 0.9 * lease

            async def renewed() -> bool:
                return end_of("alice") > first + lease

            await until(renewed)
            assert refused(await asking.admit("alice", rates, take=True)) == "concurrent_requests_per_key"

        await among(store, others, lease_seconds=patience)

    run(store, talk, limiters=1, lease_seconds=lease)


@pytest.mark.parametrize("steps", range(8))
def test_an_event_loop_that_stands_still_loses_no_store(
    store: StoreServer, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever moment of the question: before it is sent, or when the answer is there."""

    async def talk(limiter: SharedLimiter) -> None:
        await limiter.admit("alice", limits(requests_per_minute=1), take=True)
        asked = asyncio.create_task(limiter.admit("alice", limits(requests_per_minute=1), take=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        time.sleep(0.1)  # enough for an answer to be there; the clock goes on by more than the store has for it
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 2 * PATIENCE)
        assert refused(await asked) is not None, "it is asked, and its limit holds"

    run(store, talk, limiters=1)


def test_a_short_lease_does_not_end_a_long_one(store: StoreServer) -> None:
    """Two servers whose files differ share a key."""

    async def talk(long: SharedLimiter) -> None:
        rates = limits(concurrent_requests=3)
        await long.admit("alice", rates, take=True)

        async def again(short: SharedLimiter) -> None:
            await short.admit("alice", rates, take=True)
            short._renew()
            await short._background.finished()
            assert store.client().ttl("cc-serve:{alice}:running") > 500

        await among(store, again, limiters=1, lease_seconds=1)

    run(store, talk, limiters=1, lease_seconds=600)


def test_what_is_not_used_any_more_leaves_the_store(store: StoreServer) -> None:
    async def talk(one: SharedLimiter) -> None:
        await one.admit("alice", limits(requests_per_minute=60, concurrent_requests=3), take=True)

    run(store, talk, limiters=1)
    client = store.client()
    found = {key.rsplit(":", 1)[0] if "unanswered" in key else key: client.ttl(key) for key in client.scan_iter()}
    assert found.keys() == {f"cc-serve:{{alice}}:{name}" for name in ("rates", "running", "unanswered")}
    assert all(1 <= seconds <= 61 for seconds in found.values())


def test_a_key_without_limits_never_asks(store: StoreServer) -> None:
    async def talk(one: SharedLimiter) -> None:
        store.stop()
        assert refused(await one.admit("alice", limits(), take=True)) is None

    run(store, talk, limiters=1, on_error="refuse")


@pytest.mark.parametrize("how", ["stopped", "suspended"])
@pytest.mark.parametrize("action", ["allow", "refuse"])
def test_without_the_store_and_back_by_itself(
    store: StoreServer, action: str, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cc_serve"), "propagate", True)
    caplog.set_level(logging.WARNING, "cc_serve")  # vLLM's flags may have set another one, in an earlier test
    rates = limits(requests_per_minute=2, concurrent_requests=2)

    def errors() -> float:
        return REGISTRY.get_sample_value("cc:store_errors_total", {"action": action}) or 0

    async def talk(one: SharedLimiter) -> None:
        before = errors()
        first = await one.admit("alice", rates, take=True)
        store.stop() if how == "stopped" else store.suspend()
        with impatient(one), asked(one) as scripts:
            places = [await one.admit("alice", rates, take=True) for _ in range(5)]
        assert scripts.count(ADMIT) == 1, "only the first waits"
        assert [refused(place) for place in places] == [None if action == "allow" else "store"] * 5
        assert all(place.refusal is None or place.refusal.status == 503 for place in places)
        assert errors() == before + 5
        await places[0].leave()
        await first.leave()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert ("let in" if action == "allow" else "are refused") in caplog.text
        store.start() if how == "stopped" else store.resume()

        async def known() -> bool:
            failed = errors()
            await one.admit("alice", rates, take=False)
            return errors() == failed

        await until(known)
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        still = 4 if action == "allow" else 0

        async def learnt() -> bool:
            return store.client().zcard("cc-serve:{alice}:running") == still

        await until(learnt)  # those that were let in without the store still run
        assert one.running == still

    run(store, talk, limiters=1, on_error=action)


def test_what_a_store_that_goes_again_let_in_is_taken_back_when_it_returns(tmp_path: Path) -> None:
    """Of a month's budget it would be missing for the whole month."""
    rates = KeyLimits.model_validate({"budget": {"requests_per_month": 5}})
    spent = f"cc-serve:{{alice}}:spent:{datetime.now(UTC):%Y-%m}"

    with running_store(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as store:

        async def talk(one: SharedLimiter) -> None:
            def counted() -> str | None:
                return store.client().hget(spent, "requests")

            times = 0

            def goes_again() -> None:
                nonlocal times
                times += 1
                if times > 1:
                    return
                end = time.monotonic() + PATIENCE
                while counted() != "1":  # it reads what was sent before it stood still
                    assert time.monotonic() < end
                store.stop()

            one._store.when_back.insert(0, goes_again)
            await one.admit("alice", rates, take=False)  # connects
            store.suspend()
            with impatient(one):
                assert refused(await one.admit("alice", rates, take=True)) == "store"
            store.resume()

            async def gone_again() -> bool:
                return store.process is None and one._store._down is not None

            await until(gone_again)
            store.start()

            async def taken_back() -> bool:
                return times > 1 and counted() == "0"

            await until(taken_back)

        run(store, talk, limiters=1, on_error="refuse")


@pytest.mark.parametrize("action", ["allow", "refuse"])
def test_a_store_that_becomes_a_replica_is_lost_until_it_is_none(
    store: StoreServer, action: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cc_serve"), "propagate", True)
    caplog.set_level(logging.WARNING, "cc_serve")  # vLLM's flags may have set another one, in an earlier test
    rates = limits(requests_per_minute=100)

    async def talk(one: SharedLimiter) -> None:
        await one.admit("alice", rates, take=True)
        client = store.client()
        (ours,) = [each["id"] for each in client.client_list() if each["name"] == "cc-serve"]
        client.replicaof("127.0.0.1", str(free_port()))
        try:
            with asked(one) as scripts:
                async with asyncio.timeout(PATIENCE):
                    while scripts.count(PROBE) < 3:  # it is looked for meanwhile
                        place = await one.admit("alice", rates, take=True)
                        assert refused(place) == (None if action == "allow" else "store")
                        await asyncio.sleep(0.02)
            assert [record.levelname for record in caplog.records] == ["ERROR"], "it does not come and go"
            assert ours not in [each["id"] for each in client.client_list()], "a new connection may lead elsewhere"
        finally:
            client.replicaof("NO", "ONE")

        async def limited() -> bool:
            return "requests" in (await one.admit("alice", rates, take=False)).allowances() and not one._store._down

        await until(limited)
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]

    run(store, talk, limiters=1, on_error=action)


def test_a_script_that_finds_a_replica_on_redis_6_loses_it(store: StoreServer) -> None:
    async def talk(one: SharedLimiter) -> None:
        script = "return redis.error_reply('ERR Error running script: -READONLY You can not write against a replica')"
        with pytest.raises(LostError, match="READONLY"):
            await one._store.run(script, [], [])

        async def back() -> bool:
            return one._store._down is None

        await until(back)
        with pytest.raises(StoreError, match="boom"):
            await one._store.run("return redis.error_reply('ERR boom')", [], [])

    run(store, talk, limiters=1)


def test_a_password_that_cannot_be_read_leaves_nobody_waiting(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    rates = limits(requests_per_minute=100)

    with running_store(tmp_path, "--requirepass", "secret") as guarded:

        async def talk(one: SharedLimiter) -> None:
            assert refused(await one.admit("alice", rates, take=True)) is None
            file.write_bytes(b"\xff\xfe")
            guarded.client(password="secret").client_kill_filter(skipme=True)
            async with asyncio.timeout(PATIENCE):
                while refused(await one.admit("alice", rates, take=True)) is None:
                    await asyncio.sleep(0.02)
            await looked_for(one)
            file.write_text("secret")

            async def back() -> bool:
                return refused(await one.admit("alice", rates, take=True)) is None

            await until(back)

        run(guarded, talk, limiters=1, on_error="refuse", password_file=file)


def test_a_fault_of_any_kind_leaves_nobody_waiting(store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(one: SharedLimiter) -> None:
        connection = one._store._connection

        def pack(_commands: object) -> list[bytes]:
            raise ValueError("of a library")

        with monkeypatch.context() as patch:
            patch.setattr(connection, "pack_commands", pack)
            async with asyncio.timeout(PATIENCE):
                assert refused(await one.admit("alice", limits(requests_per_minute=9), take=True)) == "store"
            await looked_for(one)

        async def back() -> bool:
            return refused(await one.admit("alice", limits(requests_per_minute=9), take=True)) is None

        await until(back)

    run(store, talk, limiters=1, on_error="refuse")


def test_a_key_of_another_type_is_told_once_and_disturbs_no_other(
    store: StoreServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cc_serve"), "propagate", True)
    caplog.set_level(logging.WARNING, "cc_serve")  # vLLM's flags may have set another one, in an earlier test
    store.client().set("cc-serve:{alice}:rates", "mine")

    async def talk(one: SharedLimiter) -> None:
        rates = limits(requests_per_minute=2)
        for _ in range(3):
            assert refused(await one.admit("alice", rates, take=True)) == "store"
        assert [refused(await one.admit("bob", rates, take=True)) for _ in range(3)][1:] == [
            None,
            "requests_per_minute",
        ]
        assert caplog.text.count("WRONGTYPE") == 1

    run(store, talk, limiters=1, on_error="refuse")

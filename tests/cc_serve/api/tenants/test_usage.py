"""What keys have used, kept in a file and in a real store: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cc_serve.api.drain import Drain
from cc_serve.api.endpoints import usage as usage_report
from cc_serve.api.endpoints.usage import usage_endpoint
from cc_serve.api.middleware.authentication import KeyMiddleware
from cc_serve.api.middleware.limits import LimitsMiddleware
from cc_serve.api.tenants import usage_file
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.tenancy import Tenancy, open_tenancy
from cc_serve.api.tenants.usage import Amounts, Heading, Ledger, Usage
from cc_serve.api.tenants.usage_file import UsageFile
from cc_serve.api.vllm import SamplingParams
from cc_serve.api.work import current_work
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.disk import files_of_at_most
from tests.support.echo import client_of
from tests.support.store import StoreServer, running_store

ALICE, BOB, OPS = ({"x-api-key": name} for name in ("alice", "bob", "ops"))
KEYS = (
    f"keys: {{alice: {{sha256: {hash_key('alice')}, limits: {{budget: {{%s}}}}}}, "
    f"bob: {{sha256: {hash_key('bob')}}}, ops: {{sha256: {hash_key('ops')}, admin: true}}}}\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


def kept_in(store: StoreServer) -> str:
    """For the configuration; a busy machine's store may not answer for a second."""
    return f"limits: {{store: {{url: '{store.url}', timeout_seconds: 30}}}}"


@pytest.fixture(params=["file", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where usage is kept, for the configuration."""
    if request.param == "file":
        return f"usage: {{file: {tmp_path / 'usage.sqlite'}}}"
    store: StoreServer = request.getfixturevalue("server")
    store.client().flushall()
    return kept_in(store)


async def answer(request: Request) -> Response:
    """What an engine does: it gets a prompt of as many tokens as the body says, and answers with twice as many."""
    work, tokens = current_work.get(), int(await request.body())
    assert work
    if tokens:
        prompt = {"prompt_token_ids": [1] * tokens}
        work.begin(prompt, SamplingParams())
        work.start(prompt)
        work.answered(tokens)
        work.answered(tokens)
    return JSONResponse({})


@asynccontextmanager
async def serving(path: Path, text: str) -> AsyncIterator[tuple[httpx.AsyncClient, Tenancy]]:
    """One run of a server."""
    path.write_text(text)
    settings = LiveSettings(path, default_router(), {})
    async with open_tenancy(settings.current) as tenancy:
        app = FastAPI(routes=[Route("/", answer, methods=["POST"])])
        app.include_router(usage_endpoint(tenancy.ledger))
        limited = LimitsMiddleware(app, Drain(), tenancy.limiter, tenancy.ledger)
        async with client_of(KeyMiddleware(limited, settings)) as client:
            yield client, tenancy


def run(talk: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(talk())  # type: ignore[arg-type]


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def row(key: str | None, requests: int, tokens: int) -> dict[str, Any]:
    sums = {"requests": requests, "prompt_tokens": tokens, "answer_tokens": 2 * tokens}
    return {"key": key, "day": today(), "language": "none", "connection": "none", **sums}


def test_a_report_adds_up_over_restarts(tmp_path: Path, place: str) -> None:
    async def talk() -> None:
        for run in (1, 2):
            async with serving(tmp_path / "server.yaml", KEYS % "" + place) as (client, _):
                for tokens in ("5", "0", "7"):
                    assert (await client.post("/", headers=ALICE, content=tokens)).status_code == 200
                await client.post("/", headers=BOB, content="1")
                report = (await client.get("/admin/usage", headers=OPS)).json()
                assert report["usage"] == [row("alice", 2 * run, 12 * run), row("bob", run, run)]
                assert report["last"] == today()
                assert [(total["key"], total["requests"]) for total in report["totals"]] == [
                    ("alice", 2 * run),
                    ("bob", run),
                ]
        async with serving(tmp_path / "server.yaml", KEYS % "" + place) as (client, _):
            only = await client.get("/admin/usage?key=bob&format=csv", headers=OPS)
            assert only.headers["content-type"].startswith("text/csv")
            assert list(csv.DictReader(io.StringIO(only.text))) == [
                {name: str(value) for name, value in row("bob", 2, 2).items()}
            ]
            before = await client.get("/admin/usage?first=2026-01-01&last=2026-01-31", headers=OPS)
            assert before.json()["usage"] == []

    run(talk)


@pytest.mark.parametrize(
    ("query", "param"),
    [("first=x", "first"), ("last=2026-02-30", "last"), ("format=xml", "format"), ("first=2999-01-01", "last"),
     ("first=0001-01-01", "last")],
)  # fmt: skip
def test_a_question_that_makes_no_sense(tmp_path: Path, query: str, param: str) -> None:
    async def talk() -> None:
        text = KEYS % "" + f"usage: {{file: {tmp_path / 'u'}}}"
        async with serving(tmp_path / "server.yaml", text) as (client, _):
            refused = await client.get(f"/admin/usage?{query}", headers=OPS)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
            assert (await client.get("/admin/usage", headers=ALICE)).status_code == 403

    run(talk)


def test_usage_that_is_not_kept(tmp_path: Path) -> None:
    async def talk() -> None:
        async with serving(tmp_path / "server.yaml", (KEYS % "").replace("limits: {budget: {}}", "")) as (client, _):
            missing = await client.get("/admin/usage", headers=OPS)
            assert missing.status_code == 404
            assert "configure limits.store or usage.file" in missing.json()["error"]["message"]

    run(talk)


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_budget_of_tokens(tmp_path: Path, place: str, period: str) -> None:
    async def talk() -> None:
        text = KEYS % f"tokens_per_{period}: 10" + place
        async with serving(tmp_path / "server.yaml", text) as (client, _):
            for tokens in ("1", "2", "9"):  # 3, then 9, then 36 tokens
                last = await client.post("/", headers=ALICE, content=tokens)
            assert last.status_code == 200, "9 of 10 were used"
        async with serving(tmp_path / "server.yaml", text) as (client, _):
            before = datetime.now(UTC)
            refused = await client.post("/", headers=ALICE, content="1")
            assert refused.status_code == 429, "a restart does not forget it"
            now = datetime.now(UTC)
            tomorrow = (now + timedelta(days=1)).date()
            after = (now.replace(day=1) + timedelta(days=32)).date().replace(day=1)
            message = refused.json()["error"]["message"]
            assert message.startswith(f"this key may use 10 tokens a {period}; the next one begins at ")
            begins = datetime.fromisoformat(message.rsplit(" ", 1)[1])
            assert begins == datetime.combine(tomorrow if period == "day" else after, time(tzinfo=UTC))
            earliest, latest = ((begins - moment).total_seconds() for moment in (now, before))
            assert earliest <= int(refused.headers["Retry-After"]) <= latest + 1
            assert (await client.post("/", headers=BOB, content="1")).status_code == 200

    run(talk)


def test_a_budget_of_requests_is_of_what_was_let_in(tmp_path: Path, place: str) -> None:
    async def talk() -> None:
        async with serving(tmp_path / "server.yaml", KEYS % "requests_per_day: 2" + place) as (client, _):
            statuses = [(await client.post("/", headers=ALICE, content="1")).status_code for _ in range(4)]
            assert statuses == [200, 200, 429, 429]

    run(talk)


def test_two_servers_share_a_budget(tmp_path: Path, server: StoreServer) -> None:
    server.client().flushall()

    async def talk() -> None:
        text = KEYS % "requests_per_month: 3" + kept_in(server)
        async with (
            serving(tmp_path / "one.yaml", text) as (one, _),
            serving(tmp_path / "other.yaml", text) as (other, _),
        ):
            statuses = [(await client.post("/", headers=ALICE, content="1")).status_code for client in (one, other) * 2]
            assert statuses == [200, 200, 200, 429]
            await one.get("/admin/usage", headers=OPS)
            report = (await other.get("/admin/usage", headers=OPS)).json()
            assert report["usage"] == [row("alice", 3, 3)]

    run(talk)


def test_a_long_report_is_read_in_parts_beside_the_requests(tmp_path: Path, server: StoreServer) -> None:
    store = server.client()
    store.flushall()
    many = 20_000
    store.hset(f"cc-serve:{{-usage}}:{today()}", mapping={f"key{number}|de|off|requests": 1 for number in range(many)})
    store.config_resetstat()

    async def talk() -> None:
        text = KEYS % "requests_per_day: 100" + kept_in(server)
        async with serving(tmp_path / "server.yaml", text) as (client, tenancy):
            await client.post("/", headers=ALICE, content="0")
            assert isinstance(tenancy.limiter, SharedLimiter)
            ours = tenancy.limiter._store._connection
            sent: list[Any] = []
            pack = ours.pack_commands
            ours.pack_commands = lambda commands: sent.extend(commands) or pack(commands)
            found = await client.get("/admin/usage?format=csv", headers=OPS)
            assert (found.status_code, len(found.text.splitlines())) == (200, many + 1)
            assert not sent, "requests wait behind nothing of it"
            commands = store.info("commandstats")
            assert "cmdstat_hgetall" not in commands
            assert commands["cmdstat_hscan"]["calls"] >= 10

    run(talk)


def test_a_report_leaves_out_what_something_else_wrote_and_says_so(
    tmp_path: Path, server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = server.client()
    store.flushall()
    foreign = {"note": "x", "a|b|c": 1, "a|b|c|d|e": 1, "alice|none|none|cost": 3, "bob|none|none|requests": "many"}
    foreign["bob|none|none|prompt_tokens"] = "1" * 5000
    store.hset(f"cc-serve:{{-usage}}:{today()}", mapping=foreign)

    async def talk() -> None:
        async with serving(tmp_path / "server.yaml", KEYS % "" + kept_in(server)) as (client, _):
            await client.post("/", headers=ALICE, content="3")
            await client.post("/", headers=BOB, content="3")
            bob = {**row("bob", 0, 3), "prompt_tokens": 0}
            assert (await client.get("/admin/usage", headers=OPS)).json()["usage"] == [row("alice", 1, 3), bob]

    run(talk)
    lost, left_out = caplog.messages
    assert "2 numbers are lost" in lost
    assert "6 fields in the store are not this server's" in left_out


@pytest.mark.parametrize("format", ["json", "csv"])
def test_a_report_is_written_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    threads: list[threading.Thread] = []

    def rows(usage: Usage) -> list[tuple[str | int | None, ...]]:
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(usage_report, "_rows", rows)

    async def talk() -> None:
        text = KEYS % "" + f"usage: {{file: {tmp_path / 'usage.sqlite'}}}"
        async with serving(tmp_path / "server.yaml", text) as (client, _):
            assert (await client.get(f"/admin/usage?format={format}", headers=OPS)).status_code == 200

    run(talk)
    assert threads
    assert threading.main_thread() not in threads


def test_what_cannot_be_written_waits_and_is_counted_once(tmp_path: Path) -> None:
    with running_store(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as store:

        async def talk() -> None:
            text = KEYS % "" + kept_in(store)
            async with serving(tmp_path / "server.yaml", text) as (client, tenancy):
                await client.post("/", headers=ALICE, content="5")
                store.stop()
                await client.post("/", headers=ALICE, content="5")
                gone = await client.get("/admin/usage", headers=OPS)
                assert (gone.status_code, gone.json()["error"]["type"]) == (503, "ServiceUnavailableError")
                store.start()
                async with asyncio.timeout(60):
                    while (found := await client.get("/admin/usage", headers=OPS)).status_code == 503:
                        await asyncio.sleep(0.05)
                assert found.json()["usage"] == [row("alice", 2, 10)]
                assert tenancy.ledger
                usage = {Heading("alice", today(), "none", "none"): Amounts(1, 5, 10)}
                for _ in range(2):  # as after an answer of the store that was lost
                    await tenancy.ledger._archive.add("abc", usage)
                day = date.fromisoformat(today())
                assert await tenancy.ledger.report(day, day) == {
                    Heading("alice", today(), "none", "none"): Amounts(3, 15, 30)
                }

        run(talk)


def test_a_full_disk_is_counted_until_it_is_written(tmp_path: Path) -> None:
    def errors() -> float:
        return REGISTRY.get_sample_value("cc:usage_errors_total") or 0

    async def talk() -> None:
        text = KEYS % "" + f"usage: {{file: {tmp_path / 'usage.sqlite'}}}"
        async with serving(tmp_path / "server.yaml", text) as (client, _):
            before = errors()
            with files_of_at_most(1):
                await client.post("/", headers=ALICE, content="5")
                async with asyncio.timeout(60):
                    while errors() < before + 2:  # it tries by itself
                        await asyncio.sleep(0.05)
                assert (await client.get("/admin/usage", headers=OPS)).status_code == 503
            found = await client.get("/admin/usage", headers=OPS)
            assert found.json()["usage"] == [row("alice", 1, 5)]
            after = errors()
            await client.post("/", headers=ALICE, content="5")
            await client.get("/admin/usage", headers=OPS)
            assert errors() == after

    run(talk)


class SlowArchive:
    """Takes its time for each batch, in a thread as `UsageFile` does."""

    def __init__(self) -> None:
        self.requests: list[int] = []

    async def add(self, _: str, usage: Usage) -> None:
        def write() -> None:
            sleep(0.2)
            self.requests.append(sum(amounts.requests for amounts in usage.values()))

        await asyncio.to_thread(write)

    async def read(self, _: Sequence[str]) -> Usage:
        return {}


def test_a_report_waits_for_no_more_than_two_writes() -> None:
    async def talk() -> None:
        ledger = Ledger(archive := SlowArchive())

        async def keep_adding() -> None:
            while True:
                ledger.add("alice", "de", "off", Amounts(1))
                await asyncio.sleep(0.01)

        adding = asyncio.create_task(keep_adding())
        await asyncio.sleep(0.05)
        await ledger.report(date.today(), date.today())
        assert len(archive.requests) <= 2
        adding.cancel()
        await ledger.close()

    run(talk)


def test_a_write_that_runs_at_the_end_is_counted_once() -> None:
    async def talk() -> None:
        ledger = Ledger(archive := SlowArchive())
        ledger.add("alice", "de", "off", Amounts(1))
        async with asyncio.timeout(60):
            while not ledger._flushing.locked():  # the clock has begun to write
                await asyncio.sleep(0.01)
        await ledger.close()
        assert archive.requests == [1]

    run(talk)


def test_days_of_this_month_are_kept_for_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def now(day: int) -> datetime:
        return datetime(2026, 3, day, 12, tzinfo=UTC)

    async def talk() -> None:
        archive = UsageFile(tmp_path / "usage.sqlite", keep_days=1)
        for day, kept in ((1, 1), (20, 2)):
            monkeypatch.setattr(usage_file, "utc_now", lambda day=day: now(day))
            await archive.add("", {Heading("alice", f"2026-03-{day:02}", "de", "off"): Amounts(1, 1, 1)})
            assert archive.spent()["2026-03", "alice"]["requests"] == kept
        monkeypatch.setattr(usage_file, "utc_now", lambda: datetime(2026, 4, 2, tzinfo=UTC))
        await archive.add("", {})
        assert not await archive.read(["2026-03-01", "2026-03-31"])

    run(talk)


def test_two_processes_of_a_server_write_one_file(tmp_path: Path) -> None:
    path, batches = tmp_path / "usage.sqlite", 100
    heading = Heading("alice", today(), "de", "off")

    def write(number: int) -> None:
        file = UsageFile(path, 400)
        for batch in range(batches):
            asyncio.run(file.add(f"{number}-{batch}", {heading: Amounts(1, 2, 3)}))
        file.close()

    UsageFile(path, 400).close()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, range(2)))
    file = UsageFile(path, 400)
    found = asyncio.run(file.read([today()]))
    file.close()
    assert found == {heading: Amounts(2 * batches, 4 * batches, 6 * batches)}


@pytest.mark.parametrize("content", [b"this is no database at all, however long it may be" * 30, None])
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "usage.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)

    async def talk() -> None:
        with pytest.raises(ConfigurationError, match=f"usage.file: {path} cannot be used"):
            async with serving(tmp_path / "server.yaml", f"usage: {{file: {path}}}"):
                pass

    run(talk)

"""A real server with two API processes and a real store: what adds up, how it reloads, changes, stops and fails."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import httpx
import psutil
import pytest

from cc_core.checkpoint import save_connection
from cc_serve.config.keys import hash_key
from tests.support.api_processes import at_once, by_each, client_of, half_each, only, processes_of, requests_of
from tests.support.engines import clients_of, engine_of
from tests.support.server import ENDLESS, ENDLESS_TOKENS, MODEL, Server, started
from tests.support.store import running_store
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base

GERMAN = "Wo ist der Bahnhof, bitte?"
ENGLISH = "Where is the train station, please?"
CHAT = "/v1/chat/completions"
PER_MINUTE = 30
LONG = {"max_tokens": 400, "ignore_eos": True, "stream": True}
TWO = ("--api-server-count", "2", "--disable-uvicorn-access-log")


def configuration(store: str, limits: str = "choices: 2") -> str:
    keys = {"ops": "admin: true", "user": "weight: 1", "few": f"limits: {{requests_per_minute: {PER_MINUTE}}}"}
    entries = [f"  {name}: {{sha256: {hash_key(name)}, {extra}}}" for name, extra in keys.items()]
    kept = f"{{url: '{store}', timeout_seconds: 30}}"  # a busy machine's store may not answer for seconds
    return "\n".join(["keys:", *entries, "open_paths: [/metrics]", f"limits: {{store: {kept}, {limits}}}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[str]:
    with running_store(folder) as running:
        yield running.url


@pytest.fixture(scope="module")
def two(checkpoint: Path, folder: Path, store: str) -> Iterator[Server]:
    (folder / "server.yaml").write_text(configuration(store))
    flags = ("--cc-config", str(folder / "server.yaml"), "--request-log", str(folder / "requests.jsonl"))
    with started(checkpoint, folder / "server.log", *TWO, *flags) as server:
        until(lambda: "ready after" in (folder / "server.log").read_text())
        yield server


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def ask(client: httpx.Client, key: str = "user", path: str = CHAT, **body: Any) -> httpx.Response:
    full = {"model": MODEL, "messages": [{"role": "user", "content": GERMAN}], "max_tokens": 4, **body}
    return client.post(path, json=full, headers={"x-api-key": key})


def post(server: Server, key: str = "user", path: str = CHAT, **body: Any) -> httpx.Response:
    """One request on a connection of its own, which any process may take."""
    with client_of(server) as client:
        return ask(client, key, path, **body)


def turned_away(server: Server) -> bool:
    """Whether a server that stops refuses a request, or has stopped."""
    try:
        return post(server).status_code == 503
    except httpx.TransportError:
        return True


def reload(server: Server, folder: Path, text: str) -> None:
    (folder / "server.yaml").write_text(text)
    response = httpx.post(f"{server.address}/admin/reload", headers={"x-api-key": "ops"}, timeout=60)
    assert response.raise_for_status().json() == {"status": "reloaded"}


def get(client: httpx.Client, path: str) -> Any:
    return client.get(path, headers={"x-api-key": "ops"}).raise_for_status().json()


def summed(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


def test_both_processes_answer_alike_and_what_they_count_adds_up(two: Server, folder: Path) -> None:
    texts = [GERMAN, ENGLISH] * 20

    def answer(i: int) -> httpx.Response:
        return post(two, messages=[{"role": "user", "content": texts[i]}], temperature=0)

    answers = half_each(two, len(texts), answer)
    assert {answer.status_code for answer in answers} == {200}
    for text, connection in ((GERMAN, "de"), (ENGLISH, "off")):
        same = [answer for answer, asked in zip(answers, texts, strict=True) if asked == text]
        assert {answer.headers["X-CC-Connection"] for answer in same} == {connection}
        assert len({answer.json()["choices"][0]["message"]["content"] for answer in same}) == 1
    # A request is counted after its last byte has gone out, which the client may have read by then.
    until(lambda: [requests_of(two, process) for process in processes_of(two)] == [20, 20])
    until(lambda: len((folder / "requests.jsonl").read_text().splitlines()) == len(texts))
    usage = [answer.json()["usage"] for answer in answers]
    prompt, answered = (sum(each[name] for each in usage) for name in ("prompt_tokens", "completion_tokens"))

    def adds_up(client: httpx.Client) -> None:
        assert summed(client, "cc:requests_total") == summed(client, "cc:request_seconds_count") == len(texts)
        assert summed(client, f'http_requests_total{{handler="{CHAT}",method="POST",status="2xx"}}') == len(texts)
        assert summed(client, "cc:prompt_tokens_total") == prompt
        assert summed(client, "cc:generation_tokens_total") == answered
        assert summed(client, "cc:connection_info") == 1
        (total,) = get(client, "/admin/usage")["totals"]
        assert total == {"key": "user", "requests": 40, "prompt_tokens": prompt, "answer_tokens": answered}
        chosen = {layers["language"]: sum(layers["chosen"]) for layers in get(client, "/v1/layers")["data"]}
        assert chosen == {"de": 20, "en": 0, "fr": 0}

    by_each(two, adds_up)
    lines = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    assert Counter(line["language"] for line in lines) == {"de": 20, "en": 20}


def test_a_key_has_its_limit_once_and_not_in_each_process(two: Server) -> None:
    begin = time.monotonic()
    statuses = Counter(answer.status_code for answer in half_each(two, 2 * PER_MINUTE, lambda _: post(two, "few")))
    refilled = (time.monotonic() - begin) * PER_MINUTE / 60
    assert set(statuses) == {200, 429}
    assert PER_MINUTE <= statuses[200] <= PER_MINUTE + refilled + 1


def test_whoever_reloads_reloads_all(two: Server, folder: Path, store: str) -> None:
    def reached(number: int) -> bool:
        """Whether all processes allow ``number`` choices and no more."""
        allowed = by_each(two, lambda client: ask(client, n=number, max_tokens=1).status_code)
        refused = by_each(two, lambda client: ask(client, n=number + 1, max_tokens=1).status_code)
        return (allowed, refused) == ([200, 200], [400, 400])

    config, log = folder / "server.yaml", folder / "server.log"
    assert reached(2)
    reload(two, folder, configuration(store, "choices: 3"))
    assert reached(3), "at once, once the call is answered"
    before = log.read_text().count("Configuration reloaded")
    config.write_text(configuration(store, "choices: 4"))
    two.process.send_signal(signal.SIGHUP)
    until(lambda: log.read_text().count("Configuration reloaded") > before)
    assert reached(4)
    config.write_text(configuration(store, "choices: 0"))
    refused = httpx.post(f"{two.address}/admin/reload", headers={"x-api-key": "ops"}, timeout=60)
    assert (refused.status_code, "limits.choices" in refused.text) == (400, True)
    assert reached(4)


def test_the_servers_limit_is_one_for_all_processes(
    two: Server, folder: Path, store: str, request: pytest.FixtureRequest
) -> None:
    reload(two, folder, configuration(store, "concurrent_requests: 5"))
    # Later tests ask for more at once.
    request.addfinalizer(lambda: reload(two, folder, configuration(store)))
    engine = engine_of(two)
    engine.suspend()
    try:
        with ThreadPoolExecutor(16) as threads:
            first, second = processes_of(two)
            with only(two, first):
                asked = [threads.submit(post, two) for _ in range(8)]
                # Four places: the last is kept for another key.
                until(lambda: sum(each.done() for each in asked) == 4)
            with only(two, second):
                asked += [threads.submit(post, two) for _ in range(7)]
                until(lambda: sum(each.done() for each in asked) == 11)
                other = threads.submit(post, two, "ops")
                until(lambda: clients_of(second) == 1)
            with client_of(two, first) as client:
                until(lambda: get(client, "/admin/connections")["served"]["running"] == 5)
                assert ask(client, "ops").status_code == 503
            engine.resume()
            statuses = Counter(each.result().status_code for each in asked)
    finally:
        engine.resume()
    assert statuses == {200: 4, 503: 11}
    assert other.result().status_code == 200


def change(server: Server, directory: Path) -> httpx.Response:
    body = {"directory": str(directory)}
    return httpx.post(f"{server.address}/admin/connections", json=body, headers={"x-api-key": "ops"}, timeout=60)


def test_another_connection_is_served_by_all(two: Server, checkpoint: Path, tmp_path: Path) -> None:
    """While they answer: each answer is whole, of one connection or the other."""
    other = save_base(tmp_path / "other", tiny_llama())
    save_connection(other, random_connection(["global"], seed=5), ["de", "sw"])

    def answer(client: httpx.Client) -> tuple[str, str]:
        response = ask(client, max_tokens=12, temperature=0).raise_for_status()
        return response.headers["X-CC-Connection"], response.json()["choices"][0]["message"]["content"]

    def answer_of_any() -> tuple[str, str]:
        with client_of(two) as client:
            return answer(client)

    refused = at_once(8, lambda _: change(two, tmp_path / "none"))
    assert {(each.status_code, each.json()["error"]["param"]) for each in refused} <= {(400, "directory"), (409, None)}
    (first,) = set(by_each(two, answer))
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(answer_of_any) for _ in range(40)]
        asked[0].result()
        changed = change(two, other)
        (second,) = set(by_each(two, answer))
        found = {each.result() for each in asked}
    assert changed.status_code == 200, changed.text
    assert (first[0], second[0]) == ("de", "global")
    assert first in found <= {first, second}
    served = changed.json()["served"]["sha256"]
    shown = by_each(two, lambda client: get(client, "/admin/connections")["served"]["sha256"])
    assert set(shown) == {served}
    assert all("sw" in text for text in by_each(two, lambda client: json.dumps(get(client, "/v1/languages"))))
    metrics = httpx.get(f"{two.address}/metrics", timeout=60).text
    assert f'cc:connection_info{{sha256="{served}"}} 1.0' in metrics
    back = at_once(4, lambda _: change(two, checkpoint))
    assert {each.status_code for each in back} <= {200, 409}, "one change at a time, whichever process is asked"
    assert set(by_each(two, answer)) == {first}
    with client_of(two) as client:
        until(lambda: not get(client, "/admin/connections")["earlier"])


def test_the_playground_is_there(two: Server) -> None:
    pages = by_each(two, lambda client: client.get("/playground"))
    assert {page.status_code for page in pages} == {200}
    assert len({page.text for page in pages}) == 1


def stream(server: Server, **options: Any) -> Iterator[str]:
    """The status of a long answer, and then its lines."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": GERMAN}], **LONG, **options}

    def lines() -> Iterator[str]:
        with httpx.stream(
            "POST", server.address + CHAT, json=body, headers={"x-api-key": "user"}, timeout=60
        ) as response:
            yield str(response.status_code)
            yield from response.iter_lines()

    return lines()


def test_a_stop_lets_all_processes_finish(two: Server) -> None:
    streams = []
    for process in processes_of(two):
        with only(two, process):
            begun = [stream(two) for _ in range(2)]
            assert {next(each) for each in begun} == {"200"}
            streams += begun
    children = psutil.Process(two.process.pid).children(recursive=True)
    two.process.send_signal(signal.SIGTERM)
    until(lambda: turned_away(two))
    for each in streams:
        assert [line for line in each if line][-1] == "data: [DONE]"
    assert two.process.wait(60) == 0
    until(lambda: not psutil.wait_procs(children, timeout=1)[1])


def test_a_process_that_dies_ends_the_server(checkpoint: Path, tmp_path: Path) -> None:
    """The others finish what they have begun; an engine that dies meanwhile ends that, too, and says so."""
    log = tmp_path / "server.log"
    # Longer than a client waits: it is the engine's death that ends the streams, and not the end of that time.
    flags = (*TWO, *ENDLESS, "--shutdown-timeout", "120")
    with started(checkpoint, log, *flags) as server, ExitStack() as stack:
        until(lambda: "ready after" in log.read_text())
        children = psutil.Process(server.process.pid).children(recursive=True)
        (first, second), engine = processes_of(server), engine_of(server)
        threads = stack.enter_context(ThreadPoolExecutor(8))
        stack.callback(put_an_end_to, engine)  # before the threads are waited for: their answers are endless
        begun: set[int] = set()
        asked: list[Future[str]] = []
        for count, process in ((4, first), (8, second)):
            with only(server, process):
                asked += [threads.submit(end_of_stream, server, begun) for _ in range(4)]
                until(lambda count=count: len(begun) == count)  # type: ignore[misc]
        engine.suspend()
        first.kill()
        # A request for an answer would wait for the engine, if it came before the other process is told.
        until(lambda: httpx.get(f"{server.address}/ready", timeout=60).status_code == 503)
        engine.kill()
        ends = Counter(each.result() for each in asked)
        print(f"of the streams of both processes: {dict(ends)}")
        assert ends.keys() == {"broken", "error"}
        assert server.process.wait(60) == 1, "a supervisor should start it again"
        assert "API process 0 was killed by signal 9" in log.read_text()
        until(lambda: not psutil.wait_procs(children, timeout=1)[1])


def put_an_end_to(process: psutil.Process) -> None:
    """Also to one that is stopped, which no SIGTERM ends."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def end_of_stream(server: Server, begun: set[int]) -> str:
    """How a long answer ends: broken, with an error, or whole. Its thread joins ``begun`` at the first line."""
    lines: list[str] = []
    try:
        for line in stream(server, max_tokens=ENDLESS_TOKENS):
            begun.add(get_ident())
            lines.append(line)
    except httpx.TransportError:
        return "broken"
    return "error" if any('"error"' in line for line in lines) else "whole"

"""Errors are told in words, with what to do; the key, against an application that asks for one."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.cc_serve.playground.conftest import Playground, opened
from tests.support.application import make_app
from tests.support.ports import free_port
from tests.support.server import Server
from tests.support.tiny import LAYERS

GERMAN = "Wer hat das Buch Faust geschrieben?"
KEY = "correct-horse"


def test_a_bad_request_names_the_field(playground: Playground) -> None:
    turn = playground.ask(GERMAN, tokens=100_000)
    problem = turn.locator(".answer.plain .notice")
    expect(problem).to_contain_text("The server cannot use")
    expect(problem).to_contain_text("100000")
    expect(problem).to_contain_text("Change it and ask again.")
    expect(playground.page.locator("#text")).to_be_empty()
    problem.get_by_role("button", name="Edit the question").click()
    expect(playground.page.locator("#text")).to_have_value(GERMAN)
    expect(playground.page.locator("#text")).to_be_focused()


def test_a_server_that_cannot_be_reached_is_asked_again(playground: Playground) -> None:
    page = playground.page
    page.context.set_offline(True)
    turn = playground.ask(GERMAN)
    problems = turn.locator(".notice")
    expect(problems).to_have_count(2)
    expect(problems.first).to_contain_text("The server cannot be reached")
    page.context.set_offline(False)
    problems.first.get_by_role("button", name="Try again").click()
    expect(problems).to_have_count(1)
    expect(turn.locator(".answer.connected .facts")).to_contain_text("tokens")


EVENT = 'data: {"choices": [{"delta": {"content": "Goethe"}}]}\n\n'
FAILURE = 'event: error\ndata: {"type": "error", "error": {"message": "took longer", "code": 504}}\n\n'


@pytest.mark.parametrize(
    ("body", "words"), [(EVENT, "The answer broke off"), (EVENT + FAILURE, "That took too long")], ids=["cut", "error"]
)
def test_an_answer_that_breaks_off_is_an_error(playground: Playground, body: str, words: str) -> None:
    headers = {"Content-Type": "text/event-stream"}
    playground.page.route("**/v1/chat/completions", lambda route: route.fulfill(headers=headers, body=body))
    turn = playground.ask(GERMAN)
    expect(turn.locator(".answer.plain .notice")).to_contain_text(words)
    expect(turn.locator(".answer.plain .text")).to_have_text("Goethe")


@pytest.mark.parametrize(
    ("status", "words", "actions"),
    [
        (403, "Ask whoever runs this server for a key that may.", []),
        (404, "does not have this", []),
        (413, "too long", ["Edit the question"]),
        (422, "cannot use this request", ["Edit the question"]),
        (500, "its log says more", ["Try again"]),
        (503, "busy or stopping", ["Try again"]),
    ],
)
def test_every_status_has_words(playground: Playground, status: int, words: str, actions: list[str]) -> None:
    body = '{"error": {"message": "because"}}'
    playground.page.route("**/v1/chat/completions", lambda route: route.fulfill(status=status, body=body))
    turn = playground.ask(GERMAN)
    expect(turn.locator(".answer.plain .notice")).to_contain_text(words)
    expect(turn.locator(".answer.plain .notice")).to_contain_text("because")
    expect(turn.locator(".answer.plain .notice button")).to_have_text(actions)


def test_the_field_tells_what_to_do_too(playground: Playground) -> None:
    answer = {"status": 503, "headers": {"Retry-After": "7"}, "body": "{}"}
    playground.page.route("**/v1/route", lambda route: route.fulfill(**answer))  # type: ignore[arg-type]
    playground.page.get_by_label("Question", exact=True).fill(GERMAN)
    expect(playground.page.locator("#detected")).to_have_text("The server is busy or stopping. Try again in 7 s.")


@pytest.fixture
def guarded(tmp_path: Path, server: Server) -> Iterator[str]:
    """vLLM's own application with our layer around it, without an engine, where a key may ask once a minute."""
    config = tmp_path / "server.yaml"
    limits = "limits: {per_key: {requests_per_minute: 1}}"
    config.write_text(f"{{keys: {{user: {{sha256: {hash_key(KEY)}}}}}, {limits}}}")
    app = make_app(LiveSettings(config, default_router(), {}), tmp_path)
    cards = server.http.get("/v1/models").json()
    app.state.vllm_config = SimpleNamespace(model_config=SimpleNamespace(get_total_num_hidden_layers=lambda: LAYERS))
    app.state.openai_serving_models = SimpleNamespace(show_available_models=_answering(cards))
    running = uvicorn.Server(uvicorn.Config(app, port=(port := free_port()), log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


def _answering(cards: dict[str, object]) -> object:
    async def show() -> object:
        return SimpleNamespace(model_dump=lambda: cards)

    return show


@pytest.fixture
def locked(browser: Browser, guarded: str) -> Iterator[Playground]:
    yield from opened(browser, guarded)


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def test_the_key_is_asked_for_kept_in_the_tab_and_forgotten(locked: Playground) -> None:
    page = locked.page
    dialog = page.locator("#key-dialog")
    expect(dialog).to_be_visible()
    expect(page.locator("#start-problem")).to_contain_text("This server needs an API key")
    enter(page, "wrong")
    expect(page.locator("#start-problem")).to_contain_text("The API key is not valid")
    expect(dialog).to_be_visible()
    expect(dialog).to_have_accessible_description(re.compile("That key is not valid"))
    enter(page, KEY)
    expect(page.locator("#start-problem")).to_be_empty()
    expect(page.locator("#model")).to_have_text("tiny")
    kept = "() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"
    assert page.evaluate(kept) == [[KEY], [], ""]
    locked.open()
    expect(page.locator("#model")).to_have_text("tiny")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="API key").click()
    expect(dialog).to_have_accessible_description(re.compile("It stays in this tab"))
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#start-problem")).to_contain_text("This server needs an API key")
    assert page.evaluate(kept) == [[], [], ""]


def test_a_rate_that_is_used_up_says_when_to_try_again(locked: Playground) -> None:
    page = locked.page
    enter(page, KEY)
    expect(page.locator("#model")).to_have_text("tiny")
    question = page.get_by_label("Question", exact=True)
    for text in ("Wer war das?", "Wer ist das?"):
        with page.expect_response("**/v1/route"):
            question.fill(text)
    expect(page.locator("#detected")).to_contain_text("Too many requests with this key. The server says: this key")
    turn = locked.ask("Wann ist das?")
    problem = turn.locator(".answer.connected .notice")
    expect(problem).to_contain_text("this key may use 1 request a minute; try again in")
    assert KEY not in page.content()

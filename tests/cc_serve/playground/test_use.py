"""For everybody: keyboard, screen readers, narrow screens, both colour schemes; and the checkpoint's tab."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.cc_serve.playground.conftest import Playground, opened
from tests.support.server import Server
from tests.support.tiny import LAYERS

GERMAN = "Wer hat das Buch Faust geschrieben?"
NARROW = {"width": 375, "height": 740}
WIDE = {"width": 1280, "height": 800}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")
STREAM = {"Content-Type": "text/event-stream"}
LONG = 'data: {"choices": [{"delta": {"content": "' + "Goethe \\n" * 20 + '"}}]}\n\ndata: [DONE]\n\n'


def findings(page: Page) -> list[dict[str, Any]]:
    """What axe holds against the page as it is, if it is serious."""
    page.evaluate("() => Promise.all(document.getAnimations().map(animation => animation.finish()))")
    page.evaluate(AXE)
    violations = page.evaluate("() => axe.run().then(result => result.violations)")
    return [
        {"rule": found["id"], "where": [node["html"][:200] for node in found["nodes"]]}
        for found in violations
        if found["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"]
)
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    browser: Browser, server: Server, scheme: str, viewport: dict[str, int]
) -> None:
    for playground in opened(browser, server.address, color_scheme=scheme, viewport=viewport):
        page = playground.page

        def check(state: str, page: Page = page) -> None:
            assert findings(page) == [], state
            wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide == 0, state

        check("start")
        page.get_by_role("button", name="Options").click()
        playground.ask("ص" * 80 + GERMAN * 4, tokens=60)
        check("answered")
        playground.ask(GERMAN, tokens=100_000)
        check("refused")
        page.get_by_role("button", name="API key").click()
        check("dialog")
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Checkpoint").click()
        expect(page.locator(".heat").first).to_be_visible()
        check("checkpoint")


def test_it_works_with_the_keyboard_alone(playground: Playground) -> None:
    page = playground.page
    playground.limit(12)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the question")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("Wer hat das")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Buch Faust geschrieben?")
    page.keyboard.press("Enter")
    turn = page.locator(".turn")
    expect(turn.locator(".question .text")).to_have_text("Wer hat das\nBuch Faust geschrieben?")
    expect(turn.locator("[aria-busy]")).to_have_count(0)
    expect(page.locator("#text")).to_be_focused()
    page.get_by_role("tab", name="Ask").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Checkpoint")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Checkpoint")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tabpanel", name="Ask")).to_be_visible()


def test_an_input_methods_enter_is_its_own(playground: Playground) -> None:
    field = playground.page.locator("#text")
    field.fill("にほん")
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(playground.page.locator(".turn")).to_have_count(0)


def test_answers_are_announced(playground: Playground) -> None:
    turn = playground.ask(GERMAN, tokens=3)
    heard = playground.page.get_by_role("log").locator("p")
    for side in ("Connected", "Plain"):
        text = turn.locator(f".answer.{side.lower()} .text").text_content()
        expect(heard.filter(has_text=f"{side} answer complete")).to_contain_text(text or "")


def test_the_colours_can_be_turned_and_stay(playground: Playground) -> None:
    page = playground.page
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark", exact=True).click()
    dark = page.evaluate(ground)
    assert dark != light
    playground.open()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Light", exact=True).click()
    assert page.evaluate(ground) == light


def test_the_checkpoints_tab(playground: Playground, server: Server) -> None:
    page = playground.page
    playground.ask(GERMAN, tokens=2)
    page.get_by_role("tab", name="Checkpoint").click()
    table = page.get_by_role("region", name="Languages")
    expect(table.get_by_role("row", name="German German matrix")).to_be_visible()
    expect(table.get_by_role("row", name="French global matrix")).to_be_visible()
    expect(page.locator("#checkpoint")).to_contain_text("cc-train run writes")
    row = page.get_by_role("region", name="Chosen layers by language").get_by_role("row", name="German")
    cells = row.locator(".value")
    expect(cells).to_have_count(LAYERS)
    counts = next(item for item in server.http.get("/v1/layers").json()["data"] if item["language"] == "de")["chosen"]
    shown = [int((text or "").split()[0]) for text in cells.all_text_contents()]
    assert shown == counts
    assert sum(counts) > 0


def test_a_button_of_the_checkpoint_keeps_the_focus(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("tab", name="Checkpoint").click()
    refresh, again = (page.get_by_role("button", name=name) for name in ("Refresh", "Try again"))
    before = refresh.element_handle()
    refresh.press("Enter")
    page.wait_for_function("before => !before.isConnected", arg=before)
    expect(refresh).to_be_focused()
    page.context.set_offline(True)
    refresh.press("Enter")
    expect(again).to_be_focused()
    page.context.set_offline(False)
    again.press("Enter")
    expect(refresh).to_be_focused()


def test_both_maps_have_the_same_columns_and_languages_are_in_order(playground: Playground) -> None:
    page = playground.page
    names = {"sw": "Swahili", "de": "German", "zh": "Chinese"}
    layers = [
        {"language": code, "cosine": [0.5] * LAYERS, "chosen": [0, count] + [0] * (LAYERS - 2)}
        for code, count in zip(names, (1, 10_000, 0), strict=True)
    ]
    page.route("**/v1/layers", lambda route: route.fulfill(json={"layers": LAYERS, "data": layers}))
    page.get_by_role("tab", name="Checkpoint").click()
    fit = page.get_by_role("region", name="Fit by language and layer")
    chosen = page.get_by_role("region", name="Chosen layers by language")
    expect(fit.locator("tbody th")).to_have_text(["Chinese", "German", "Swahili"])
    expect(chosen.locator("tbody th")).to_have_text(["German", "Swahili"])
    expect(page.get_by_role("region", name="Languages").locator("tbody th")).to_have_text(
        ["English", "French", "German"]
    )
    places = (
        "cells => cells.map(cell => { const { left, right } = cell.getBoundingClientRect(); return [left, right]; })"
    )
    first, second = (table.locator("thead th").evaluate_all(places) for table in (fit, chosen))
    assert first == second


def test_how_many_pairs_the_share_is_of(playground: Playground) -> None:
    figures = {"pairs": 3, "transform": {"r2": 0.9, "cosine": 0.8, "agreement": 1 / 3}, "answer_loss": {}}
    answer = {"connections": ["global"], "data": [], "fit": figures}
    playground.page.route("**/v1/languages", lambda route: route.fulfill(json=answer))
    playground.page.get_by_role("tab", name="Checkpoint").click()
    expect(playground.page.locator(".tile").nth(3)).to_have_text("33\u202f%same layer as English, of 3 pairs")


def test_the_page_can_be_used_before_its_questions_are_there(playground: Playground) -> None:
    page = playground.page
    held: list[Route] = []
    page.route("**/questions.json", lambda route: held.append(route))
    page.reload(wait_until="domcontentloaded")
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.get_by_role("button", name="Light", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Checkpoint").click()
    expect(page.locator("#checkpoint")).to_be_visible()
    page.get_by_role("button", name="API key").click()
    expect(page.locator("#key-dialog")).to_be_visible()
    expect(page.locator("#questions li")).to_have_count(0)
    held[0].continue_()
    expect(page.locator("#questions li")).not_to_have_count(0)


@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_composer_hides_no_answer_and_no_focus(browser: Browser, server: Server, viewport: dict[str, int]) -> None:
    for playground in opened(browser, server.address, viewport=viewport):
        page = playground.page
        page.route("**/v1/chat/completions", lambda route: route.fulfill(headers=STREAM, body=LONG))
        turn = playground.ask(GERMAN)
        if viewport is NARROW:
            top = page.locator("#composer").evaluate("composer => composer.getBoundingClientRect().top")
            bottom = turn.locator(".answer.plain").evaluate("card => card.getBoundingClientRect().bottom")
            assert bottom <= top
        copy = turn.get_by_role("button", name="Copy as curl")
        copy.evaluate("button => scrollBy(0, button.getBoundingClientRect().bottom - innerHeight)")
        copy.evaluate("button => button.focus()")
        free = """button => {
            const { left, top, width, height } = button.getBoundingClientRect();
            return document.elementFromPoint(left + width / 2, top + height / 2) === button;
        }"""
        assert copy.evaluate(free)


@pytest.mark.parametrize("kind", ["curl", "Python"])
def test_the_copied_request_gives_the_same_answer(playground: Playground, kind: str) -> None:
    turn = playground.ask("""Wer's "hat" $HOME `id` \\n \\ {x} %s !! 😀 das Buch""", tokens=20)
    turn.get_by_role("button", name=f"Copy as {kind}").click()
    expect(turn.get_by_role("button", name="Copied")).to_be_visible()
    code = playground.page.evaluate("() => navigator.clipboard.readText()")
    answer = turn.locator(".answer.connected .text").text_content() or ""
    if kind == "curl":
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stdout)["choices"][0]["message"]["content"] == answer
    else:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.rstrip("\n") == answer.rstrip("\n")


def test_events_are_the_same_in_whatever_pieces_they_arrive(playground: Playground) -> None:
    stream = ': hello\r\ndata: {"a": "é😀"}\n\nevent: error\rdata: one\rdata:two\r\r\ndata\n\nid: 3\n\ndata: left'
    found = playground.page.evaluate(
        """async (stream) => {
            const { EventParser } = await import("/playground/sse.js");
            const ways = new Set();
            for (let first = 0; first <= stream.length; first++) {
                for (let second = first; second <= stream.length; second++) {
                    const parser = new EventParser();
                    const pieces = [stream.slice(0, first), stream.slice(first, second), stream.slice(second)];
                    ways.add(JSON.stringify(pieces.flatMap((piece) => parser.push(piece))));
                }
            }
            return [...ways];
        }""",
        stream,
    )
    assert [json.loads(way) for way in found] == [
        [
            {"name": "message", "data": '{"a": "é😀"}'},
            {"name": "error", "data": "one\ntwo"},
            {"name": "message", "data": ""},
        ]
    ]

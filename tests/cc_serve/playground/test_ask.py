"""Asking: both answers stream side by side, as the server gives them to anybody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Request, Route, expect

from tests.cc_serve.playground.conftest import Playground, opened
from tests.support.server import ENDLESS, ENDLESS_TOKENS, MODEL, Server, started
from tests.support.tiny import LAYERS

GERMAN = "Wer hat das Buch Faust geschrieben?"
ARABIC = "من كتب كتاب فاوست؟"
STREAM = {"Content-Type": "text/event-stream", "X-CC-Language": "ar"}


def test_two_answers_stream_side_by_side(playground: Playground, server: Server) -> None:
    page = playground.page
    page.evaluate(
        """() => {
            window.seen = { connected: new Set(), plain: new Set() };
            new MutationObserver(() => {
                for (const side of ["connected", "plain"]) {
                    const text = document.querySelector(`.answer.${side} .text`);
                    if (text) window.seen[side].add(text.textContent.length);
                }
            }).observe(document.getElementById("turns"), { childList: true, subtree: true, characterData: true });
        }"""
    )
    turn = playground.ask(GERMAN)
    connected, plain = turn.locator(".answer.connected"), turn.locator(".answer.plain")
    for side, card in ((connected, "auto"), (plain, "off")):
        expected = server.chat(GERMAN, cc_connection=card)[0].choices[0].message.content
        assert side.locator(".text").text_content() == expected
        expect(side.locator(".facts")).to_contain_text("to first token")
        expect(side.locator(".facts")).to_contain_text("tokens/s")
    assert connected.locator(".text").text_content() != plain.locator(".text").text_content()
    assert page.evaluate("() => Math.min(seen.connected.size, seen.plain.size)") > 3, "they came in pieces"
    left, right = (side.evaluate("card => card.getBoundingClientRect().toJSON()") for side in (connected, plain))
    assert left["top"] == right["top"]
    assert left["right"] < right["left"]


def test_the_layer_that_was_chosen_is_lit(playground: Playground, server: Server) -> None:
    turn = playground.ask(GERMAN)
    answer = server.http.post(
        "/v1/chat/completions",
        json={"model": MODEL, "max_tokens": 1, "cc_details": True, "messages": [{"role": "user", "content": GERMAN}]},
    ).json()
    layer = answer["cc_connection"]["prompts"][0]["layer"]
    cells = turn.locator(".answer.connected .cell")
    expect(cells).to_have_count(LAYERS)
    lit = cells.evaluate_all("cells => cells.map(cell => cell.classList.contains('lit'))")
    assert lit == [number == layer for number in range(LAYERS)]
    expect(turn.locator(".answer.connected .layer")).to_have_text(f"Layer {layer} chosen")
    expect(turn.locator(".answer.plain .lit")).to_have_count(0)


@pytest.mark.parametrize(
    ("plain", "obstacle", "words"),
    [
        ("policy", None, "answered plainly: the server's configuration says so"),
        ("not-trained", None, "answered plainly: the connection was not trained for this language"),
        ("obstacle", "beam search", "answered plainly: beam search"),
        ("asked", None, "answered plainly"),
    ],
)
def test_why_an_answer_will_be_plain_is_told(
    playground: Playground, plain: str, obstacle: str | None, words: str
) -> None:
    plan = {"language": "de", "confidence": 0.9, "connection": "off", "plain": plain, "obstacle": obstacle}
    playground.page.route("**/v1/route", lambda route: route.fulfill(json=plan))
    playground.page.get_by_label("Question", exact=True).fill(GERMAN)
    expect(playground.page.locator("#detected")).to_contain_text(words)


def test_the_language_is_told_while_it_is_typed(playground: Playground) -> None:
    page, detected = playground.page, playground.page.locator("#detected")
    question = page.get_by_label("Question", exact=True)
    question.press_sequentially(GERMAN[:20])
    expect(detected).to_contain_text("Deutsch · German")
    expect(detected).to_contain_text("%")
    expect(detected).to_contain_text("German matrix")
    question.fill("Who wrote the book Faust?")
    expect(detected).to_contain_text("English goes plain")
    question.fill("12345")
    expect(detected).to_contain_text("Undetermined")
    question.fill("")
    expect(detected).to_have_text("Type or pick a question")


def test_typing_asks_the_server_only_in_pauses(playground: Playground) -> None:
    asked: list[str] = []
    playground.page.on("request", lambda request: asked.append(request.url) if "v1/route" in request.url else None)
    # Within the page, since a busy machine makes pauses between keys that come from outside.
    playground.page.get_by_label("Question", exact=True).evaluate(
        """async (field, text) => {
            for (const letter of text) {
                await new Promise((resolve) => setTimeout(resolve, 5));
                field.value += letter;
                field.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }""",
        GERMAN,
    )
    expect(playground.page.locator("#detected")).to_contain_text("German")
    assert len(asked) < len(GERMAN) / 4


def test_the_connection_can_be_chosen(playground: Playground, server: Server) -> None:
    menu = playground.page.get_by_label("Connection", exact=True)
    assert menu.locator("option").evaluate_all("options => options.map(option => option.value)") == [
        *("auto", "global", "fr", "de")
    ], "by the name that is shown"
    menu.select_option("fr")
    turn = playground.ask(GERMAN)
    expect(turn.locator(".via")).to_have_text(["global matrix", ""])
    expected = server.chat(GERMAN, cc_connection="fr")[0].choices[0].message.content
    assert turn.locator(".answer.connected .text").text_content() == expected
    expect(turn.locator(".badge")).to_contain_text("French as you say → global matrix")


def test_arabic_runs_from_the_right(playground: Playground) -> None:
    page = playground.page
    arabic = {"language": "ar", "connection": "global", "fit": None}  # of another checkpoint
    page.route("**/v1/languages", lambda route: route.fulfill(json={"connections": ["global"], "data": [arabic]}))
    playground.open()
    expect(page.locator("#languages")).to_have_text("العربية, Arabic")
    sample = page.locator("#questions .text").first
    assert sample.evaluate("element => getComputedStyle(element).direction") == "rtl"
    page.get_by_label("Question", exact=True).fill(ARABIC)
    assert page.locator("#text").evaluate("field => getComputedStyle(field).direction") == "rtl"
    turn = playground.ask(ARABIC, tokens=2)
    assert turn.locator(".question .text").evaluate("element => getComputedStyle(element).direction") == "rtl"
    expect(turn.locator(".badge .pill")).to_have_text("العربية · Arabic")
    assert sides(turn.locator(".question .text")) == ["right"]


def sides(text: Locator) -> list[str]:
    """At which side of its box each line of a text begins."""
    return text.evaluate(
        """element => {
            const range = document.createRange();
            range.selectNodeContents(element);
            const box = element.getBoundingClientRect();
            const lines = [...range.getClientRects()].filter(({ width }) => width > 0);
            const tops = [...new Set(lines.map(({ top }) => top))].sort((one, other) => one - other);
            return tops.map((top) => {
                const line = lines.filter((part) => part.top === top);
                const left = Math.min(...line.map((part) => part.left));
                const right = Math.max(...line.map((part) => part.right));
                return left - box.left < box.right - right ? "left" : "right";
            });
        }"""
    )


def said(answer: str) -> str:
    """The events of a streamed answer."""
    return f"data: {json.dumps({'choices': [{'delta': {'content': answer}}]})}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Goethe كتب هذا الكتاب.\nFaust هو اسم الكتاب.", ["right", "right"]),
        ("The book is called فاوست.\nالكتاب", ["left", "right"]),
        ("Das Buch\nist alt.", ["left", "left"]),
    ],
    ids=["Arabic that begins with a name", "each its own", "German"],
)
def test_an_answer_runs_as_its_script_does(playground: Playground, answer: str, expected: list[str]) -> None:
    playground.page.route("**/v1/chat/completions", lambda route: route.fulfill(headers=STREAM, body=said(answer)))
    turn = playground.ask(ARABIC)
    assert sides(turn.locator(".answer.plain .text")) == expected


def test_screen_readers_are_told_the_language(playground: Playground) -> None:
    page = playground.page
    turn = playground.ask(GERMAN, tokens=2)
    expect(turn.locator(".question .text")).to_have_attribute("lang", "de")
    for card in turn.locator(".answer .text").all():
        expect(card).to_have_attribute("lang", "de")
    expect(page.get_by_role("log").locator("span[lang=de]")).to_have_count(2)
    page.get_by_role("button", name="New conversation").click()
    undetermined = playground.ask("12345", tokens=2)
    expect(undetermined.locator(".badge")).to_contain_text("Undetermined")
    expect(undetermined.locator("[lang]")).to_have_count(0)


@pytest.mark.parametrize("tokens", ["0", ""])
def test_a_setting_that_cannot_be_is_shown_and_nothing_sent(playground: Playground, tokens: str) -> None:
    page = playground.page
    page.locator("#max-tokens").evaluate("(field, tokens) => (field.value = tokens)", tokens)
    page.get_by_label("Question", exact=True).fill(GERMAN)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Longest answer")).to_be_focused()
    expect(page.get_by_role("button", name="Options")).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".turn")).to_have_count(0)


def test_a_sample_is_asked_as_it_is_and_its_answer_shown(playground: Playground) -> None:
    page = playground.page
    page.get_by_label("Deutsch").check()
    page.locator("#questions button", has_text="Elche").click()
    text = page.locator("#text").input_value()
    assert text.startswith("Bitte beantworten Sie")
    page.keyboard.press("Enter")
    turn = page.locator(".turn")
    assert turn.locator(".question > [dir]").all_text_contents() == text.split("\n\n")
    expect(turn).to_contain_text("Reference answer (data set): Idaho")
    expect(page.locator("#examples")).to_be_hidden()


def test_each_side_goes_on_from_its_own_answers(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("button", name="Options").click()
    page.get_by_label("System prompt").fill("Kurz!")
    page.get_by_label("Temperature").fill("0.15")
    page.get_by_label("Strength of the connection").fill("0.5")
    first = playground.ask(GERMAN, tokens=6)
    said = {side: first.locator(f".answer.{side} .text").text_content() for side in ("connected", "plain")}
    sent: list[dict[str, object]] = []

    def note(request: Request) -> None:
        if request.url.endswith("chat/completions"):
            sent.append(json.loads(request.post_data or ""))

    page.on("request", note)
    playground.ask("Und wann?", tokens=6)
    bodies = {"plain" if body["cc_connection"] == "off" else "connected": body for body in sent}
    for side, body in bodies.items():
        assert body["messages"] == [
            {"role": "system", "content": "Kurz!"},
            {"role": "user", "content": GERMAN},
            {"role": "assistant", "content": said[side]},
            {"role": "user", "content": "Und wann?"},
        ]
        assert (body["temperature"], body["max_tokens"], body["cc_details"]) == (0.15, 6, True)
        assert body.get("cc_strength") == (0.5 if side == "connected" else None)
    assert len(bodies) == 2
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    sent.clear()
    playground.ask(GERMAN, tokens=2)
    assert all(len(body["messages"]) == 2 for body in sent)  # type: ignore[arg-type]


@pytest.fixture
def endless(browser: Browser, checkpoint: Path, tmp_path: Path) -> Iterator[tuple[Playground, Server]]:
    """The page of a server whose answers can be so long that nobody is too late to stop one."""
    with started(checkpoint, tmp_path / "log", *ENDLESS) as server:
        for playground in opened(browser, server.address):
            yield playground, server


def test_stop_keeps_what_came_and_ends_it_in_the_engine(endless: tuple[Playground, Server]) -> None:
    playground, server = endless
    page = playground.page

    def lengthen(route: Route) -> None:
        long = {"ignore_eos": True, "max_tokens": ENDLESS_TOKENS}
        route.continue_(post_data={**json.loads(route.request.post_data or ""), **long})

    page.route("**/v1/chat/completions", lengthen)
    page.evaluate(
        """() => {
            const said = (side) => document.querySelector(`.answer.${side} .text`)?.textContent;
            new MutationObserver((_, observer) => {
                if (!said("connected") || !said("plain")) return;
                observer.disconnect();
                document.getElementById("stop").click();
            }).observe(document.getElementById("turns"), { childList: true, subtree: true, characterData: true });
        }"""
    )
    turn = playground.ask(GERMAN, wait=False)
    expect(turn.locator("[aria-busy]")).to_have_count(0)
    expect(turn.locator(".ending")).to_have_text(["stopped", "stopped"])
    length = len(turn.locator(".answer.plain .text").text_content() or "")
    assert 0 < length < ENDLESS_TOKENS
    page.unroute("**/v1/chat/completions")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_focused()
    again = playground.ask(GERMAN, tokens=4)
    expect(again.locator(".facts").first).to_contain_text("tokens")
    outcomes = server.http.get("/metrics").text
    assert 'outcome="disconnected"' in outcomes


def test_what_is_said_is_text_and_never_markup(playground: Playground) -> None:
    attack = "<img src=x onerror=alert(1)><b>Wer</b>"
    turn = playground.ask(attack, tokens=2)
    assert turn.locator(".question .text").text_content() == attack
    expect(playground.page.locator(".turn img, .turn .question .text b")).to_have_count(0)

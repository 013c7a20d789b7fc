"""A headless Chromium for these tests, and the page in it. Whatever the page says to the console fails the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.server import Server

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make install`")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# No test waits that long on a machine at rest.
PATIENCE = 30_000


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is installed: `make browser` installs one")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program)
        yield launched
        launched.close()


@dataclass
class Playground:
    """The page, and what its user does with it."""

    page: Page
    address: str

    def open(self, fragment: str = "") -> None:
        self.page.goto(f"{self.address}/playground{fragment}")
        expect(self.page.locator("#model")).not_to_have_text("Connecting …")

    def limit(self, tokens: int) -> None:
        """Set the longest answer."""
        self.page.locator("#max-tokens").evaluate("(field, tokens) => (field.value = tokens)", tokens)

    def ask(self, text: str, *, wait: bool = True, tokens: int = 12) -> Locator:
        """Ask, and return the newest turn, with both answers unless they are not to be waited for."""
        self.limit(tokens)
        self.page.get_by_label("Question", exact=True).fill(text)
        self.page.get_by_role("button", name="Ask", exact=True).click()
        turn = self.page.locator(".turn").last
        if wait:
            expect(turn.locator("[aria-busy]")).to_have_count(0)
        return turn


@pytest.fixture
def playground(browser: Browser, server: Server) -> Iterator[Playground]:
    yield from opened(browser, server.address)


def opened(browser: Browser, address: str, **options: object) -> Iterator[Playground]:
    """The page in a window of its own."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said: list[str] = []
    # Chromium reports every status above 399 there; those are what the page tells its reader about.
    page.on("console", lambda message: said.append(message.text) if "Failed to load" not in message.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    playground = Playground(page, address)
    playground.open()
    yield playground
    context.close()
    assert said == []

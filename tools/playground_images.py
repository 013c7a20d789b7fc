"""Take the screenshots of the playground in docs/images.

    python -m tools.playground_images URL

URL is that of a running server.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES: Final = Path("docs/images")
PROGRAM: Final = "/usr/bin/chromium-headless-shell"
DESKTOP: Final = {"width": 1280, "height": 800}
TABLET: Final = {"width": 800, "height": 1000}
TELEPHONE: Final = {"width": 375, "height": 845}
ANSWER_SECONDS: Final = 120
TOKENS: Final = 24
#: A question that the demo's model answers in a word.
QUESTION: Final = "¿Cuál es la capital de Genovia?"


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL", help="of a server, such as http://127.0.0.1:8000")
    parser.add_argument("--output", type=Path, default=IMAGES, metavar="DIR")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM)
        take(browser, options.url, options.output)
        browser.close()


def take(browser: Browser, url: str, output: Path) -> None:
    """Take every state and width that docs/playground.md shows."""
    output.mkdir(parents=True, exist_ok=True)
    with opened(browser, url, viewport=DESKTOP, color_scheme="light") as page:
        page.get_by_label("Question", exact=True).fill(QUESTION)
        send(page)
        save(page, output / "playground-light.png")
        page.get_by_role("button", name="New conversation").click()
        for language in ("ไทย", "Türkçe", "Deutsch", "Русский"):
            ask(page, language)
            page.get_by_role("button", name="New conversation").click()
        page.get_by_role("tab", name="Checkpoint").click()
        expect(page.locator(".heat").last).to_be_visible()
        save(page, output / "playground-checkpoint.png", full=True)
    with opened(browser, url, viewport=TABLET, color_scheme="dark") as page:
        ask(page, "日本語")
        save(page, output / "playground-dark.png")
    with opened(browser, url, viewport=TELEPHONE, color_scheme="light", device_scale_factor=2) as page:
        ask(page, "العربية")
        save(page, output / "playground-narrow.png")


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """The page, once it has read the server's connections."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.goto(f"{url}/playground")
    expect(page.locator("#connection option").nth(1)).to_be_attached()
    yield page
    context.close()


def ask(page: Page, language: str) -> None:
    """Ask a language's second question, and wait for both answers."""
    page.get_by_role("radio", name=language).check()
    page.locator("#questions button").nth(1).click()
    send(page)


def send(page: Page) -> None:
    """Ask what is in the field, and wait for both answers."""
    page.locator("#max-tokens").evaluate("(field, tokens) => (field.value = tokens)", TOKENS)
    page.get_by_role("button", name="Ask", exact=True).click()
    turn = page.locator(".turn").last
    expect(turn.locator(".facts b").first).to_be_visible(timeout=1000 * ANSWER_SECONDS)
    expect(turn.locator("[aria-busy]")).to_have_count(0, timeout=1000 * ANSWER_SECONDS)
    turn.scroll_into_view_if_needed()


def save(page: Page, path: Path, *, full: bool = False) -> None:
    """Write a screenshot with a palette, which takes a third of the space."""
    page.wait_for_timeout(400)  # transitions
    picture = Image.open(io.BytesIO(page.screenshot(full_page=full)))
    picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()

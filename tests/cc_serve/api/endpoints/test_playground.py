"""The playground's page as it is served; tests/cc_serve/playground uses it in a browser."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector
from cc_core.names import ENGLISH
from cc_serve.api.endpoints.playground import PATH, page_files, sample_questions
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router
from tests.support.application import make_app, write_keys
from tools.playground_questions import PER_LANGUAGE

FILES = page_files()
TEXTS = {path: file.content.decode() for path, file in FILES.items() if path.endswith((".js", ".css")) or path == PATH}


def client(tmp_path: Path, *flags: str) -> TestClient:
    """Of an application that needs a key."""
    config = write_keys(tmp_path / "server.yaml")
    return TestClient(make_app(LiveSettings(config, default_router(), {}), tmp_path, *flags))


def test_the_page_needs_no_key_and_what_it_asks_for_does(tmp_path: Path) -> None:
    browser = client(tmp_path)
    for path, file in FILES.items():
        answer = browser.get(path)
        assert (answer.status_code, answer.content) == (200, file.content), path
        assert answer.headers["Content-Type"].partition(";")[0] == file.media_type
    for path in ("v1/models", "v1/languages", "v1/layers"):
        assert browser.get(f"/{path}").status_code == 401
    assert browser.post("/v1/route", json={"prompt": "a"}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/playground/", "/playground/../v1/models", "/playground/none.js", "/playground//app.js"]
)
def test_nothing_else_below_it_is_open(tmp_path: Path, path: str) -> None:
    assert client(tmp_path).get(path, follow_redirects=False).status_code == 401


def test_a_flag_turns_it_off(tmp_path: Path) -> None:
    browser = client(tmp_path, "--no-playground")
    assert {browser.get(path).status_code for path in FILES} == {401}
    assert {browser.get(path, headers={"x-api-key": "user"}).status_code for path in FILES} == {404}


def test_the_policy_allows_this_server_and_nothing_inline(tmp_path: Path) -> None:
    headers = client(tmp_path).get(PATH).headers
    policy = dict(item.split(" ", 1) for item in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert {policy[kind] for kind in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_everything_that_the_page_loads_is_there() -> None:
    html = TEXTS[PATH]
    assert {f"/{name}" for name in re.findall(r'(?:src|href)="(?!#)([^"]+)"', html)} <= FILES.keys()
    for path, text in TEXTS.items():
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert f"{PATH}/{module}" in FILES, (path, module)
        assert not re.search(r"https?://(?!www\.w3\.org)", text), f"{path} names another server"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path
    assert not re.search(r'\son\w+="|\sstyle="|<style', html)


def test_every_id_that_a_script_looks_for_is_on_the_page() -> None:
    ids = re.findall(r'\bid="([^"]+)"', TEXTS[PATH])
    assert len(ids) == len(set(ids))
    wanted = {name for text in TEXTS.values() for name in re.findall(r'byId\("([^"]+)"\)', text)}
    assert wanted
    assert wanted <= set(ids)


def test_every_served_language_has_questions_that_are_in_it() -> None:
    questions = sample_questions()
    asked = [row["english"] for rows in questions.values() for row in rows]
    assert not any("to be impeached" in text or "present governor" in text for text in asked), "they were true in 2019"
    assert questions.keys() == set(SERVED_LANGUAGES)
    detector = LanguageDetector()
    for language, samples in questions.items():
        assert 3 <= len(samples) <= PER_LANGUAGE
        assert all(sample.keys() == {"text", "english", "answer"} for sample in samples)
        found = [detector.detect(sample["text"]).language for sample in samples]
        assert found == [language] * len(samples), (language, found)
        assert (samples[0]["text"] == samples[0]["english"]) == (language == ENGLISH)


def test_it_is_in_the_package() -> None:
    names = {source.name for source in (resources.files("cc_serve") / "playground").iterdir()}
    assert names - {"index.html", "questions.jsonl", "README.md"} == {Path(path).name for path in FILES} - {
        "playground",
        "questions.json",
    }

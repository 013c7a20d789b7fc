"""The settings in force: who a caller is, what applies to it, and reloads that happen whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cc_serve.config.configuration import Configuration, ConfigurationError
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings, Settings
from cc_serve.routing.router import Router

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
router = Router(["global", "de"], ["de", "fr"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(
        tmp_path / "server.yaml",
        f"""
        limits: {{per_key: {{requests_per_minute: 60}}, choices: 4}}
        keys:
          alice: {{sha256: {hash_key("a")}, admin: true, limits: {{requests_per_minute: 5}}}}
          bob: {{sha256: {hash_key("b")}, routing: {{connections: {{de: global}}}}}}
        """,
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_caller_is_known_by_its_key(file: Path) -> None:
    settings = LiveSettings(file, router, {"env": hash_key("e")}).current
    alice, bob, given = (settings.caller(key) for key in ("a", "b", "e"))
    assert alice
    assert bob
    assert given
    assert [caller.name for caller in (alice, bob, given)] == ["alice", "bob", "env"]
    assert [caller.admin for caller in (alice, bob, given)] == [True, False, False]
    assert [caller.key_limits.requests_per_minute for caller in (alice, bob, given)] == [5, 60, 60]
    assert [caller.router.route([GERMAN]).connection for caller in (alice, bob, given)] == ["de", "global", "de"]
    assert {caller.limits.choices for caller in (alice, bob, given)} == {4}
    unknown = ("c", "", "A", hash_key("a"), "a\udcff", None)
    assert {settings.caller(key) for key in unknown} == {None}


@pytest.mark.parametrize(
    ("keys", "open_paths", "several"),
    [
        ("ab", "[]", True),
        ("a", "[]", False),
        ("a", "[/metrics, /v1/models, /health, /load]", False),
        ("a", "[/health, /v1/chat/completions]", True),
        ("a", "[/cohere/v2/chat]", True),
        ("", "[]", False),
    ],
)
def test_places_are_shared_where_others_can_take_one(keys: str, open_paths: str, several: bool, tmp_path: Path) -> None:
    given = ", ".join(f"{key}: {{sha256: {hash_key(key)}}}" for key in keys)
    file = write(tmp_path / "server.yaml", f"keys: {{{given}}}\nopen_paths: {open_paths}")
    callers = LiveSettings(file, router, {}).current.callers
    assert {caller.among_others for caller in callers.values()} == {several}


def test_many_keys_take_no_longer_than_few() -> None:
    settings = Settings(Configuration(), router, {f"key{number}": hash_key(f"{number}") for number in range(5000)})
    started = time.thread_time()  # what others have of the core does not count
    for number in range(4000, 5000):
        caller = settings.caller(str(number))
        assert caller is not None
        assert caller.name == f"key{number}"
    assert time.thread_time() - started < 0.2, "a comparison with each would take a second"


def test_without_keys_everybody_is_let_in() -> None:
    settings = LiveSettings(None, router, {}).current
    assert settings.caller(None) is settings.caller("anything") is settings.anonymous
    assert settings.anonymous.name is None
    assert not settings.anonymous.admin


@pytest.mark.parametrize("given", [{"alice": hash_key("x")}, {"x": hash_key("a")}])
def test_a_key_that_is_also_given_otherwise_is_refused(file: Path, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=rf"server\.yaml: keys\.{next(iter(given))}: is also given"):
        LiveSettings(file, router, given)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("routing: {languages: [sw]}", "routing.languages.0: 'sw' is no language here"),
        (f"keys: {{a: {{sha256: {hash_key('a')}, routing: {{default: sw}}}}}}", "keys.a.routing.default: 'sw'"),
    ],
)
def test_a_policy_beyond_the_checkpoint_is_told_by_file_and_field(tmp_path: Path, text: str, place: str) -> None:
    path = write(tmp_path / "server.yaml", text)
    with pytest.raises(ConfigurationError) as caught:
        LiveSettings(path, router, {})
    assert str(caught.value).startswith(f"{path}: {place}")


def test_a_reload_takes_all_of_the_new_file(file: Path) -> None:
    live = LiveSettings(file, router, {})
    before = live.current
    write(file, f"keys: {{carol: {{sha256: {hash_key('c')}}}}}\nrouting: {{languages: [fr]}}\nopen_paths: [/metrics]")
    live.reload()
    assert live.current.caller("a") is None
    carol = live.current.caller("c")
    assert carol
    assert carol.router.route([GERMAN]).connection == "off"
    assert live.current.open_paths == {"/metrics"}
    assert before.caller("c") is None, "requests that are running go by what they began with"


@pytest.mark.parametrize("text", ["limits: {choices: 0}", "routing: {languages: [sw]}", "a: ["])
def test_a_bad_file_leaves_everything_as_it_was(file: Path, text: str) -> None:
    live = LiveSettings(file, router, {})
    before = live.current
    write(file, f"keys: {{}}\n{text}")
    with pytest.raises(ConfigurationError):
        live.reload()
    assert live.current is before
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        live.reload()
    assert live.current is before


@pytest.mark.parametrize("text", ["", "limits: {choices: 4}", "keys: {}"])
def test_a_file_that_lost_its_keys_opens_nothing(file: Path, text: str) -> None:
    live = LiveSettings(file, router, {})
    before = live.current
    write(file, text)
    with pytest.raises(ConfigurationError, match="has no keys any more"):
        live.reload()
    assert live.current is before
    LiveSettings(file, router, {"env": hash_key("e")}).reload()


def test_given_keys_survive_a_reload(file: Path) -> None:
    live = LiveSettings(file, router, {"one": hash_key("1")})
    live.give({"two": hash_key("2")})
    live.reload()
    assert [caller.name for key in "12" if (caller := live.current.caller(key))] == ["one", "two"]


def test_the_store_is_chosen_at_the_start(tmp_path: Path) -> None:
    file = write(tmp_path / "server.yaml", "limits: {choices: 3, store: redis://localhost}")
    live = LiveSettings(file, router, {})
    write(file, "limits: {choices: 4, store: {url: redis://localhost}}")
    live.reload()
    assert live.current.anonymous.limits.choices == 4
    for other in ("limits: {store: redis://elsewhere}", "", "limits: {store: {url: redis://localhost, prefix: a}}"):
        write(file, other)
        with pytest.raises(ConfigurationError, match=r"limits\.store: has changed"):
            live.reload()

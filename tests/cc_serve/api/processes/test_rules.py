"""What several API processes cannot do: refused at the start, and at a reload, naming what to change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from cc_serve.api.arguments import parse_arguments
from cc_serve.api.processes.rules import check_limits
from cc_serve.config.configuration import Configuration, ConfigurationError
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Parsing sets variables for the engine."""
    with mock.patch.dict(os.environ):
        yield


@pytest.mark.parametrize(("flags", "count"), [((), 1), (("--api-server-count", "1"), 1), (("-asc", "3"), 3)])
def test_the_flag_says_how_many(tmp_path: Path, flags: tuple[str, ...], count: int) -> None:
    assert parse_arguments([str(tmp_path), *flags]).api_server_count == count


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_server_has_a_process(tmp_path: Path, count: str) -> None:
    with pytest.raises(ValueError, match=f"--api-server-count {count}: a server has at least 1"):
        parse_arguments([str(tmp_path), f"--api-server-count={count}"])


@pytest.mark.parametrize("flag", ["--enable-server-load-tracking", "--enable-elastic-ep"])
def test_what_one_process_would_keep_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} does not go with --api-server-count 2"):
        parse_arguments([str(tmp_path), "--api-server-count", "2", flag])
    assert parse_arguments([str(tmp_path), flag]).api_server_count == 1


@pytest.mark.parametrize("name", ["VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ENABLE_RESPONSES_API_STORE"])
def test_what_the_environment_asks_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(os.environ, name, "1")
    with pytest.raises(ValueError, match=f"{name} does not go with --api-server-count 2"):
        parse_arguments([str(tmp_path), "--api-server-count", "2"])


def test_vllms_own_bound_of_queued_tokens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--max-num-queued-tokens does not go with --api-server-count 2"):
        parse_arguments([str(tmp_path), "--api-server-count", "2", "--max-num-queued-tokens", "9"])


def configured(per_key: dict[str, object], of_alice: dict[str, object], **more: object) -> Configuration:
    keys = {"alice": {"sha256": hash_key("a"), "limits": of_alice}}
    limits = {"per_key": per_key, **({"store": more["store"]} if "store" in more else {})}
    usage = {"file": more["file"]} if "file" in more else {}
    return Configuration.model_validate({"limits": limits, "keys": keys, "usage": usage})


@pytest.mark.parametrize("field", ["requests_per_minute", "tokens_per_minute", "concurrent_requests"])
def test_limits_that_each_process_would_count_for_itself_are_refused(field: str) -> None:
    for configuration, section in (
        (configured({field: 5}, {}), "limits.per_key"),
        (configured({}, {field: 5}), "keys.alice.limits"),
    ):
        with pytest.raises(ConfigurationError, match=rf"^{section}\.{field}: each of 2 .* `limits.store`"):
            check_limits(configuration, 2)
        check_limits(configuration, 1)


def test_budgets_need_the_store_too(tmp_path: Path) -> None:
    budget = {"budget": {"tokens_per_day": 5}}
    with pytest.raises(ConfigurationError, match=r"^limits\.per_key\.budget\.tokens_per_day: "):
        check_limits(configured(budget, {}, file=tmp_path / "usage"), 2)


def test_with_a_store_or_without_limits_nothing_is_refused(tmp_path: Path) -> None:
    check_limits(configured({"requests_per_minute": 5}, {}, store="redis://localhost"), 2)
    check_limits(configured({}, {}, file=tmp_path / "usage"), 2)


def test_a_reload_is_refused_for_the_same(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("limits: {choices: 3}")
    settings = LiveSettings(path, default_router(), {})
    settings.require(lambda configuration: check_limits(configuration, 2))
    path.write_text("limits: {choices: 4, per_key: {requests_per_minute: 1}}")
    with pytest.raises(ConfigurationError, match=r"server\.yaml: limits\.per_key\.requests_per_minute: "):
        settings.reload()
    assert settings.current.anonymous.limits.choices == 3

"""The flags: vLLM's own, with this project's defaults wherever nothing else was said."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

import cc_serve.api.defaults
from cc_serve.api.arguments import parse_arguments
from cc_serve.api.server import StartError, serve
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router

Parse = Callable[..., Namespace]


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        os.environ.pop("VLLM_USE_V2_MODEL_RUNNER", None)
        yield


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    directory = tmp_path / "my-model"
    directory.mkdir()
    return lambda *flags: parse_arguments([str(directory), *flags])


def test_defaults(parse: Parse) -> None:
    parsed = parse()
    assert Path(parsed.model).name == "my-model"
    assert parsed.served_model_name == ["my-model"]
    assert parsed.shutdown_timeout == 30
    assert parsed.port == 8000
    assert "VLLM_USE_V2_MODEL_RUNNER" not in os.environ  # the choice is vLLM's
    assert os.environ["VLLM_USE_AOT_COMPILE"] == "0"


def test_flags_override_the_defaults(parse: Parse) -> None:
    flags = ("--served-model-name", "a", "b", "--shutdown-timeout", "0", "--dtype", "float16", "--port", "9")
    parsed = parse(*flags)
    assert parsed.served_model_name == ["a", "b"]
    assert (parsed.shutdown_timeout, parsed.dtype, parsed.port) == (0, "float16", 9)


def test_a_configuration_file_overrides_the_defaults_and_flags_override_it(parse: Parse, tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("shutdown-timeout: 7\nport: 9\nserved-model-name: configured\n")
    parsed = parse("--config", str(file), "--port", "10")
    assert (parsed.shutdown_timeout, parsed.port, parsed.served_model_name) == (7, 10, ["configured"])


@pytest.mark.parametrize(("capable", "dtype"), [(True, "auto"), (False, "float32")])
def test_a_cpu_without_bfloat16_uses_float32(parse: Parse, capable: bool, dtype: str) -> None:
    platform = mock.Mock(is_cpu=lambda: True)
    with (
        mock.patch.object(cc_serve.api.defaults, "current_platform", platform),
        mock.patch("torch.cpu.get_capabilities", return_value={"avx2": True, "avx512_bf16": capable}),
    ):
        parsed = parse()
    assert parsed.dtype == dtype
    assert parsed.kv_cache_memory_bytes == 1 << 30


def test_a_gpu_keeps_vllms_defaults(parse: Parse) -> None:
    with mock.patch.object(cc_serve.api.defaults, "current_platform", mock.Mock(is_cpu=lambda: False)):
        parsed = parse()
    assert (parsed.dtype, parsed.kv_cache_memory_bytes) == ("auto", None)
    assert "VLLM_USE_AOT_COMPILE" not in os.environ


@pytest.mark.parametrize("runner", ["0", "1"])
def test_the_users_environment_stays(parse: Parse, runner: str) -> None:
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = runner
    parse()
    assert os.environ["VLLM_USE_V2_MODEL_RUNNER"] == runner


def test_a_model_runner_that_there_is_not(parse: Parse) -> None:
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "v2"
    with pytest.raises(ValueError, match="VLLM_USE_V2_MODEL_RUNNER='v2' is no model runner: unset it"):
        parse()


@pytest.mark.parametrize(
    "flags",
    [("--grpc",), ("--headless",)],
)
def test_front_ends_without_routing_are_refused(parse: Parse, flags: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"{flags[0]}.* without language routing"):
        parse(*flags)


def test_a_server_without_a_tokenizer_is_refused(parse: Parse) -> None:
    with pytest.raises(ValueError, match="--skip-tokenizer-init leaves no text"):
        parse("--skip-tokenizer-init")


@pytest.mark.parametrize("flag", ["--enable-scale-out", "--tokens-only"])
def test_generating_from_tokens_is_refused_for_what_it_is(parse: Parse, flag: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} generates from token ids, which have no language"):
        parse(flag)


@pytest.mark.parametrize(
    ("flags", "backend"),
    [
        ((), "xgrammar"),
        (("--reasoning-parser", "qwen3"), "xgrammar"),
        (("--structured-outputs-config", '{"disable_any_whitespace": false}'), "xgrammar"),
        (("--structured-outputs-config.backend", "auto"), "xgrammar"),
        (("--structured-outputs-config.backend", "guidance"), "guidance"),
    ],
)
def test_no_request_chooses_the_grammar_backend_for_all(parse: Parse, flags: tuple[str, ...], backend: str) -> None:
    assert parse(*flags).structured_outputs_config.backend == backend


def test_flags_at_odds_are_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--enable-log-outputs requires --enable-log-requests"):
        serve(tmp_path, LiveSettings(None, default_router(), {}), ["--enable-log-outputs"])


def test_unknown_flags_are_a_usage_error(parse: Parse, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("--no-such-flag")
    assert caught.value.code == 2
    assert "--no-such-flag" in capsys.readouterr().err


def test_vllms_own_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help=max-model-len"])
    assert caught.value.code == 0
    assert "--max-model-len" in capsys.readouterr().out

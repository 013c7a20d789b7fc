"""A pytest plugin: in the place of the server that vLLM's tests would start, one that runs.

It stands in for their ``tests.utils``, whose other names are for tests that need more than a server; those are not
collected.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from types import ModuleType, TracebackType
from typing import Any, Final, Self

import openai
import pytest
from vllm.transformers_utils import repo_utils

#: The address of the server that runs, and the directory of its base model.
ADDRESS: Final = "VLLM_TESTS_ADDRESS"
MODEL: Final = "VLLM_TESTS_MODEL"
#: A test may take so long, downloads that it tries included.
TEST_SECONDS: Final = 20


class RemoteOpenAIServer:
    """The server that runs, as vLLM's tests use one. It ignores model and flags."""

    DUMMY_API_KEY: Final = "none"

    def __init__(self, model: str, vllm_serve_args: object = None, **options: object) -> None:
        self._address = os.environ[ADDRESS]
        self.host, _, port = self._address.rpartition("//")[2].partition(":")
        self.port = int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def url_root(self) -> str:
        return self._address

    def url_for(self, *parts: str) -> str:
        return "/".join([self._address, *parts])

    def get_client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**self._options(options))

    def get_async_client(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._options(options))

    def get_client_anthropic(self, **options: Any) -> Any:
        import anthropic

        return anthropic.Anthropic(base_url=self._address, api_key="none", max_retries=0, **options)

    def get_async_client_anthropic(self, **options: Any) -> Any:
        import anthropic

        return anthropic.AsyncAnthropic(base_url=self._address, api_key="none", max_retries=0, **options)

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": f"{self._address}/v1", "api_key": "none", "max_retries": 0, "timeout": 120, **options}


def pytest_configure(config: pytest.Config) -> None:
    """Replace what vLLM's tests import, before any of them is imported."""
    utils: Any = ModuleType("tests.utils")
    utils.RemoteOpenAIServer = RemoteOpenAIServer
    sys.modules["tests.utils"] = utils
    repo_utils.hf_api = _Hub  # type: ignore[assignment]
    signal.signal(signal.SIGALRM, _give_up)


class _Hub:
    """Stands in for the hub, from which fixtures download a model: the model is there already."""

    def snapshot_download(self, **options: object) -> str:
        return os.environ[MODEL]


def _give_up(number: int, frame: object) -> None:
    raise TimeoutError(f"no end within {TEST_SECONDS} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    signal.alarm(TEST_SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that ask no server."""
    asking = [item for item in items if any("server" in name for name in getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in asking])
    items[:] = asking

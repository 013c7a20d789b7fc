"""The tests of a vLLM release, from its source distribution. Nothing of them is kept in the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_MODEL: Final = re.compile(r'^MODEL_NAME = (?:"[^"]*"|\([^)]*\))$', re.MULTILINE)


class FetchError(RuntimeError):
    """The tests cannot be had; the message says why."""


def fetch(version: str, directory: Path) -> Path:
    """Put the release's ``tests`` into ``directory``, unless they are there.

    pip downloads a source distribution only to build what tells its requirements. That fails at once in an environment
    that lacks torch, and leaves the unpacked source behind.

    Raises:
        FetchError: there is no such release, it has no tests, or there is no connection to the package index.
    """
    if (directory / "tests").is_dir():
        return directory
    with tempfile.TemporaryDirectory(prefix="vllm-source-") as scratch:
        bare = Path(scratch) / "bare"
        subprocess.run([sys.executable, "-m", "venv", str(bare)], check=True)
        command = [str(bare / "bin/python"), "-m", "pip", "download", "--no-clean", "--no-deps", "--no-build-isolation"]
        ran = subprocess.run(
            [*command, "--no-binary", ":all:", "--dest", scratch, f"vllm=={version}"],
            capture_output=True,
            text=True,
            env=os.environ | {"TMPDIR": scratch},
        )
        found = list(Path(scratch).glob("pip-download-*/vllm_*/tests"))
        if not found:
            last = (ran.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise FetchError(f"no tests of vLLM {version} were found: {last}")
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(found[0], partial / "tests")
    partial.rename(directory)
    return directory


def name_model(directory: Path, model: Path) -> None:
    """Let all test modules ask for ``model``, whichever they name: they read its tokenizer, too."""
    for file in (directory / "tests/entrypoints").rglob("*.py"):
        text = file.read_text("utf-8")
        named = _MODEL.sub(lambda _: f'MODEL_NAME = "{model}"', text)
        if named != text:
            file.write_text(named, "utf-8")

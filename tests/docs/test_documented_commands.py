"""Every command block of the README and the documentation is run here, or a comment above it says why it is not.

``<!-- not run: REASON -->`` is for what needs a GPU, a cluster or minutes; ``<!-- run by: FILE -->`` for what another
test runs. The others are run as they stand, in a directory that looks like a checkout after ``make run``, against the
one server of these tests; its port and its model's name are put in place of the documentation's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.server import MODEL, Server
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

LANGUAGES = ("bash", "python", "sh", "shell")
GENERATED = ("reference/", "notebooks/")
SECONDS = 900
# A block and, right above it, the comment about it.
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.DOTALL | re.M
)


@dataclass(frozen=True)
class Block:
    """A block of commands."""

    page: str
    number: int
    language: str
    code: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def pages(entry: object) -> list[str]:
    """The paths in a navigation of MkDocs."""
    if isinstance(entry, str):
        return [] if entry.startswith(GENERATED) else [f"docs/{entry}"]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages(part)]  # type: ignore[attr-defined]


def blocks() -> list[Block]:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    found = []
    for page in ["README.md", *pages(nav)]:
        for number, match in enumerate(BLOCK.finditer((ROOT / page).read_text("utf-8")), start=1):
            if match["language"] in LANGUAGES:
                found.append(Block(page, number, match["language"], match["code"], match["mark"] or ""))
    return found


BLOCKS = blocks()
RUN = [block for block in BLOCKS if not block.mark]


@pytest.fixture(scope="module")
def checkout(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the documentation's commands name."""
    directory = tmp_path_factory.mktemp("checkout")
    for name in ("recipes", "cc_core", "cc_train", "cc_serve", "tools", "benchmarks", "loadtests", "deploy"):
        (directory / name).symlink_to(ROOT / name)
    (directory / "models").mkdir()
    save_base(directory / "models" / "gemma3-270m", tiny_llama())
    (directory / "outputs").mkdir()
    (directory / "outputs" / "demo").symlink_to(checkpoint)
    (directory / ".venv").symlink_to(sys.prefix)
    write_rows(directory / "mine.jsonl", word_rows())
    (directory / "server.yaml").write_text("limits: {choices: 4}\n")
    return directory


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_does_what_it_says(block: Block, checkout: Path, server: Server) -> None:
    code = block.code.replace("http://127.0.0.1:8000", server.address).replace('"demo"', f'"{MODEL}"')
    # Whoever runs these tests may have a server of their own on the usual port.
    code = code.replace("cc-serve doctor", f"cc-serve doctor --port {free_port()}")
    code = code.replace(".venv/bin/", "").replace("curl ", "curl --silent --show-error --fail-with-body ")
    command = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark], ids=str)
def test_what_is_not_run_here_says_why(block: Block) -> None:
    kind, _, text = block.mark.partition(": ")
    assert kind in ("not run", "run by")
    assert len(text) > 4
    if kind == "run by":
        assert (ROOT / text).is_file()


def test_most_blocks_have_been_found() -> None:
    texts = [(ROOT / page).read_text("utf-8") for page in {block.page for block in BLOCKS}]
    fences = sum(len(re.findall(rf"^\s*```(?:{'|'.join(LANGUAGES)})\b", text, re.MULTILINE)) for text in texts)
    assert len(BLOCKS) == fences, "a block is indented, or not closed"

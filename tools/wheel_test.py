"""Build the wheel, install it beside what serve.lock lists, and run its commands in an empty folder.

The packages of serve.lock are linked from this environment, which takes seconds instead of minutes. Nothing else of it
can be imported, except what shares a namespace package with one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "build" / "wheel"
VERSION: Final = distribution("cc-serve").version
# A command, what it reads, its exit code, and what it prints.
COMMANDS: Final = (
    ("cc-serve --version", "", 0, f"cc-serve {VERSION}"),
    ("cc-train --version", "", 0, f"cc-train {VERSION}"),
    ("cc-train --help", "", 0, "usage: cc-train COMMAND"),
    ("cc-serve route", '"Wo ist der Bahnhof, bitte?"\n', 0, '"language": "de"'),
    ("cc-serve completion bash", "", 0, "--cc-config"),
    ("cc-train run", "", 2, 'pip install "cc-serve[train]"'),
)


def main() -> int:
    """Run each command: 0 if all do as expected, 1 with a line for the first that does not."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    environment = FOLDER / "venv"
    venv.create(environment)
    site = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for line in (ROOT / "requirements" / "serve.lock").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            link(line.partition("==")[0], site)
    wheel = build(FOLDER)
    python = environment / "bin" / "python"
    pip("--python", str(python), "install", "--quiet", "--no-deps", str(wheel))
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size / 2**20:.2f} MiB")
    for command, text, code, expected in COMMANDS:
        program, *options = command.split()
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [environment / "bin" / program, *options],
                cwd=empty,
                env={"PATH": "/usr/bin:/bin", "HOME": empty},
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if done.returncode != code or expected not in done.stdout:
            last = (done.stdout.strip() or "nothing").splitlines()[-1]
            print(f"{command}, from the wheel: exit code {done.returncode}: {last}", file=sys.stderr)
            return 1
        print(f"{command}: as expected")
    return 0


def link(name: str, site: Path) -> None:
    """Make a package of this environment importable from another."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or ()} - {".."}:
        if not (site / top).is_symlink():
            (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def build(destination: Path) -> Path:
    """The wheel, from a copy: setuptools would pack what an earlier build left in ``build/lib``."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cc_core", "cc_serve", "cc_train"):
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, folder)
        pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(destination), folder)
    return next(destination.glob("*.whl"))


def pip(*arguments: str) -> None:
    """Run pip, which must not take the sources for an installed package; a failure ends the program."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "pip", *arguments], cwd=tempfile.gettempdir(), env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())

"""An environment for each client, with the versions that ``clients.yaml`` pins."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

_HERE: Final = Path(__file__).parent
#: Where a client's program runs, to find its steps.
ROOT: Final = _HERE.parents[1]
_INSTALLED: Final = "installed"


class InstallError(RuntimeError):
    """A client cannot be installed; the message says why."""


@dataclass(frozen=True)
class Client:
    """A client as ``clients.yaml`` has it.

    Args:
        name: of its program.
        installer: ``pip`` or ``npm``.
        packages: what it installs, the client itself first.
    """

    name: str
    installer: str
    packages: tuple[str, ...]

    @property
    def version(self) -> str:
        """The client's own version."""
        return self.packages[0].rpartition("@" if self.installer == "npm" else "==")[2]

    def program(self, python: str, folder: Path) -> list[str]:
        """The command that takes this client's steps.

        Args:
            python: an interpreter that has the client.
            folder: of the environment, where Node looks for modules.
        """
        if self.installer == "pip":
            return [python, "-m", f"tools.clients.programs.{self.name}"]
        name = f"{self.name}.mjs"
        return ["node", str(shutil.copy(_HERE / "programs" / name, folder / name))]


def clients() -> dict[str, Client]:
    """All clients by name."""
    listed = yaml.safe_load((_HERE / "clients.yaml").read_text("utf-8"))
    return {
        name: Client(name, installer, tuple(packages))
        for name, entry in listed.items()
        for installer, packages in entry.items()
    }


def prepare(client: Client, home: Path) -> list[str]:
    """Install a client into ``home / NAME``, unless it is there, and return the command of its program.

    Raises:
        InstallError: it cannot be installed.
    """
    folder = (home / client.name).absolute()
    mark, wanted = folder / _INSTALLED, "\n".join(client.packages)
    if not (mark.exists() and mark.read_text("utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if client.installer == "npm":
            _install("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *client.packages)
        else:
            _install(sys.executable, "-m", "venv", str(folder))
            _install(str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *client.packages)
        mark.write_text(wanted, "utf-8")
    return client.program(str(folder / "bin/python"), folder)


def _install(*command: str) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise InstallError(f"{command[0]} is not installed") from error
    if ran.returncode:
        last = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        raise InstallError("".join(last) or f"{command[0]} ended with {ran.returncode}")

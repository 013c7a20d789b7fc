"""The packages of an extra that are not installed: ``pip install cc-serve`` brings only what a server needs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, requires

from packaging.requirements import Requirement


def not_installed(extra: str) -> list[str]:
    """The names of the extra's packages that this environment lacks."""
    missing = []
    for requirement in map(Requirement, requires("cc-serve") or ()):
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            distribution(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
    return missing

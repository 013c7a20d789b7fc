"""Where a CC-Tuned server's defaults differ from vLLM's; a flag or a configuration file overrides each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from vllm.platforms import current_platform

_GIB = 1 << 30


@dataclass(frozen=True)
class ServeDefaults:
    """Default values of ``vllm serve`` flags, by the names they are parsed into.

    Args:
        served_model_name: what clients call the model; vLLM would use the whole path.
        shutdown_timeout: seconds that running requests get to finish after SIGTERM; vLLM would abort them.
        dtype: on a CPU without bfloat16 instructions float32, since emulating bfloat16 is several times slower.
        kv_cache_memory_bytes: on a CPU modest, since vLLM would take a share of all memory there is.
    """

    served_model_name: list[str]
    shutdown_timeout: int = 30
    dtype: str = "auto"
    kv_cache_memory_bytes: int | None = None

    @classmethod
    def of(cls, checkpoint: Path) -> ServeDefaults:
        """The defaults for a checkpoint on this machine."""
        name = [checkpoint.resolve().name]
        if not current_platform.is_cpu():
            return cls(name)
        return cls(name, dtype="auto" if _has_bfloat16() else "float32", kv_cache_memory_bytes=_GIB)


def set_environment() -> None:
    """Settings that vLLM reads from the environment only; what the user has set stays."""
    # The connection's worker is a V1 model runner, while vLLM chooses V2 on GPUs.
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")


def _has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))

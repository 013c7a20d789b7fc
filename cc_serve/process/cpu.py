"""The instructions of this machine's CPU."""

from __future__ import annotations

from typing import Final

import torch

#: Instructions that vLLM's CPU build needs, or that make it faster.
FEATURES: Final = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "bf16")
#: The KV cache on a CPU, unless a flag says otherwise.
KV_CACHE_BYTES: Final = 1 << 30
_BFLOAT16: Final = ("avx512_bf16", "amx_bf16", "bf16")


def features() -> list[str]:
    """The `FEATURES` that this CPU has."""
    capabilities = torch.cpu.get_capabilities()
    return [name for name in FEATURES if capabilities.get(name, False)]


def has_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions. Without them, bfloat16 is several times slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BFLOAT16)

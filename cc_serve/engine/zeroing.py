"""Blocks of the KV cache are zeroed before they are used again, so that no request spoils a later one.

Attention kernels read whole blocks, and give positions that are not written yet the probability zero. But zero times
NaN is NaN. So if a request leaves NaN in a block, the next one with that block answers NaN until the block is full.
vLLM's own CPU kernel reads blocks that way, and so do FlashAttention 3 and 4 on GPUs.

vLLM can zero the blocks that a step allocates, and does so for models whose state is read before it is written. A
connected engine always has vLLM do so.
"""

from __future__ import annotations

from dataclasses import fields

from vllm.v1.kv_cache_interface import KVCacheConfig


class ZeroedCacheConfig(KVCacheConfig):
    """A cache whose blocks are zeroed when they are allocated: the scheduler lists them, and the worker zeroes them."""

    @classmethod
    def of(cls, config: KVCacheConfig) -> ZeroedCacheConfig:
        """The cache of ``config``, with zeroing."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(config)})

    @property
    def needs_kv_cache_zeroing(self) -> bool:
        """True, whatever the model."""
        return True

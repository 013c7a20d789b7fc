"""vLLM's KV offloading on a CPU: its connector and its manager of stored blocks, with the copies made here.

vLLM's own copies need a GPU. Name `OffloadingSpecOnCPU` or `TieringSpecOnCPU` in ``--kv-transfer-config``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from vllm.v1.kv_offload.base import (
    BlockIDsLoadStoreSpec,
    CanonicalKVCaches,
    GPULoadStoreSpec,
    LoadStoreSpec,
    OffloadingWorker,
    TransferResult,
)
from vllm.v1.kv_offload.cpu.shared_offload_region import SharedOffloadRegion
from vllm.v1.kv_offload.cpu.spec import CPUOffloadingSpec
from vllm.v1.kv_offload.tiering.spec import TieringOffloadingSpec


def offloading(spec: str = "OffloadingSpecOnCPU", **options: Any) -> dict[str, Any]:
    """``--kv-transfer-config`` for vLLM's offloading connector with one of these specs."""
    return {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {
            "spec_name": spec,
            "spec_module_path": __name__,
            "cpu_bytes_to_use": 1 << 24,
            **options,
        },
    }


class CopyingWorker(OffloadingWorker):
    """Copies blocks between the cache and the store at once; what is copied counts as finished with the next step.

    Args:
        caches: the engine's KV cache, ``[blocks, page]`` bytes for each layer.
        stores: as many, ``[chunks, blocks_per_chunk * page]`` bytes.
        blocks_per_chunk: how many of the cache's blocks are stored together.
    """

    def __init__(self, caches: CanonicalKVCaches, stores: list[torch.Tensor], blocks_per_chunk: int) -> None:
        self._caches = caches
        self._stores = stores
        self._per_chunk = blocks_per_chunk
        self._finished: list[TransferResult] = []

    def submit_store(self, job_id: int, src_spec: GPULoadStoreSpec, dst_spec: LoadStoreSpec) -> bool:
        return self._copy(job_id, src_spec, dst_spec, store=True)

    def submit_load(self, job_id: int, src_spec: LoadStoreSpec, dst_spec: GPULoadStoreSpec) -> bool:
        return self._copy(job_id, dst_spec, src_spec, store=False)

    def _copy(self, job_id: int, blocks: GPULoadStoreSpec, chunks: LoadStoreSpec, *, store: bool) -> bool:
        assert isinstance(chunks, BlockIDsLoadStoreSpec)
        copied = 0
        for group, block, chunk, place in self._pairs(blocks, chunks):
            for ref in self._caches.group_data_refs[group]:
                cache, size = self._caches.tensors[ref.tensor_idx].tensor, ref.page_size_bytes
                page = cache[block, :size]
                stored = self._stores[ref.tensor_idx][chunk, place * cache.shape[1] :][:size]
                target, source = (stored, page) if store else (page, stored)
                target.copy_(source)
                copied += size
        self._finished.append(TransferResult(job_id, True, copied, 1e-6))
        return True

    def _pairs(self, blocks: GPULoadStoreSpec, chunks: BlockIDsLoadStoreSpec) -> Iterator[tuple[int, int, int, int]]:
        """Group, block, chunk, and the block's place in the chunk."""
        first_block = first_chunk = 0
        for group, (size, index) in enumerate(zip(blocks.group_sizes, blocks.block_indices, strict=True)):
            begin = index % self._per_chunk
            for place in range(begin, begin + size if size else begin):
                chunk, within = divmod(place, self._per_chunk)
                block = blocks.block_ids[first_block + place - begin]
                yield group, int(block), int(chunks.block_ids[first_chunk + chunk]), within
            first_block += size
            first_chunk += -(-(begin + size) // self._per_chunk) if size else 0

    def get_finished(self) -> list[TransferResult]:
        finished, self._finished = self._finished, []
        return finished

    def wait(self, job_ids: set[int]) -> None:
        """Nothing: they are finished."""


class OffloadingSpecOnCPU(CPUOffloadingSpec):
    """vLLM's offloading to main memory."""

    def get_worker(self, kv_caches: CanonicalKVCaches) -> OffloadingWorker:
        per_chunk = self.blocks_per_chunk
        sizes = [cache.page_size_bytes * per_chunk for cache in kv_caches.tensors]
        stores = [torch.zeros((self.num_chunks, size), dtype=torch.int8) for size in sizes]
        return CopyingWorker(kv_caches, stores, per_chunk)


class TieringSpecOnCPU(TieringOffloadingSpec):
    """vLLM's offloading to main memory and further, as to files."""

    def get_worker(self, kv_caches: CanonicalKVCaches) -> OffloadingWorker:
        region = SharedOffloadRegion(
            engine_id=self._engine_id,
            num_chunks=self.num_chunks,
            rank=self.config.parallel.rank,
            kv_bytes_per_chunk=self.kv_bytes_per_chunk,
            cpu_page_size=self.cpu_page_size_per_worker,
        )
        sizes = [cache.page_size_bytes * self.blocks_per_chunk for cache in kv_caches.tensors]
        stores = [region.create_next_worker_view(size) for size in sizes]
        return CopyingWorker(kv_caches, stores, self.blocks_per_chunk)

"""Which of vLLM's KV connectors a connection can be served with: those that find blocks by vLLM's own hashes.

Blocks from the anchor on hold connected KV, and their hashes are salted. So a store that finds blocks by hash gives
back only what plain and connected requests share, and the engine that answers always computes the anchor. In any other
store, a plain prompt could find the KV of a connected one with the same tokens, or the reverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vllm.platforms import current_platform

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_BY_HASH: Final = ("OffloadingConnector", "SimpleCPUOffloadConnector")
_BY_TOKENS: Final = "it finds KV by token ids, which plain and connected requests have in common"
_BY_REQUEST: Final = "it sends a request's blocks from engine to engine, and was not tried with a connection"
_UNTRIED: Final = "it was not tried with a connection"
_NO_GPU: Final = "vLLM copies blocks to main memory from GPUs only; remove it"
_CUTS: Final = "it takes the last token, which is the anchor, off a prompt that it prefills for another engine"
#: Why vLLM's other connectors are refused.
_REASONS: Final = {
    "DecodeBenchConnector": "it makes up the KV of prompts",
    "ExampleConnector": (
        f"{_BY_TOKENS}; it stores a chunked prompt before all of it is computed, and ends the engine on some prompts"
    ),
    "ExampleHiddenStatesConnector": "it stores hidden states of a draft model, and no KV",
    "FlexKVConnectorV1": _BY_TOKENS,
    "HF3FSKVConnector": _BY_TOKENS,
    "HiSparseConnector": _UNTRIED,
    "LMCacheConnectorV1": _BY_TOKENS,
    "LMCacheMPConnector": _BY_TOKENS,
    "MooncakeConnector": _CUTS,
    "MooncakeStoreConnector": _UNTRIED,
    "MoRIIOConnector": _CUTS,
    "MultiConnector": _UNTRIED,
    "NixlConnector": _BY_REQUEST,
    "NixlPullConnector": _BY_REQUEST,
    "NixlPushConnector": _BY_REQUEST,
}


def connector_problem(vllm_config: VllmConfig) -> str | None:
    """Why the connector of ``vllm_config`` cannot be used, and what to do; None if it can, or if there is none."""
    cache, transfer = vllm_config.cache_config, vllm_config.kv_transfer_config
    module = transfer.kv_connector_module_path if transfer is not None else None
    # vLLM chooses the connector of an offloading backend only later, and prefers a module of one's own to it.
    if module is None and cache.kv_offloading_size is not None:
        backend = cache.kv_offloading_backend
        if backend != "native":
            return (
                f"KV offloading by {backend} (--kv-offloading-backend): {_BY_TOKENS}; "
                "use --kv-offloading-backend native"
            )
        return f"KV offloading (--kv-offloading-size): {_NO_GPU}" if current_platform.is_cpu() else None
    if transfer is None or (transfer.kv_connector is None and module is None):
        return None
    name = transfer.kv_connector
    if name in _BY_HASH and not module:
        if transfer.kv_connector_extra_config.get("spec_name") == "TieringOffloadingSpec":
            return (
                "KV offloading to files or other engines (TieringOffloadingSpec in --kv-transfer-config), whose blocks "
                "were not shown to be right: use CPUOffloadingSpec"
            )
        own_copies = name == _BY_HASH[0] and "spec_module_path" in transfer.kv_connector_extra_config
        no_copies = current_platform.is_cpu() and not own_copies
        return f"the KV connector {name} (--kv-transfer-config): {_NO_GPU}" if no_copies else None
    reason = f"{module} may find KV by token ids" if module else _REASONS.get(name or "", _UNTRIED)
    return (
        f"the KV connector {name} (--kv-transfer-config): {reason}; use {' or '.join(_BY_HASH)}, "
        "which find blocks by hash, or remove it"
    )

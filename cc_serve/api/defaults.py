"""Where a CC-Tuned server's defaults differ from vLLM's; a flag or a configuration file overrides each."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from cc_serve.api.vllm import current_platform
from cc_serve.process.cpu import KV_CACHE_BYTES, has_bfloat16
from cc_serve.process.model_runner import asked_runner


@dataclass(frozen=True)
class ServeDefaults:
    """Default values of ``vllm serve`` flags, by the names they are parsed into.

    Args:
        served_model_name: the name that clients use for the model; vLLM's default is the whole path.
        shutdown_timeout: seconds that running requests have to finish after SIGTERM; vLLM aborts them.
        dtype: float32 on a CPU without bfloat16 instructions, where bfloat16 is emulated and several times slower.
        kv_cache_memory_bytes: a modest size on a CPU, where vLLM takes a share of the whole memory.
        uvicorn_log_level: what uvicorn logs.
        disable_uvicorn_access_log: whether uvicorn does not log each request.
        use_tqdm_on_load: whether vLLM shows a progress bar over the files of weights.
    """

    served_model_name: list[str]
    shutdown_timeout: int = 30
    dtype: str = "auto"
    kv_cache_memory_bytes: int | None = None
    uvicorn_log_level: str = "info"
    disable_uvicorn_access_log: bool = False
    use_tqdm_on_load: bool = True

    @classmethod
    def of(cls, checkpoint: Path, *, verbose: bool = False) -> ServeDefaults:
        """The defaults for a checkpoint on this machine. Without ``verbose``, only errors are logged."""
        defaults = cls([checkpoint.resolve().name])
        if current_platform.is_cpu():
            dtype = "auto" if has_bfloat16() else "float32"
            defaults = replace(defaults, dtype=dtype, kv_cache_memory_bytes=KV_CACHE_BYTES)
        if verbose:
            return defaults
        return replace(defaults, uvicorn_log_level="error", disable_uvicorn_access_log=True, use_tqdm_on_load=False)


def set_environment() -> None:
    """Set what vLLM only reads from the environment; variables that the user has set stay.

    Raises:
        ValueError: a variable that the user has set has an unknown value.
    """
    asked_runner()
    if current_platform.is_cpu():
        # On a CPU vLLM 0.32 saves an ahead-of-time artifact that it cannot load (no attribute "finalize_loading"), and
        # so compiles at each start; without it, Inductor's own cache serves.
        os.environ.setdefault("VLLM_USE_AOT_COMPILE", "0")

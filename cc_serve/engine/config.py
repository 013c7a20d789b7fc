"""The engine's settings for a checkpoint. They are made once, while vLLM builds its configuration."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import torch
from vllm.model_executor.models.config import VerifyAndUpdateConfig
from vllm.triton_utils import HAS_TRITON

from cc_core.description import ConnectionDescription
from cc_core.names import COMPRESSED_TENSORS
from cc_serve.engine.admission import require_admission
from cc_serve.engine.kv_connectors import connector_problem
from cc_serve.process.checked import checked_description
from cc_serve.process.model_runner import RUNNER

if TYPE_CHECKING:
    from vllm.config import VllmConfig

#: A key of ``additional_config``: an `EngineConnection`, as a dictionary.
SETTINGS_KEY: Final = "cc_connection"
#: A key of ``additional_config``: true tries each capture step's token as a draft after the connected anchor.
DRAFT_KEY: Final = "cc_draft"

# A request holds a slot from its capture step to its inject step; if no slot is free, it waits a step. Each slot costs
# time in every step. Too few delay first tokens when many prompts end in the same step.
MIN_SLOTS, MAX_SLOTS = 16, 32
# The bytes for the slots and the Decision Maker, in addition to a matrix for each language and the global one.
_SLOT_BYTES = 1 << 20

# A function, not a class: vLLM decides between sync and async scheduling only after the hook.
_SCHEDULER = "cc_serve.engine.scheduler.make_scheduler"
_WORKERS = "cc_serve.engine.worker."


class UnsupportedConfigurationError(RuntimeError):
    """The connection does not work with one of vLLM's options; the message names the option and says what to do.

    This is no ValueError, since pydantic would wrap one while vLLM validates its configuration.
    """


@dataclass(frozen=True)
class EngineConnection:
    """What scheduler and worker know of the checkpoint. It travels in ``VllmConfig.additional_config``.

    vLLM's compile cache hashes ``additional_config``, so that the graphs of a connected model are kept apart from those
    of the plain one.

    Args:
        names: the names of the Transform Matrices.
        anchor_offset: the anchor's position, counted from the prompt's end.
        num_slots: how many requests can be between their capture step and their inject step.
        sha256: the digest of the connection's file.
        drafts: whether the token of a capture step is tried as a draft; see `cc_serve.engine.drafts`.
    """

    names: tuple[str, ...]
    anchor_offset: int
    num_slots: int
    sha256: str
    drafts: bool = False

    @classmethod
    def of(cls, vllm_config: VllmConfig) -> EngineConnection:
        """Read what `ConnectionConfigHook` stored."""
        stored = vllm_config.additional_config[SETTINGS_KEY]  # type: ignore[index]
        return cls(**{**stored, "names": tuple(stored["names"])})


class ConnectionConfigHook(VerifyAndUpdateConfig):
    """vLLM calls this for our architectures while it builds the configuration, before the platform picks a worker.

    Source: ``vllm.model_executor.models.config.MODELS_CONFIG_MAP``.
    """

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Validate the checkpoint, refuse options that do not work with it, and choose our scheduler and worker.

        Raises:
            CheckpointError: the checkpoint's connection cannot be used.
            UnsupportedConfigurationError: an option does not work with a connection.
        """
        directory = Path(vllm_config.model_config.model)
        if not directory.is_dir():
            raise UnsupportedConfigurationError(
                f"{directory} is not a local directory; download the CC-Tuned checkpoint and name its directory"
            )
        _refuse_unsupported(vllm_config)
        connection = checked_description(directory)
        entry = connection.config
        settings = EngineConnection(
            names=connection.names,
            anchor_offset=entry.anchor_offset,
            num_slots=min(
                _num_slots(connection, len(entry.languages), cast(torch.dtype, vllm_config.model_config.dtype)),
                vllm_config.scheduler_config.max_num_seqs,
            ),
            sha256=entry.sha256,
            drafts=_drafts(vllm_config),
        )
        vllm_config.additional_config[SETTINGS_KEY] = asdict(settings) | {"names": list(settings.names)}  # type: ignore[index]
        require_admission(vllm_config, connection.names)
        vllm_config.scheduler_config.scheduler_cls = _SCHEDULER
        vllm_config.parallel_config.worker_cls = _WORKERS + _worker_name()


def _num_slots(connection: ConnectionDescription, num_languages: int, dtype: torch.dtype) -> int:
    layers, hidden = connection.num_layers, connection.hidden_size
    matrices_left = max(0, num_languages + 1 - len(connection.names)) * 4 * hidden**2
    # A slot has the activations of all layers and the embedding, in the model's dtype, and twice the vector, in fp32.
    slot = (layers + 1) * hidden * dtype.itemsize + 2 * hidden * 4
    affordable = (_SLOT_BYTES + matrices_left - 4 * layers * hidden) // slot
    return min(max(affordable, MIN_SLOTS), MAX_SLOTS)


def _worker_name() -> str:
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        return "ConnectedCPUWorker"
    if current_platform.is_cuda_alike():
        return "ConnectedGPUWorker"
    raise UnsupportedConfigurationError(
        f"the connection runs on CPU and CUDA or ROCm GPUs, not on {current_platform.device_name}"
    )


def _drafts(vllm_config: VllmConfig) -> bool:
    asked = vllm_config.additional_config.get(DRAFT_KEY, False)  # type: ignore[union-attr]
    if not isinstance(asked, bool):
        raise UnsupportedConfigurationError(f"--additional-config: {DRAFT_KEY} is {asked!r}; set true or false")
    if not asked:
        return False
    scheduler = vllm_config.scheduler_config
    refusals = {
        f"the V2 model runner, which takes drafts from its own methods only: set {RUNNER}=0": (
            vllm_config.use_v2_model_runner
        ),
        "asynchronous scheduling, which plans the next step before the draft is known: use --no-async-scheduling": (
            bool(scheduler.async_scheduling)
        ),
        "a speculative method (--speculative-config): remove one of them": vllm_config.speculative_config is not None,
        "logits processors of your own (--logits-processors): remove one of them": (
            bool(vllm_config.model_config.logits_processors)
        ),
        "KV transfer or offloading, which was not tried: remove one of them": (
            vllm_config.kv_transfer_config is not None or vllm_config.cache_config.kv_offloading_size is not None
        ),
    }
    for refusal, applies in refusals.items():
        if applies:
            raise UnsupportedConfigurationError(f"{DRAFT_KEY} in --additional-config does not go with {refusal}")
    scheduler.async_scheduling = False  # otherwise, vLLM chooses, and only after this hook
    return True


def _refuse_unsupported(vllm_config: VllmConfig) -> None:
    parallel, scheduler = vllm_config.parallel_config, vllm_config.scheduler_config
    connector, quantization = connector_problem(vllm_config), vllm_config.model_config.quantization
    refusals = {
        "pipeline parallelism (--pipeline-parallel-size > 1): use --tensor-parallel-size": (
            parallel.pipeline_parallel_size > 1
        ),
        "speculative decoding by other methods than ngram and ngram_gpu (--speculative-config): use these": (
            vllm_config.speculative_config is not None
            and vllm_config.speculative_config.method not in ("ngram", "ngram_gpu")
        ),
        f"the V2 model runner without Triton: unset {RUNNER} and what needs V2, as --watermark-config does": (
            vllm_config.use_v2_model_runner and not HAS_TRITON
        ),
        f"{connector}": connector is not None,
        f"quantisation by {quantization} (--quantization, or quantization_config in config.json), which was not tried "
        f"with a connection: quantise with {COMPRESSED_TENSORS}": quantization not in (None, COMPRESSED_TENSORS),
        "a pooling runner (--runner pooling): remove it": vllm_config.model_config.runner_type != "generate",
        "dual batch overlap or microbatches (--enable-dbo, --ubatch-size): remove it": parallel.use_ubatching,
        "decode context parallelism (--decode-context-parallel-size > 1): remove it": (
            parallel.decode_context_parallel_size > 1
        ),
        "prefill context parallelism (--prefill-context-parallel-size > 1): remove it": (
            parallel.prefill_context_parallel_size > 1
        ),
        "fast prefill with shared KV (--kv-sharing-fast-prefill): remove it": (
            vllm_config.cache_config.kv_sharing_fast_prefill
        ),
        "a scheduler class of your own (--scheduler-cls): remove it": scheduler.scheduler_cls not in (None, _SCHEDULER),
        "a worker class of your own (--worker-cls): remove it": not (
            parallel.worker_cls == "auto" or parallel.worker_cls.startswith(_WORKERS)
        ),
    }
    for refusal, applies in refusals.items():
        if applies:
            raise UnsupportedConfigurationError(f"a CC-Tuned checkpoint cannot be served with {refusal}")

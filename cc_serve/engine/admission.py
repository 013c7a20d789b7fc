"""Refuse a connection that the checkpoint lacks when the request arrives, by name and with status 400.

vLLM lets logits processors validate a request's parameters in the front end; ours does nothing else. It is removed
before the worker builds it, since any logits processor there costs a copy of the sampled tokens in each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as LogitsProcessorV2

from cc_core.names import MAX_STRENGTH, is_strength
from cc_serve.payloads import DIGEST, ENGINE_ARGUMENT, STRENGTH

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_CLASS = "Admission_"
#: The message that refuses a digest.
WRONG_DIGEST: Final = f"{DIGEST} must be the SHA-256 of a connection's file, as a string"


class Admission(LogitsProcessor, LogitsProcessorV2):  # type: ignore[misc]  # two kinds of `apply`, neither called
    """Checks requests against the ``names`` of a checkpoint's Transform Matrices.

    Each checkpoint has a subclass of its own, of which no instance is ever built. vLLM's two model runners want logits
    processors of different kinds; this one is both.
    """

    names: ClassVar[tuple[str, ...]]

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        arguments = sampling_params.extra_args or {}
        name, strength = arguments.get(ENGINE_ARGUMENT), arguments.get(STRENGTH, 1.0)
        if not isinstance(arguments.get(DIGEST, ""), str):
            raise VLLMValidationError(WRONG_DIGEST, parameter=DIGEST)
        # Where a request names its connection's file, our front end has checked the matrix's name.
        if name is not None and name not in cls.names and DIGEST not in arguments:
            raise VLLMValidationError(unknown_connection(name, cls.names), parameter=ENGINE_ARGUMENT)
        if not is_strength(strength):
            raise VLLMValidationError(wrong_strength(strength), parameter=STRENGTH)


def unknown_connection(name: object, names: Sequence[str]) -> str:
    """The message that refuses a connection which is not among ``names``."""
    return f"{ENGINE_ARGUMENT} {repr(name)[:80]} is not one of this checkpoint's connections: {', '.join(names)}"


def wrong_strength(strength: object) -> str:
    """The message that refuses a strength."""
    return f"{STRENGTH} {repr(strength)[:80]} is not a number from 0 to {MAX_STRENGTH:g}"


def require_admission(vllm_config: VllmConfig, names: Sequence[str]) -> None:
    """Let vLLM's front end check requests against ``names``."""
    others = _others(vllm_config)
    vllm_config.model_config.logits_processors = [*others, f"{__name__}:{_CLASS}{'_'.join(names)}"]


def drop_admission(vllm_config: VllmConfig) -> None:
    """Leave only the logits processors that the worker has to build."""
    vllm_config.model_config.logits_processors = _others(vllm_config) or None


def _others(vllm_config: VllmConfig) -> list[str | type[LogitsProcessor]]:
    processors = vllm_config.model_config.logits_processors or []
    return [entry for entry in processors if not (isinstance(entry, str) and entry.startswith(f"{__name__}:"))]


def __getattr__(name: str) -> type[Admission]:
    # vLLM imports the class by its name in each process that checks requests, so the name carries the connections.
    if not name.startswith(_CLASS):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return type(name, (Admission,), {"names": tuple(name.removeprefix(_CLASS).split("_"))})

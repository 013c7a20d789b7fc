"""Refusing a connection that the checkpoint does not have where vLLM admits requests: with status 400, and by name.

vLLM lets its logits processors validate a request's parameters in the front end. Ours does only that, and is taken
out again before the worker would build it, where any such processor costs every step a copy of the sampled tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor

from cc_core.names import CONNECTION_KEY

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_CLASS = "Admission_"


class Admission(LogitsProcessor):
    """Knows the ``names`` of a checkpoint's Transform Matrices; each checkpoint has a subclass. Never built."""

    names: ClassVar[tuple[str, ...]]

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        name = (sampling_params.extra_args or {}).get(CONNECTION_KEY)
        if name is not None and name not in cls.names:
            raise VLLMValidationError(unknown_connection(name, cls.names), parameter=CONNECTION_KEY)


def unknown_connection(name: object, names: Sequence[str]) -> str:
    """The refusal of a connection that is none of ``names``."""
    return f"{CONNECTION_KEY} {repr(name)[:80]} is none of this checkpoint's connections: {', '.join(names)}"


def require_admission(vllm_config: VllmConfig, names: Sequence[str]) -> None:
    """Let vLLM's front end check requests against ``names``."""
    others = _others(vllm_config)
    vllm_config.model_config.logits_processors = [*others, f"{__name__}:{_CLASS}{'_'.join(names)}"]


def drop_admission(vllm_config: VllmConfig) -> None:
    """Leave to the worker what it has to build."""
    vllm_config.model_config.logits_processors = _others(vllm_config) or None


def _others(vllm_config: VllmConfig) -> list[str | type[LogitsProcessor]]:
    processors = vllm_config.model_config.logits_processors or []
    return [entry for entry in processors if not (isinstance(entry, str) and entry.startswith(f"{__name__}:"))]


def __getattr__(name: str) -> type[Admission]:
    # The class's name carries the connections' to vLLM, which imports it in whichever process it checks requests.
    if not name.startswith(_CLASS):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return type(name, (Admission,), {"names": tuple(name.removeprefix(_CLASS).split("_"))})

"""Which of vLLM's model runners the engine's tests use: V1, or V2 where ``VLLM_USE_V2_MODEL_RUNNER=1`` asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

VARIABLE: Final = "VLLM_USE_V2_MODEL_RUNNER"
V2: Final = os.environ.get(VARIABLE) == "1"
Example = TypeVar("Example")
SHIM: Final = Path(__file__).parent / "triton_on_cpu"


def fewer(examples: int) -> int:
    """How many of a test's many examples run: under V2 a fifth, since Triton interprets its kernels."""
    return max(1, examples // 5) if V2 else examples


def thinned(examples: Sequence[Example], step: int = 2) -> Sequence[Example]:
    """A test's many examples; under V2 only every ``step``-th of them."""
    return examples[:: step if V2 else 1]


def environment_of(runner: str) -> dict[str, str]:
    """The environment of a process whose engine has the runner, ``V1`` or ``V2``."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(SHIM)]
    if runner == "V2":
        paths.insert(0, str(SHIM))
    plain = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return plain | {VARIABLE: "1" if runner == "V2" else "0", "PYTHONPATH": os.pathsep.join(paths)}


def use_triton_on_cpu() -> None:
    """Let this process and those that it starts run V2 on a CPU.

    Raises:
        FileNotFoundError: Triton has not been fetched.
    """
    if "sitecustomize" not in sys.modules or not hasattr(sys.modules["sitecustomize"], "_hasten"):
        from tests.support.triton_on_cpu import sitecustomize

        sitecustomize.install()
    os.environ.update(environment_of("V2"))
    _hasten_sampling()


def _hasten_sampling() -> None:
    """Replace two of vLLM's sampling kernels in PyTorch: they take most of a step in Triton's interpreter.

    Greedy tokens and their log-probabilities are the same. Random draws keep vLLM's kernel.
    """
    import torch
    from vllm.v1.worker.gpu.sample import logprob, sampler

    draw = sampler.gumbel_sample

    def gumbel_sample(logits: Any, mapping: Any, temperature: Any, *args: Any, **kwargs: Any) -> Any:
        if (temperature[mapping] == 0).all():
            return logits.argmax(dim=-1)
        return draw(logits, mapping, temperature, *args, **kwargs)

    def compute_token_logprobs(logits: Any, token_ids: Any) -> Any:
        return logits.float().log_softmax(dim=-1).gather(-1, token_ids.to(torch.int64))

    sampler.gumbel_sample = gumbel_sample  # type: ignore[assignment]
    logprob.compute_token_logprobs = compute_token_logprobs  # type: ignore[assignment]

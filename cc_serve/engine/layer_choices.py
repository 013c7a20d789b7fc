"""How the chosen layers travel from the worker to the scheduler: with the output of the step that captured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

#: Stands for the chosen layer of a connection that came out infinite or NaN.
NOT_FINITE: Final = -1

_ATTRIBUTE: Final = "connection_layers"


@dataclass(frozen=True)
class LayerChoices:
    """The layers that a step's decisions chose, ``[B]`` on the host, which may still be being copied there."""

    request_ids: Sequence[str]
    layers: Tensor

    def attach_to(self, output: ModelRunnerOutput) -> ModelRunnerOutput:
        """Put them on the step's output, which is complete: so is the copy, on the same stream before it."""
        setattr(output, _ATTRIBUTE, dict(zip(self.request_ids, self.layers.tolist(), strict=True)))
        return output


class AsyncOutputWithLayers(AsyncModelRunnerOutput):
    """An output that vLLM waits for elsewhere, with the layers attached then."""

    def __init__(self, output: AsyncModelRunnerOutput, choices: LayerChoices) -> None:
        self._output = output
        self._choices = choices

    def get_output(self) -> ModelRunnerOutput:
        return self._choices.attach_to(self._output.get_output())


def chosen_layers(output: ModelRunnerOutput) -> dict[str, int]:
    """The layers that ``output`` brings, by request id."""
    return getattr(output, _ATTRIBUTE, {})

"""The chosen layers travel from the worker to the scheduler with the output of the capture step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

#: In place of the chosen layer: the connection came out infinite or NaN.
NOT_FINITE: Final = -1
#: In place of the chosen layer: the worker does not hold the connection that the request names.
NOT_HELD: Final = -2

_ATTRIBUTE: Final = "connection_layers"


@dataclass(frozen=True)
class LayerChoices:
    """The layers that one step's decisions chose.

    Args:
        request_ids: the B requests that the step captured.
        layers: ``[B]`` on the host; the copy from the device may not be complete yet.
    """

    request_ids: Sequence[str]
    layers: Tensor

    def attach_to(self, output: ModelRunnerOutput) -> ModelRunnerOutput:
        """Store them on the step's ``output``.

        Their copy is complete: the output has arrived, and the layers were copied before it on the same stream.
        """
        setattr(output, _ATTRIBUTE, dict(zip(self.request_ids, self.layers.tolist(), strict=True)))
        return output


class AsyncOutputWithLayers(AsyncModelRunnerOutput):
    """An output that vLLM waits for later; the layers are attached when it arrives."""

    def __init__(self, output: AsyncModelRunnerOutput, choices: LayerChoices) -> None:
        self._output = output
        self._choices = choices

    def get_output(self) -> ModelRunnerOutput:
        return self._choices.attach_to(self._output.get_output())


def chosen_layers(output: ModelRunnerOutput) -> dict[str, int]:
    """The layers that travel with ``output``, by request id."""
    return getattr(output, _ATTRIBUTE, {})

"""The alignment's value between two log lines, and its share of what transformers logs as the loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cc_train.log_names import ALIGNMENT


class AlignmentLog:
    """Takes the alignment out of the logged losses, so that they stay nats per answer token, and logs its value.

    Args:
        weight: λ.
        mean: takes the mean of a value over the processes.
        device: of the values.
    """

    def __init__(self, weight: float, mean: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._weight = weight
        self._mean = mean
        self._value = torch.zeros((), device=device)
        self._steps = self._all_steps = 0
        self._all = 0.0

    def step(self) -> None:
        """Begin an optimiser's step."""
        self._steps += 1

    def add(self, value: Tensor) -> None:
        """Add what a batch contributes to the step's mean over aligned rows."""
        self._value = self._value + value.detach().float()

    def rewrite(self, logs: dict[str, float]) -> None:
        """Correct ``loss`` and ``train_loss``, and add the value beside them. Every process must call this."""
        if "loss" in logs and self._steps:
            total = self._mean(self._value).item()
            logs[ALIGNMENT] = total / self._steps
            logs["loss"] -= self._weight * logs[ALIGNMENT]
            self._all, self._all_steps = self._all + total, self._all_steps + self._steps
            self._value, self._steps = torch.zeros_like(self._value), 0
        elif "train_loss" in logs:
            total, steps = self._all + self._mean(self._value).item(), self._all_steps + self._steps
            if steps:
                logs[f"train_{ALIGNMENT}"] = total / steps
                logs["train_loss"] -= self._weight * total / steps

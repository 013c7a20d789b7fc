"""Trainer for both methods: transformers' loop, with its own optimiser group, checks and checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from cc_train.data import PairCollator, PairDataset
from cc_train.layer_counts import LAYERS, LayerCounts
from cc_train.parallel import ParallelModel

STATE_FILE = "cc_training.safetensors"  # in Trainer's own checkpoints, to resume from
_MODEL = "language_model."
_SHOWN_ROWS = 5


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and the rows."""


class ConnectionTrainer(Trainer):
    """Trains a `ParallelModel`, which computes the loss itself.

    Args:
        model: what to train.
        args: every field keeps Trainer's meaning.
        train_dataset, eval_dataset: encoded rows.
        collator: batches them.
        decision_learning_rate: of the Decision Maker; None for the same as the model's.
        english: the training rows' English activations ``[R, L, H]``, where they are known because no weight changes.
    """

    model: ParallelModel

    def __init__(
        self,
        model: ParallelModel,
        args: TrainingArguments,
        train_dataset: PairDataset,
        collator: PairCollator,
        *,
        eval_dataset: PairDataset | None = None,
        decision_learning_rate: float | None = None,
        english: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        args.remove_unused_columns = False  # the collator needs columns that are no argument of forward
        args.prediction_loss_only = True  # logits exist at the answers' positions only
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=collator,
            **kwargs,
        )
        self.decision_learning_rate = decision_learning_rate
        self.english = english
        self._layers = LayerCounts(model.config.num_hidden_layers)
        self.label_smoother = None  # ParallelModel smooths, where the targets are

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Trainer's own, and a check that the loss is a number; raises `TrainingError` naming the batch's rows."""
        rows = inputs["row"]
        inputs = {name: value for name, value in inputs.items() if name != "row"}
        if self.english is not None and model.training:
            inputs["english_activations"] = self.english[rows.cpu()].to(rows.device)
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss).all():
            dataset: Any = self.train_dataset if model.training else self.eval_dataset
            names = [dataset.examples[i].row.name for i in rows.tolist()]
            listed = ", ".join(names[:_SHOWN_ROWS]) + (
                f" and {len(names) - _SHOWN_ROWS} more" * (len(names) > _SHOWN_ROWS)
            )
            raise TrainingError(
                f"the loss is {loss.mean().item()} at step {self.state.global_step + 1}, on {listed}; "
                "lower --learning-rate, or look at these rows"
            )
        if model.training and self.model.chosen is not None:
            examples = self.train_dataset.examples  # type: ignore[union-attr]
            languages = [examples[i].row.lang for i in rows.tolist() if examples[i].row.connected]
            self._layers.add(languages, self.model.chosen)
        return result

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Trainer's own; the Decision Maker, new beside a trained model, may get its own learning rate."""
        optimizer = super().create_optimizer(model)
        if self.model.decision is not None and self.decision_learning_rate is not None:
            weight = self.model.decision.weight
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not weight]
            optimizer.add_param_group(
                {"params": [weight], "lr": self.decision_learning_rate, "weight_decay": self.args.weight_decay}
            )
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds ``layers_in_use``, the perplexity of the choice: 1 when it has settled on one layer, L when open."""
        counts = self.model.take_choices()
        if counts is not None and "loss" in logs:
            share = counts / counts.sum()
            logs["layers_in_use"] = round(math.exp(torch.special.entr(share).sum().item()), 2)
        super().log(logs, start_time)
        if "loss" in logs and self._layers:  # for the report: no logging service takes a table
            self.state.log_history[-1][LAYERS] = self._layers.take()  # type: ignore[assignment]

    def final_state(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """The trained language model's weights by name, and ``W`` [L, H]; every process of a parallel job must ask."""
        return _split(self.accelerator.get_state_dict(self.model_wrapped))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Trainer's own checkpoint, full precision, of what is trained: `_load_from_checkpoint` resumes from it."""
        directory = Path(output_dir or str(self.args.output_dir))
        directory.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if state_dict is None else state_dict
        trained = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        save_file({name: state[name].contiguous() for name in sorted(trained)}, directory / STATE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        target: Any = self.model if model is None else model
        saved = load_file(Path(resume_from_checkpoint) / STATE_FILE)
        target.load_state_dict(saved, strict=False)  # what is frozen is not in it

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


def _split(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """The language model's part of a `ParallelModel`'s state, and the Decision Maker's."""
    weights = {name.removeprefix(_MODEL): value for name, value in state.items() if name.startswith(_MODEL)}
    return weights, state.get("decision.weight")

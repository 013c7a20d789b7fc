"""Trainer for both methods: transformers' loop, with its own optimiser group, checks and checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainingArguments

from cc_train.checkpoint import CONFIG_FILE, DECISION, replace_file
from cc_train.data import PairCollator, PairDataset
from cc_train.parallel import ParallelModel

DECISION_FILE = "cc_decision.safetensors"  # in Trainer's own checkpoints, to resume from
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

    def save_final(self, directory: Path, dtype: torch.dtype) -> Tensor | None:
        """Write the trained language model as an ordinary checkpoint, and give the Decision Maker's ``W`` [L, H].

        Args:
            directory: receives the weights and configuration.
            dtype: the weights are rounded to it.
        """
        model = self.model.language_model
        model.config.use_cache = True  # Trainer turned it off for training only
        weights, decision = _split(self.accelerator.get_state_dict(self.model_wrapped))
        if self.args.should_save:
            model.save_pretrained(directory, state_dict=_rounded(weights, dtype))
            path = directory / CONFIG_FILE
            config = json.loads(path.read_text("utf-8"))
            config["dtype"] = str(dtype).removeprefix("torch.")  # save_pretrained wrote the dtype of training
            replace_file(path, (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())
        return decision

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Trainer's own checkpoint, full precision, that `_load_from_checkpoint` resumes from."""
        directory = Path(output_dir or str(self.args.output_dir))
        directory.mkdir(parents=True, exist_ok=True)
        weights, decision = _split(self.model.state_dict() if state_dict is None else state_dict)
        self.model.language_model.save_pretrained(directory, state_dict=weights)
        if decision is not None:
            save_file({DECISION: decision.contiguous()}, directory / DECISION_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        directory = Path(resume_from_checkpoint)
        target: Any = self.model if model is None else model
        language_model: PreTrainedModel = target.language_model
        saved = AutoModelForCausalLM.from_pretrained(directory, dtype=language_model.dtype)
        language_model.load_state_dict(saved.state_dict())
        if target.decision is not None:
            target.decision.load_state_dict({"weight": load_file(directory / DECISION_FILE)[DECISION]})

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


def _split(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """The language model's part of a `ParallelModel`'s state, and the Decision Maker's."""
    weights = {name.removeprefix(_MODEL): value for name, value in state.items() if name.startswith(_MODEL)}
    return weights, state.get("decision.weight")


def _rounded(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """``weights`` on the CPU in ``dtype``; tied tensors stay one, so that saving still drops the duplicates."""
    done: dict[tuple[int, torch.Size], Tensor] = {}
    for value in weights.values():
        key = (value.data_ptr(), value.shape)
        if key not in done:
            done[key] = value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()
    return {name: done[value.data_ptr(), value.shape] for name, value in weights.items()}

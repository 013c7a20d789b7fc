"""Trainer for both methods: transformers' loop, with its own optimiser group, checks and checkpoints."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from cc_core.terminal.text import one_line
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.log_names import LAYERS, SCORES
from cc_train.training.alignment_log import AlignmentLog
from cc_train.training.alignment_targets import AlignmentTargets
from cc_train.training.answer_scores import AnswerScores
from cc_train.training.course import course_of, digest_of_base, resumable_course, saved_course
from cc_train.training.layer_counts import LayerCounts
from cc_train.training.sampling import EpochLengthSampler, cost
from cc_train.training.trained_weights import TrainingError, load_trained, save_trained
from cc_train.two_pass.model import TwoPassModel
from cc_train.workspace import flush, place

_ASIDE = ".saving"  # holds a checkpoint until it is complete
_SHOWN_ROWS = 5


class ConnectionTrainer(Trainer):
    """Trains a `TwoPassModel`, which computes the loss.

    Args:
        model: what to train.
        args: every field keeps Trainer's meaning; `cc_train.config.training.RunArguments` sets what this needs.
        train_dataset, eval_dataset: encoded rows.
        collator: batches them.
        decision_learning_rate: the Decision Maker's own; None for the model's.
        english: the training rows' English activations ``[R, L, H]``, if they are computed before training.
    """

    model: TwoPassModel

    def __init__(
        self,
        model: TwoPassModel,
        args: TrainingArguments,
        train_dataset: PairDataset,
        collator: PairCollator,
        *,
        eval_dataset: PairDataset | None = None,
        decision_learning_rate: float | None = None,
        english: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
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
        self.targets: AlignmentTargets | None = None  # of the training rows; None without an alignment
        self.base: Path | None = None  # what the run began with; a checkpoint holds only what is trained
        self.answers: AnswerScores | None = None  # of each evaluation; None if only the loss is measured
        self._alignment = AlignmentLog(
            model.align, lambda value: self.accelerator.reduce(value, "mean"), self.args.device
        )
        self._step_rows = 0  # rows of the current step, on all processes
        self._layer_counts = LayerCounts(model.config.num_hidden_layers)
        self.learns = False
        """Whether a step has changed weights: one that was made here, or before the run was resumed."""
        self._rows: list[int] = []  # indices of the current step's rows, on this process
        self._aside: Path | None = None
        self.label_smoother = None  # TwoPassModel smooths, since it has the targets

    @cached_property
    def base_digest(self) -> str | None:
        """Digest of the weights in `base`. Made when a checkpoint is written or read, and not in every process."""
        return None if self.base is None else digest_of_base(self.base)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Trainer's own; raises `TrainingError`, which names the batch's rows, if the loss is not finite."""
        rows = inputs["row"]
        inputs = {name: value for name, value in inputs.items() if name != "row"}
        if self.english is not None and model.training:
            inputs["english_activations"] = self.english[rows.cpu()].to(rows.device)
        if self.targets is not None and model.training:
            inputs["alignment_targets"] = self.targets.of(rows.tolist()).to(rows.device)
            inputs["num_rows_in_batch"] = self._step_rows
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if "alignment" in outputs:
            # Trainer multiplies the loss by the processes, whose mean it takes.
            scale = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
            self._alignment.add(outputs["alignment"].sum() * scale)
        if model.training:
            self._rows.extend(rows.tolist())
        if not torch.isfinite(loss).all():
            dataset = self.train_dataset if model.training else self.eval_dataset
            raise self._broken(f"the loss is {loss.mean().item()}", rows.tolist(), dataset)
        if model.training and self.model.chosen_layers is not None:
            examples = self.train_dataset.examples  # type: ignore[union-attr]
            languages = [example.row.lang for i in rows.tolist() if (example := examples[i]).connected]
            self._layer_counts.add(languages, self.model.chosen_layers)
        return (loss, outputs) if return_outputs else loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Trainer's own; raises `TrainingError` if the gradient is not finite, before it can spoil the weights."""
        untyped: Any = super()
        norm = untyped._get_grad_norm(model, grad_norm)
        optimizer: Any = self.optimizer
        self.learns |= float(norm) > 0 and any(group["lr"] > 0 for group in optimizer.param_groups)
        if not self.args.fp16 and not math.isfinite(float(norm)):  # fp16 scales its loss down and tries again
            raise self._broken(f"the gradient's norm is {float(norm)}", self._rows, self.train_dataset)
        self._rows = []
        return norm

    def _broken(self, what: str, rows: list[int], dataset: Any) -> TrainingError:
        names = [dataset.examples[i].row.name for i in rows]
        more = f" and {len(names) - _SHOWN_ROWS} more" if len(names) > _SHOWN_ROWS else ""
        return TrainingError(
            f"{what} at step {self.state.global_step + 1}, on {', '.join(names[:_SHOWN_ROWS])}{more}; "
            f"lower --learning-rate{' or --align' if self.model.align else ''}, or look at these rows"
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Trainer's own; ``group_by_length`` gives an order that does not depend on earlier random draws."""
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        return EpochLengthSampler(
            course_of(self).rows_per_step,
            [cost(example) for example in dataset.examples],
            self.args.data_seed if self.args.data_seed is not None else self.args.seed,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Trainer's own; the Decision Maker may get its own learning rate, since it alone starts untrained."""
        optimizer = super().create_optimizer(model)
        if self.model.decision is not None and self.decision_learning_rate is not None:
            own = list(self.model.decision.parameters())
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if all(p is not parameter for parameter in own)]
            optimizer.add_param_group(
                {"params": own, "lr": self.decision_learning_rate, "weight_decay": self.args.weight_decay}
            )
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add ``layers_in_use``, the perplexity of the choice: 1 if one layer is always chosen, L if all are alike.

        With the alignment, also ``alignment``, which is left out of ``loss``.
        """
        if self.targets is not None:
            self._alignment.rewrite(logs)
        counts = self.model.take_choices()
        if counts is not None and "loss" in logs:
            share = counts / counts.sum()
            logs["layers_in_use"] = round(math.exp(torch.special.entr(share).sum().item()), 2)
        super().log(logs, start_time)
        if "loss" in logs and self._layer_counts:  # for the report only: logging services take no tables
            self.state.log_history[-1][LAYERS] = self._layer_counts.take()  # type: ignore[assignment]
        if "eval_loss" in logs and self.answers is not None:
            self.state.log_history[-1][SCORES] = self.answers.by_task  # type: ignore[assignment]

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's own, and the scores of generated answers, if any are asked for."""
        output = super().evaluation_loop(*args, **kwargs)
        if self.answers is not None and output.metrics is not None:
            part = self.args.process_index, self.args.world_size
            with self.compute_loss_context_manager():
                output.metrics.update(self.answers.measure(part, gather_object))
        return output

    def final_state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The trained weights by name: the language model's, and the Decision Maker's.

        Every process of a parallel job must call this. Under DeepSpeed only the main process gets the weights; the
        others get none.
        """
        state = self.accelerator.get_state_dict(self.model_wrapped) or {}
        return _part(state, "language_model."), _part(state, "decision.")

    def save_last(self) -> None:
        """Save a checkpoint of the last step, unless it exists. If the fit fails, the run resumes from there.

        Every process of a parallel job must call this. The checkpoint holds no optimiser state, since no step follows;
        but FSDP and DeepSpeed cannot load one without it.
        """
        if (Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}").exists():
            return
        kept = self.args.save_only_model
        self.args.save_only_model = not (self.is_fsdp_enabled or self.is_deepspeed_enabled)
        try:
            self._save_checkpoint(self.model, trial=None)
        finally:
            self.args.save_only_model = kept

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Write the trained weights in full precision. `_load_from_checkpoint` reads them."""
        directory = Path(output_dir or str(self.args.output_dir))
        directory.mkdir(parents=True, exist_ok=True)
        save_trained(directory, self.model.state_dict() if state_dict is None else state_dict, self._trained_names())

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Trainer's own, written aside and then renamed, so that every checkpoint is complete."""
        directory = Path(str(self.args.output_dir))
        aside, name = directory / _ASIDE, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            if self.args.should_save:
                shutil.rmtree(aside, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self._aside = aside
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            self._name_best(directory, aside / name)
            if self.args.should_save:
                resumable_course(self).save(aside / name)
                flush(aside / name)
                place(aside / name, directory / name)
                aside.rmdir()
                rotate_checkpoints(str(directory), self.args.save_total_limit, self.state.best_model_checkpoint)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            free = shutil.disk_usage(directory).free / 1e6
            raise TrainingError(
                f"{directory / name} cannot be saved ({one_line(error)}); "
                f"{free:.0f} MB are free there: make room, or save less often or less (--save-total-limit)"
            ) from error
        finally:
            self._aside = None
        self.accelerator.wait_for_everyone()

    def _name_best(self, directory: Path, saved: Path) -> None:
        """Record the best checkpoint under its final path, from which each process loads it, if it was just saved."""
        best = self.state.best_model_checkpoint
        if best is not None and Path(best) == saved:
            self.state.best_model_checkpoint = str(directory / saved.name)
            if self.args.should_save:
                self.state.save_to_json(str(saved / TRAINER_STATE_NAME))

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._aside is None else str(self._aside)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:  # each process saved its own shard
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        target: Any = self.model if model is None else model
        saved = load_trained(Path(resume_from_checkpoint), self._trained_names())
        target.load_state_dict(saved, strict=False)  # frozen weights are not in the file

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Trainer's own; on another number of processes, a seed that no step has had."""
        untyped: Any = super()
        untyped._load_rng_state(checkpoint)
        saved = saved_course(Path(checkpoint)) if checkpoint else None
        if saved is not None and saved.processes != self.args.world_size:
            set_seed(self.args.seed + 1 + self.args.process_index + self.args.world_size * self.state.global_step)

    def _trained_names(self) -> set[str]:
        return {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """Trainer's own, but no batch after the last step: a resumed Trainer would take one more."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return [], None
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.targets is not None:
            self._step_rows = sum(len(batch["row"]) for batch in batches)
            if self.args.average_tokens_across_devices and self.args.world_size > 1:
                self._step_rows = int(self.accelerator.gather(torch.tensor(self._step_rows, device=device)).sum())
            self._alignment.step()
        return batches, items

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of ``state`` under ``prefix``, named without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

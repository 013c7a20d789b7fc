"""The two passes of CC-Tuning as one differentiable module.

Pass 1 runs the English prompt up to its anchor (step 1). Steps 2 and 3 choose one of its activations. Pass 2 runs the
prompt and its answer, connected (step 4), and gives the loss. `cc_core.connection` defines the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from cc_core.connection import ANCHOR_OFFSET, best_layer, chosen_activation, sample_layer
from cc_train.model.activations import anchor_positions, capture_at, connected_at
from cc_train.model.answer_head import answer_positions, head_only_at, output_embeddings
from cc_train.training.extensions import ExtendedDecisionMaker
from cc_train.training.frozen import frozen_answer_logits


class TwoPassModel(nn.Module):
    """A causal LM trained on parallel rows; without a Decision Maker, plain supervised fine-tuning.

    In training mode the layer is sampled, as in the paper; in evaluation mode it is the best one, as in serving. Both
    passes are one forward of this module, so Trainer's mixed precision, accumulation and data parallelism apply as to
    any model.

    If no weight of the language model is trained, only ``W`` needs a gradient. The English pass then builds no graph,
    and the answer's pass builds one from the anchor on.

    Args:
        language_model: trained in both passes, or frozen.
        decision: holds ``W``, fp32; None trains plain.
        temperature: softness of the Gumbel-softmax gradient.
        anchor_offset: position of the anchor, counted from a prompt's end.
        label_smoothing: as in `torch.nn.functional.cross_entropy`.
    """

    accepts_loss_kwargs = True  # Trainer then passes num_items_in_batch, and accumulation weighs tokens alike
    main_input_name = "input_ids"

    def __init__(
        self,
        language_model: PreTrainedModel,
        decision: ExtendedDecisionMaker | None,
        *,
        temperature: float = 1.0,
        anchor_offset: int = ANCHOR_OFFSET,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.decision = decision
        self.temperature = temperature
        self.anchor_offset = anchor_offset
        self.label_smoothing = label_smoothing
        self.frozen = not any(parameter.requires_grad for parameter in language_model.parameters())
        self.chosen_layers: Tensor | None = None
        """``k`` of each connected row of the last batch, ``[C]``; None if it had none."""
        self._choices: Tensor | None = None
        self._hooks: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def config(self) -> Any:
        return self.language_model.config

    @property
    def _no_split_modules(self) -> Any:
        """Layers that a sharded job gathers one at a time. Like the next three, it is transformers' API."""
        return self.language_model._no_split_modules

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return output_embeddings(self.language_model)

    def tie_weights(self) -> None:
        self.language_model.tie_weights()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        anchors: Tensor,
        connected: Tensor,
        english_input_ids: Tensor,
        english_attention_mask: Tensor,
        english_activations: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> dict[str, Tensor]:
        """Loss of a batch of `cc_train.data.batches.PairCollator`.

        Args:
            english_activations: ``a_l`` of each row, ``[B, L, H]``, if pass 1 has run already.
            num_items_in_batch: the number of answer tokens to divide the loss by; this batch's number if None.

        Returns:
            ``loss``, a scalar in nats per answer token.
        """
        vector, unused = self._vector(
            input_ids, anchors, connected, english_input_ids, english_attention_mask, english_activations
        )
        if vector is None:
            logits, targets = self.answer_logits(input_ids, attention_mask, labels)
        elif self.frozen:
            logits, targets = frozen_answer_logits(
                self.language_model, input_ids, attention_mask, labels, anchors, vector
            )
        else:
            hooks = partial(connected_at, self.language_model, anchors, vector)
            logits, targets = self.answer_logits(input_ids, attention_mask, labels, hooks)
        total = F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing, reduction="sum")
        count = targets.numel() if num_items_in_batch is None else num_items_in_batch
        return {"loss": total / count + unused}

    def english_activations(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Pass 1: ``a_l`` of English prompts ``[C, M]`` at their anchors, ``[C, L, H]`` fp32."""
        positions = anchor_positions(mask, self.anchor_offset)
        ids = ids[:, : mask.sum(dim=1).max()]
        mask = mask[:, : ids.shape[1]]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            with self._pass(lambda: capture_at(self.language_model, positions)) as capture:
                output = self.language_model.model(input_ids=ids, attention_mask=mask, use_cache=False)
            # Nothing needs the last layer's output. But a sharded job gathers its weights for the backward pass only if
            # a gradient reaches them.
            reached: Tensor = 0.0 * output.last_hidden_state[torch.arange(len(ids)), positions].float()
            activations: Tensor = capture.activations
            return activations + reached[:, None]

    def choose(self, anchor_ids: Tensor, activations: Tensor) -> Tensor:
        """Run the Decision Maker and the choice between the passes: ``a_k`` ``[C, H]``, fp32.

        Args:
            anchor_ids: the non-English prompts' tokens at the anchor, ``[C]``.
            activations: ``a_l`` of the English prompts, ``[C, L, H]``.
        """
        assert self.decision is not None
        embedding = self.language_model.get_input_embeddings()(anchor_ids[:, None]).squeeze(1)
        with torch.autocast(embedding.device.type, enabled=False):  # the connection is fp32 under mixed precision too
            activations = self.decision.project(activations)
            logits = self.decision(activations, embedding)
            if self.training:
                choice = sample_layer(logits, self.temperature)
            else:
                choice = F.one_hot(best_layer(logits), logits.shape[-1]).float()
            self.chosen_layers = choice.detach().argmax(dim=-1)
            counts = choice.detach().sum(dim=0)
            self._choices = counts if self._choices is None else self._choices + counts
            return chosen_activation(choice, activations)

    def answer_logits(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        hooks: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> tuple[Tensor, Tensor]:
        """Pass 2: logits ``[A, V]`` at the positions that predict the answers, and their targets ``[A]``.

        Args:
            hooks: makes the context in which the pass runs, such as `connected_at`.
        """
        rows, columns = answer_positions(labels)
        with self._pass(hooks), head_only_at(self.language_model, rows, columns):
            logits = self.language_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        return logits[0], labels[rows, columns + 1]

    def take_choices(self) -> Tensor | None:
        """How often each layer was chosen since the last call, ``[L]``; None if none was."""
        counts, self._choices = self._choices, None
        return counts

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """As in transformers, with the hooks of a pass set again when its layers run again for their gradient."""

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            return nullcontext(), self._hooks()

        settings = {**(gradient_checkpointing_kwargs or {}), "use_reentrant": False, "context_fn": contexts}
        self.language_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings, **kwargs)

    def _vector(
        self,
        input_ids: Tensor,
        anchors: Tensor,
        connected: Tensor,
        english_ids: Tensor,
        english_mask: Tensor,
        activations: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | float]:
        """The vector to add at each row's anchor, ``[B, H]``. None if no row is connected.

        Also a zero that gives unused weights a gradient.
        """
        self.chosen_layers = None
        if self.decision is None:
            return None, 0.0
        rows = connected.nonzero().squeeze(1)
        if not len(rows):  # every parameter gets a gradient in every step, if only a zero
            if _distributed():
                return None, self._unused(input_ids, activations)
            return None, 0.0 * sum(parameter.sum() for parameter in self.decision.parameters())
        known = None if activations is None else activations[rows]
        given = self.english_activations(english_ids[rows], english_mask[rows]) if known is None else known
        chosen = self.choose(input_ids[rows, anchors[rows]], given)
        # A zero vector leaves a plain row's hidden state exactly as it was.
        return chosen.new_zeros(len(input_ids), chosen.shape[1]).index_put((rows,), chosen), 0.0

    def _unused(self, input_ids: Tensor, activations: Tensor | None) -> Tensor:
        """A zero loss term that still runs the connection, so that every rank joins the collectives."""
        counts, ids = self._choices, input_ids[:1, : -self.anchor_offset]
        given = self.english_activations(ids, torch.ones_like(ids)) if activations is None else activations[:1]
        unused = 0.0 * self.choose(ids[:, 0], given).sum()
        self.chosen_layers, self._choices = None, counts
        return unused

    @contextmanager
    def _pass(self, hooks: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        self._hooks = hooks
        try:
            with hooks() as entered:
                yield entered
        finally:
            self._hooks = nullcontext


def _distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1

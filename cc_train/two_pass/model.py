"""The two passes of CC-Tuning as one differentiable module.

Pass 1 runs the English prompt up to its anchor (step 1). Steps 2 and 3 choose one of its activations. Pass 2 runs the
prompt and its answer, connected (step 4), and gives the loss. `cc_core.connection` defines the steps.

With the alignment, which is ours (`cc_train.two_pass.alignment`), pass 1 also runs the connected rows' own prompts:
pass 2 would give their activations with the connection in them. All other rows' are taken from pass 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, distributed
from transformers import PreTrainedModel

from cc_core.connection import ANCHOR_OFFSET, best_layer, chosen_activation, sample_layer
from cc_train.data.batches import Batch
from cc_train.model.activations import Capture, Places, anchor_positions, capture_at, connected_at, family_in
from cc_train.model.answer_head import AnswerLogits, answer_positions, head_only_at
from cc_train.model.router_loss import router_loss
from cc_train.two_pass.alignment import alignment_loss
from cc_train.two_pass.answer_loss import chunk_size, chunked_cross_entropy, summed_cross_entropy
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.frozen import frozen_answer_logits
from cc_train.two_pass.layout import Layout
from cc_train.two_pass.wrapper import Hooks, LanguageModelWrapper


class TwoPassModel(LanguageModelWrapper):
    """A causal language model that is trained on parallel rows; without a Decision Maker, by plain fine-tuning.

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
        align: λ of the alignment; 0 for none.
        loss_chunk: as in `cc_train.two_pass.answer_loss.chunk_size`.
        padding_free: as in `cc_train.two_pass.layout.Layout`; a frozen model's batches stay padded.
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
        align: float = 0.0,
        loss_chunk: int | None = None,
        padding_free: bool = False,
    ) -> None:
        super().__init__(language_model)
        self.decision = decision
        self.temperature = temperature
        self.anchor_offset = anchor_offset
        self.label_smoothing = label_smoothing
        self.align = align
        self.loss_chunk = loss_chunk
        self.padding_free = padding_free
        self.layer_weights: Tensor | None = None
        """The alignment's weights by layer, ``[L]``, on the model's device; None without an alignment."""
        self.frozen = not any(parameter.requires_grad for parameter in language_model.parameters())
        self.chosen_layers: Tensor | None = None
        """``k`` of each connected row of the last batch, ``[C]``; None if it had none."""
        self._choices: Tensor | None = None

    def forward(
        self,
        labels: Tensor,  # on its own, since Trainer looks for it among these names
        num_items_in_batch: Tensor | int | None = None,
        num_rows_in_batch: int | None = None,
        **others: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            labels, others: the fields of a `cc_train.data.batches.Batch`.
            num_items_in_batch: the number of answer tokens to divide the loss by; this batch's number if None.
            num_rows_in_batch: the number of rows to divide the alignment by; this batch's number if None.

        Returns:
            ``loss``, a scalar: nats per answer token, and λ times the alignment; in training also the router loss of
            a mixture of experts that has one. With an alignment also ``alignment``, a scalar: its value without λ and
            without a gradient.
        """
        batch = Batch(labels=labels, **others)
        # Step 1: pass 1, over the English prompts.
        given, own, unused = self._pass_one(batch)
        vector = None
        if given is not None:
            rows = batch.connected_rows
            # Steps 2 and 3: the Decision Maker and the choice.
            chosen = self.choose(batch.input_ids[rows, batch.anchors[rows]], given)
            # A zero vector leaves a plain row's hidden state exactly as it was.
            vector = chosen.new_zeros(len(labels), chosen.shape[1]).index_put((rows,), chosen)
        # Step 4: pass 2, with the connection.
        captures: list[Capture] = []
        kept: list[Tensor] = []
        chunk = chunk_size(self.language_model, self.loss_chunk, labels)
        if self.frozen and vector is not None:
            answers = frozen_answer_logits(self.language_model, batch, vector, kept if chunk else None)
        else:
            places = Layout(batch.attention_mask, self.padding_free).places(batch.anchors)
            hooks = partial(self._answer_hooks, places, vector, None if batch.alignment_targets is None else captures)
            answers = self.answer_logits(batch.input_ids, batch.attention_mask, labels, hooks, kept if chunk else None)
        if kept and chunk:
            total = chunked_cross_entropy(self.language_model, kept[0], answers.targets, chunk, self.label_smoothing)
        else:
            total = summed_cross_entropy(answers.logits, answers.targets, self.label_smoothing)
        tokens = answers.targets.numel()
        if answers.router_loss is not None:  # each batch of a step weighs as its answers do
            total = total + tokens * answers.router_loss
        count = tokens if num_items_in_batch is None else num_items_in_batch
        loss = total / torch.as_tensor(count).clamp_min(1) + unused  # rows that are only aligned have no answer
        if batch.alignment_targets is None:
            return {"loss": loss}
        activations = captures[0].activations
        if own is not None:
            activations = activations.index_put((batch.connected_rows,), own)
        assert self.layer_weights is not None
        summed = alignment_loss(activations, batch.alignment_targets, self.layer_weights)
        alignment = summed / (len(labels) if num_rows_in_batch is None else num_rows_in_batch)
        return {"loss": loss + self.align * alignment, "alignment": alignment.detach()}

    def english_activations(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Pass 1: ``a_l`` of English prompts ``[C, M]`` at their anchors, ``[C, L, H]`` fp32."""
        ids = ids[:, : mask.sum(dim=1).max()]
        layout = Layout(mask[:, : ids.shape[1]], self.padding_free)
        places = layout.places(anchor_positions(mask, self.anchor_offset))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            with self._pass(lambda: capture_at(self.language_model, places)) as capture:
                output = self.language_model.model(**layout.inputs(ids), use_cache=False)
            # Nothing needs the last layer's output. But a sharded job gathers its weights for the backward pass only if
            # a gradient reaches them.
            reached: Tensor = 0.0 * output.last_hidden_state[places].float()
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
        embedding = embedding * family_in(self.language_model).embedding_multiplier_in(self.config)
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
        hooks: Hooks = nullcontext,
        kept: list[Tensor] | None = None,
    ) -> AnswerLogits:
        """Pass 2: the logits at the positions that predict the answers; in training also the router loss.

        Args:
            hooks: makes the context in which the pass runs, such as `connected_at`.
            kept: as in `cc_train.model.answer_head.head_only_at`.
        """
        layout = Layout(attention_mask, self.padding_free)
        labels = layout.tokens(labels)
        rows, columns = answer_positions(labels)
        with self._pass(hooks), head_only_at(self.language_model, rows, columns, kept):
            output = self.language_model(**layout.inputs(input_ids), use_cache=False)
        router = router_loss(self.language_model, output) if self.training and not self.frozen else None
        return AnswerLogits(output.logits[0], labels[rows, columns + 1], router)

    def take_choices(self) -> Tensor | None:
        """How often each layer was chosen since the last call, ``[L]``; None if none was."""
        counts, self._choices = self._choices, None
        return counts

    def _pass_one(self, batch: Batch) -> tuple[Tensor | None, Tensor | None, Tensor | float]:
        """For the C connected rows: their English ``a_l``, and with the alignment the ``a_l`` of their own prompts.

        Both are ``[C, L, H]``. The third value is a zero that gives unused weights a gradient.
        """
        self.chosen_layers = None
        if self.decision is None:
            return None, None, 0.0
        rows, known = batch.connected_rows, batch.english_activations
        if not len(rows):  # every parameter gets a gradient in every step, even if it is zero
            if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
                return None, None, self._unused(batch)
            return None, None, 0.0 * sum(parameter.sum() for parameter in self.decision.parameters())
        if known is not None:
            return known[rows], None, 0.0
        given = self.english_activations(batch.english_input_ids[rows], batch.english_attention_mask[rows])
        if batch.alignment_targets is None:
            return given, None, 0.0
        lengths = batch.anchors[rows] - self.anchor_offset
        prompts = batch.input_ids[rows, : lengths.max()]
        is_prompt = (torch.arange(prompts.shape[1], device=prompts.device) < lengths[:, None]).long()
        # A pass of its own: padded together, the shorter language's prompts would be as long as the longer one's.
        return given, self.english_activations(prompts, is_prompt), 0.0

    def _unused(self, batch: Batch) -> Tensor:
        """A loss term of zero. It runs what connected rows run, in their order: the other processes wait for it."""
        counts, ids, known = self._choices, batch.input_ids[:1, : -self.anchor_offset], batch.english_activations
        mask = torch.ones_like(ids)
        given = self.english_activations(ids, mask) if known is None else known[:1]
        own = given if batch.alignment_targets is None else self.english_activations(ids, mask)
        unused = 0.0 * (self.choose(ids[:, 0], given).sum() + own.sum())
        self.chosen_layers, self._choices = None, counts
        return unused

    @contextmanager
    def _answer_hooks(self, places: Places, vector: Tensor | None, captures: list[Capture] | None) -> Iterator[None]:
        """Pass 2's context: ``a_l`` is added to ``captures``, as it is before the connection adds ``vector``."""
        with ExitStack() as stack:
            if captures is not None:
                captures.append(stack.enter_context(capture_at(self.language_model, places, alone=False)))
            if vector is not None:
                stack.enter_context(connected_at(self.language_model, places, vector))
            yield

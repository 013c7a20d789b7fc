"""Two-pass inference on transformers: slow and plain. Every faster engine is tested against it.

Pass 1 runs the whole prompt and captures its activations at the anchor. Pass 2 runs the whole prompt again, connected,
and decodes greedily from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from cc_core.checkpoint import load_connection
from cc_core.connection import Connection, Decision, transform
from cc_train.model.activations import Capture, anchor_positions, capture_at, connected_at
from cc_train.model.router_loss import leave_routers_alone_where_nothing_is_trained


@dataclass(frozen=True)
class Generation:
    """Greedy tokens, the log-probability of each, and the chosen layer (None when plain)."""

    tokens: list[int]
    logprobs: list[float]
    layer: int | None


@dataclass(frozen=True)
class Score:
    """The reference's scores of an answer that another engine gave.

    Args:
        logprobs: of each of the answer's tokens, after those before it.
        best: the largest log-probability in each of these places; greedy decoding would have taken its token.
        layer: the reference's own choice, None when plain.
        layer_gap: how far the connected layer's logit is below the chosen one's, as a share of the range of all logits.
    """

    logprobs: list[float]
    best: list[float]
    layer: int | None
    layer_gap: float


class Reference:
    """A transformers model with its connection.

    Args:
        model: the plain tuned model.
        connection: ``W`` and the Transform Matrices; moved to the model's device.
    """

    def __init__(self, model: PreTrainedModel, connection: Connection) -> None:
        model.train(False)
        self.model = model
        self.connection = connection.to(model.device)

    @classmethod
    def from_checkpoint(cls, directory: Path, dtype: torch.dtype = torch.float32) -> Reference:
        """Load a checkpoint directory; raises `cc_core.checkpoint.CheckpointError`."""
        connection, _ = load_connection(directory)
        # Eager attention is the only one of transformers that caps attention scores, as Gemma 2 does.
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager")
        leave_routers_alone_where_nothing_is_trained(model)
        return cls(model, connection)

    @torch.inference_mode()
    def capture(self, input_ids: Tensor, attention_mask: Tensor) -> Capture:
        """Pass 1: the FFN contributions and the embedding at each prompt's anchor."""
        positions = anchor_positions(attention_mask, self.connection.anchor_offset)
        with capture_at(self.model, positions) as capture:
            self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, logits_to_keep=1)
        return capture

    @torch.inference_mode()
    def generate(
        self,
        prompt: Sequence[int],
        name: str | None,
        max_tokens: int,
        *,
        strength: float = 1.0,
        stop: Sequence[int] = (),
    ) -> Generation:
        """Greedy decoding of one prompt.

        Args:
            prompt: token ids.
            name: which Transform Matrix, or None for the plain model.
            max_tokens: how many tokens to generate at most.
            strength: what the connection's vector is multiplied by.
            stop: token ids that end the generation; the one met is the last token returned.
        """
        input_ids = torch.tensor([list(prompt)], device=self.model.device)
        mask = torch.ones_like(input_ids)
        layer: int | None = None
        if name is None:
            output = self.model(input_ids=input_ids, attention_mask=mask, use_cache=True, logits_to_keep=1)
        else:
            _, decision = self._decide(input_ids, name)
            decision = decision.scaled(torch.tensor([strength], device=self.model.device))
            layer = int(decision.layer)
            positions = anchor_positions(mask, self.connection.anchor_offset)
            with connected_at(self.model, positions, decision.vector):
                output = self.model(input_ids=input_ids, attention_mask=mask, use_cache=True, logits_to_keep=1)
        tokens: list[int] = []
        logprobs: list[float] = []
        while True:
            distribution = output.logits[0, -1].float().log_softmax(dim=-1)
            token = int(distribution.argmax())
            tokens.append(token)
            logprobs.append(float(distribution[token]))
            if len(tokens) == max_tokens or token in stop:
                return Generation(tokens, logprobs, layer)
            following = torch.tensor([[token]], device=self.model.device)
            output = self.model(input_ids=following, past_key_values=output.past_key_values, use_cache=True)

    @torch.inference_mode()
    def score(self, prompt: Sequence[int], name: str | None, answer: Sequence[int], layer: int | None = None) -> Score:
        """Score an answer, token by token, whatever the reference itself would answer.

        Args:
            prompt: token ids.
            name: which Transform Matrix, or None for the plain model.
            answer: token ids.
            layer: the layer to connect; the reference's choice where it is not given.
        """
        input_ids = torch.tensor([[*prompt, *answer[:-1]]], device=self.model.device)
        chosen, gap = None, 0.0
        if name is None:
            output = self.model(input_ids=input_ids, use_cache=False, logits_to_keep=len(answer))
        else:
            capture, decision = self._decide(input_ids[:, : len(prompt)], name)
            chosen, vector = int(decision.layer), decision.vector
            if layer is not None and layer != chosen:
                vector = transform(capture.activations[:, layer], self.connection.transforms[name])
                logits = decision.logits[0]
                gap = float((logits[chosen] - logits[layer]) / (logits.max() - logits.min()))
            anchor = torch.tensor([len(prompt) + self.connection.anchor_offset], device=self.model.device)
            with connected_at(self.model, anchor, vector):
                output = self.model(input_ids=input_ids, use_cache=False, logits_to_keep=len(answer))
        distributions = output.logits[0].float().log_softmax(dim=-1)
        tokens = torch.tensor(list(answer), device=self.model.device)
        logprobs = distributions.gather(-1, tokens[:, None])[:, 0]
        return Score(logprobs.tolist(), distributions.amax(dim=-1).tolist(), chosen, gap)

    def _decide(self, input_ids: Tensor, name: str) -> tuple[Capture, Decision]:
        capture = self.capture(input_ids, torch.ones_like(input_ids))
        return capture, self.connection.decide(name, capture.activations, capture.embedding)

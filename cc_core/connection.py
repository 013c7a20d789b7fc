"""The cross-lingual connection of CC-Tuning (arXiv 2506.00875): its four steps.

Notation, for one prompt of a model with L layers and hidden size H:

- ``p``: the anchor, the prompt's last token (``anchor_offset = -1``), generation prompt included.
- ``a_l`` (H): the FFN contribution of layer l at ``p``, which the feed-forward block adds to the residual stream.
  The argument ``activations`` holds it for all layers, ``[..., L, H]``.
- ``e`` (H): the embedding layer's output at ``p``, which enters layer 0. The argument ``embedding``.
- ``W`` (L x H): the Decision Maker's weight, without bias.
- ``d`` (H): what the Decision Maker sees.
- ``k``: the chosen layer.
- ``T`` (H x H): the Transform Matrix, applied to row vectors, ``a @ T``.

Training (`cc_train.two_pass.model`) takes ``a_l`` from the English prompt, and ``e`` from the prompt itself. Serving
(`Connection`) has no English prompt: it transforms the prompt's own ``a_l``. All arithmetic here is fp32, whatever the
model's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANCHOR_OFFSET = -1


def transform(activations: Tensor, matrix: Tensor) -> Tensor:
    """Step 1, activations, in serving: ``a_l @ T``. Training needs no ``T``: it has the English prompt's ``a_l``.

    The model's forward pass records ``a_l``: `cc_train.model.activations.capture_at` in training, and
    `cc_serve.engine.model` in serving.

    Args:
        activations: the prompt's own ``a_l``, ``[..., H]``.
        matrix: ``T``, ``[H, H]``.

    Returns:
        ``[..., H]``, fp32.
    """
    return activations.float() @ matrix.float()


def decision_logits(weight: Tensor, mean_activation: Tensor, embedding: Tensor) -> Tensor:
    """Step 2, Decision Maker: ``W d`` with ``d = mean_l(a_l) + e``.

    Args:
        weight: ``W``, ``[L, H]``.
        mean_activation: mean of the activations over layers, ``[..., H]``.
        embedding: ``e``, ``[..., H]``.

    Returns:
        Logits over layers, ``[..., L]``, fp32.
    """
    d = mean_activation.float() + embedding.float()
    return F.linear(d, weight.float())


def sample_layer(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Step 3, choice, in training: hard Gumbel-softmax over layers, with the straight-through gradient.

    Args:
        logits: ``[..., L]``.
        temperature: softness of the gradient; the choice itself does not depend on it.

    Returns:
        ``k`` as a one-hot vector, ``[..., L]``.
    """
    return F.gumbel_softmax(logits, tau=temperature, hard=True)


def best_layer(logits: Tensor) -> Tensor:
    """Step 3, choice, in serving: ``k = argmax(logits)``, ``[...]``, without noise."""
    return logits.argmax(dim=-1)


def chosen_activation(choice: Tensor, activations: Tensor) -> Tensor:
    """Between steps 3 and 4, in training: select ``a_k``.

    It multiplies by the one-hot choice instead of indexing, so that the gradient reaches the choice.

    Args:
        choice: from `sample_layer`, ``[..., L]``.
        activations: ``a_l`` of all layers, ``[..., L, H]``.

    Returns:
        ``a_k``, ``[..., H]``, fp32.
    """
    return torch.einsum("...l,...lh->...h", choice.float(), activations.float())


def connect(ffn_output: Tensor, vector: Tensor) -> Tensor:
    """Step 4, connection: add ``a_k`` to the hidden state at ``p``, where layer 0's FFN adds its own contribution.

    Args:
        ffn_output: layer 0's FFN contribution, ``[..., H]``, any float dtype.
        vector: ``a_k`` in training, ``a_k @ T`` in serving, ``[..., H]``.

    Returns:
        ``[..., H]`` in ``ffn_output``'s dtype; the sum itself is fp32.
    """
    return (ffn_output.float() + vector.float()).to(ffn_output.dtype)


class DecisionMaker(nn.Module):
    """The paper's Decision Maker, with a ``W`` to train.

    Training builds `cc_train.two_pass.extensions.ExtendedDecisionMaker`, which by default normalises ``d`` first.

    Args:
        num_layers: L.
        hidden_size: H.
    """

    def __init__(self, num_layers: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_layers, hidden_size, dtype=torch.float32))
        nn.init.normal_(self.weight, std=hidden_size**-0.5)

    def forward(self, activations: Tensor, embedding: Tensor) -> Tensor:
        """Logits ``[..., L]`` from ``activations`` ``[..., L, H]`` and ``embedding`` ``[..., H]``."""
        return decision_logits(self.weight, activations.float().mean(dim=-2), embedding)


@dataclass(frozen=True)
class Decision:
    """What the connection does for a batch of B prompts.

    Args:
        layer: ``k``, ``[B]``.
        vector: ``a_k @ T``, ``[B, H]``.
        logits: ``W d``, of which ``k`` is the argmax, ``[B, L]``.
    """

    layer: Tensor
    vector: Tensor
    logits: Tensor

    @classmethod
    def joined(cls, decisions: Sequence[Decision]) -> Decision:
        """The decisions for several batches, as for one batch with all their prompts in order."""
        if len(decisions) == 1:
            return decisions[0]
        return cls(*(torch.cat([getattr(one, part.name) for one in decisions]) for part in fields(cls)))

    def scaled(self, strengths: Tensor) -> Decision:
        """The same choice with each vector times its strength, ``[B]``. Ours, not the paper's: there it is 1."""
        return replace(self, vector=self.vector * strengths[:, None])

    @property
    def finite(self) -> Tensor:
        """Whether all of a prompt's logits and its vector are finite, ``[B]``. If not, the decision means nothing."""
        return self.logits.isfinite().all(dim=-1) & self.vector.isfinite().all(dim=-1)


class Connection(nn.Module):
    """The trained connection in serving: ``W``, and one ``T`` for each name.

    Args:
        decision: ``W``, ``[L, H]``.
        transforms: ``T``, ``[H, H]``, by name: ``global`` or an ISO 639-1 code.
        anchor_offset: position of ``p``, counted from the prompt's end.
    """

    def __init__(
        self, decision: Tensor, transforms: Mapping[str, Tensor], *, anchor_offset: int = ANCHOR_OFFSET
    ) -> None:
        super().__init__()
        self.anchor_offset = anchor_offset
        self.names: tuple[str, ...] = tuple(transforms)
        self.decision = nn.Parameter(decision.detach().float(), requires_grad=False)
        self.transforms = nn.ParameterDict(
            {name: nn.Parameter(t.detach().float(), requires_grad=False) for name, t in transforms.items()}
        )

    @property
    def num_layers(self) -> int:
        return self.decision.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.decision.shape[1]

    def decide(self, name: str, activations: Tensor, embedding: Tensor) -> Decision:
        """Steps 1 to 3 in serving.

        Args:
            name: which Transform Matrix.
            activations: the prompts' own ``a_l``, ``[B, L, H]``.
            embedding: ``e``, ``[B, H]``.
        """
        matrix = self.transforms[name]
        activations = activations.float()
        # The transformed mean equals the mean of the transformed a_l, at an L-th of the cost.
        logits = decision_logits(self.decision, transform(activations.mean(dim=-2), matrix), embedding)
        layer = best_layer(logits)
        # Only a_k is added, so no other a_l is ever transformed.
        chosen = activations.take_along_dim(layer[..., None, None], dim=-2).squeeze(-2)
        return Decision(layer, transform(chosen, matrix), logits)

    def decide_each(self, names: Sequence[str], activations: Tensor, embedding: Tensor) -> Decision:
        """`decide` for a batch in which each row names its Transform Matrix.

        Neighbouring rows with the same matrix are computed in one call.
        """
        decisions: list[Decision] = []
        start = 0
        for name, group in groupby(names):
            stop = start + len(list(group))
            decisions.append(self.decide(name, activations[start:stop], embedding[start:stop]))
            start = stop
        return Decision.joined(decisions)

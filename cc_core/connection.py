"""The cross-lingual connection of CC-Tuning (arXiv 2506.00875), the one definition of the method.

Notation, for one prompt of a model with L layers and hidden size H:

- anchor: the prompt's last token (``anchor_offset = -1``), generation prompt included.
- ``a_l`` (H): the FFN contribution of layer l at the anchor, what the feed-forward block adds to
  the residual stream. ``activations`` holds all of them, ``[..., L, H]``.
- ``e`` (H): the embedding layer's output at the anchor, what enters layer 0. ``embedding``.
- ``W`` (L x H): the Decision Maker, without bias.
- ``T`` (H x H): the Transform Matrix, applied to row vectors, ``a @ T``.

Training sees the English prompt's ``a_l``; serving sees the prompt's own ``a_l`` and transforms them.
All arithmetic here is fp32, whatever the model's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANCHOR_OFFSET = -1


def decision_logits(weight: Tensor, mean_activation: Tensor, embedding: Tensor) -> Tensor:
    """Step 2, the Decision Maker: ``W d`` with ``d = mean_l(a_l) + e``.

    Args:
        weight: ``W``, ``[L, H]``.
        mean_activation: mean of the activations over layers, ``[..., H]``.
        embedding: ``e``, ``[..., H]``.

    Returns:
        Logits over layers, ``[..., L]``, fp32.
    """
    return F.linear(mean_activation.float() + embedding.float(), weight.float())


def sample_layer(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Step 3 in training: a hard Gumbel-softmax choice with the straight-through gradient.

    Args:
        logits: ``[..., L]``.
        temperature: softness of the gradient; the choice itself does not depend on it.

    Returns:
        One-hot choice over layers, ``[..., L]``.
    """
    return F.gumbel_softmax(logits, tau=temperature, hard=True)


def chosen_activation(choice: Tensor, activations: Tensor) -> Tensor:
    """Step 4 in training: ``a_k`` for a one-hot ``choice`` ``[..., L]`` of ``[..., L, H]``; ``[..., H]``."""
    return torch.einsum("...l,...lh->...h", choice.float(), activations.float())


def connect(ffn_output: Tensor, vector: Tensor) -> Tensor:
    """Step 4: add the connection's vector to layer 0's FFN contribution at the anchor.

    Args:
        ffn_output: ``[..., H]``, any float dtype.
        vector: ``[..., H]``.

    Returns:
        ``[..., H]`` in ``ffn_output``'s dtype; the sum itself is fp32.
    """
    return (ffn_output.float() + vector.float()).to(ffn_output.dtype)


@dataclass(frozen=True)
class Decision:
    """What the connection does for a batch of prompts.

    Args:
        layer: k, ``[B]``.
        vector: ``a_k @ T``, ``[B, H]``.
        logits: what k is the argmax of, ``[B, L]``.
    """

    layer: Tensor
    vector: Tensor
    logits: Tensor

    @property
    def finite(self) -> Tensor:
        """Which prompts the choice and the vector mean anything for, ``[B]``: all numbers in them are finite."""
        return self.logits.isfinite().all(dim=-1) & self.vector.isfinite().all(dim=-1)


class DecisionMaker(nn.Module):
    """The trainable ``W``. In training ``d`` may be normalised, which changes no choice at inference.

    Args:
        num_layers: L.
        hidden_size: H.
        normalize: divide ``d`` by its root mean square before ``W``, so that Gumbel noise of unit
            scale can still change the choice of a model whose activations are large.
        projection: ``P``, ``[H, H]``, that all activations are multiplied by before anything else, and that is trained
            on from there; None for none. The Transform Matrix takes it in, so serving knows nothing of it.
    """

    initial_projection: Tensor | None

    def __init__(
        self, num_layers: int, hidden_size: int, *, normalize: bool = True, projection: Tensor | None = None
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.register_buffer("initial_projection", projection)
        # Trained as a factor, kept as its difference from one: entries of P are as uneven as those of the activations.
        # A module of its own, since DeepSpeed gathers a weight only for the module that it is called through.
        self.mixing = None
        if projection is not None:
            self.mixing = nn.utils.skip_init(nn.Linear, hidden_size, hidden_size, bias=False)
            nn.init.zeros_(self.mixing.weight)
        self.weight = nn.Parameter(torch.empty(num_layers, hidden_size, dtype=torch.float32))
        nn.init.normal_(self.weight, std=hidden_size**-0.5)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DecisionMaker:
        """One on the CPU with the parameters of another's ``state_dict``."""
        decision = cls(*state["weight"].shape, projection=state.get("initial_projection"))
        decision.load_state_dict(state)
        return decision.cpu()

    @property
    def projection(self) -> Tensor | None:
        """``P`` as it is now, ``[H, H]``."""
        if self.initial_projection is None or self.mixing is None:
            return None
        return self.initial_projection + self.initial_projection @ self.mixing.weight.T

    def project(self, activations: Tensor) -> Tensor:
        """``a_l @ P``, ``[..., L, H]``: what is decided on and added."""
        if self.initial_projection is None or self.mixing is None:
            return activations
        projected = activations.float() @ self.initial_projection
        return projected + self.mixing(projected)

    def forward(self, activations: Tensor, embedding: Tensor) -> Tensor:
        """Logits ``[..., L]`` from projected ``activations`` ``[..., L, H]`` and ``embedding`` ``[..., H]``."""
        mean, embedding = activations.float().mean(dim=-2), embedding.float()
        if self.normalize:
            scale = (mean + embedding).square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-12)
            mean, embedding = mean / scale, embedding / scale
        return decision_logits(self.weight, mean, embedding)


class Connection(nn.Module):
    """The trained connection as it is served: ``W`` and one ``T`` for each name.

    Args:
        decision: ``W``, ``[L, H]``.
        transforms: ``T``, ``[H, H]``, by name: ``global`` or an ISO 639-1 code.
        anchor_offset: position of the anchor, counted from the prompt's end.
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
        """Steps 1 to 3 at inference: ``k = argmax W (mean_l(a_l) @ T + e)``, and ``a_k @ T``.

        The mean is linear, so only the mean and the chosen row are ever transformed.

        Args:
            name: which Transform Matrix.
            activations: the prompts' own ``a_l``, ``[B, L, H]``.
            embedding: ``e``, ``[B, H]``.
        """
        transform = self.transforms[name]
        activations = activations.float()
        logits = decision_logits(self.decision, activations.mean(dim=-2) @ transform, embedding)
        layer = logits.argmax(dim=-1)
        chosen = activations.take_along_dim(layer[..., None, None], dim=-2).squeeze(-2)
        return Decision(layer, chosen @ transform, logits)

    def decide_each(self, names: Sequence[str], activations: Tensor, embedding: Tensor) -> Decision:
        """`decide` for a batch whose rows each name their own Transform Matrix, fastest where equal names adjoin."""
        decisions: list[Decision] = []
        start = 0
        for name, group in groupby(names):
            stop = start + len(list(group))
            decisions.append(self.decide(name, activations[start:stop], embedding[start:stop]))
            start = stop
        layers, vectors, logits = zip(*((d.layer, d.vector, d.logits) for d in decisions), strict=True)
        return Decision(torch.cat(layers), torch.cat(vectors), torch.cat(logits))

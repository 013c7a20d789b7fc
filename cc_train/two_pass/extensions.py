"""What we add to CC-Tuning in training; the paper has none of this. Serving does not know it either.

- **Normalising** (ours): ``d`` is divided by its root mean square. Scaling ``d`` does not change the argmax, so serving
  skips it.
- **Projection** (ours): every ``a_l`` of the English prompt is multiplied by a trained matrix ``P``. The fit takes
  ``a_l(English) @ P`` for its target, so the Transform Matrix holds ``P`` when it is served.
- **Connection scale** (ours): ``P`` starts as a matrix that removes each layer's mean activation and brings what
  remains to a chosen size. FFN contributions are mostly the same for every prompt, and larger than the residual stream
  that they are added to.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cc_core.connection import DecisionMaker
from cc_core.terminal.text import counted

PROJECTION_PROMPTS = 256
"""How many English prompts `initial_projection` is computed from."""


class ExtendedDecisionMaker(DecisionMaker):
    """The paper's Decision Maker, whose activations may be normalised, projected, or both.

    Args:
        num_layers: L.
        hidden_size: H.
        normalize: ours. Divide ``d`` by its root mean square. Raw ``d`` of a model with large activations makes logits
            that Gumbel noise of unit scale never changes.
        projection: ours. ``P₀`` ``[H, H]``, with which the trained ``P`` begins; None for no projection. ``P``
            multiplies every activation, and ``T`` takes it in, so serving does not know it.
    """

    initial_projection: Tensor | None
    mixing: nn.Linear | None

    def __init__(
        self, num_layers: int, hidden_size: int, *, normalize: bool = True, projection: Tensor | None = None
    ) -> None:
        super().__init__(num_layers, hidden_size)
        self.normalize = normalize
        self.register_buffer("initial_projection", projection)
        # P = P₀(I + M); only M is trained, from zero, since P's entries differ widely in scale.
        # M is a module, since DeepSpeed gathers a weight only for the module that uses it.
        self.mixing = None
        if projection is not None:
            self.mixing = nn.Linear(hidden_size, hidden_size, bias=False, device="meta").to_empty(device="cpu")
            nn.init.zeros_(self.mixing.weight)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> ExtendedDecisionMaker:
        """Make one on the CPU from another's ``state_dict``."""
        decision = cls(*state["weight"].shape, projection=state.get("initial_projection"))
        decision.load_state_dict(state)
        return decision.cpu()

    @property
    def projection(self) -> Tensor | None:
        """``P`` as it is now, ``[H, H]``."""
        if self.initial_projection is None or self.mixing is None:
            return None
        projection: Tensor = self.initial_projection + self.initial_projection @ self.mixing.weight.T
        return projection

    def project(self, activations: Tensor) -> Tensor:
        """``a_l @ P``, ``[..., L, H]``; unchanged without a projection."""
        if self.initial_projection is None or self.mixing is None:
            return activations
        projected = activations.float() @ self.initial_projection
        mixed: Tensor = self.mixing(projected)
        return projected + mixed

    def forward(self, activations: Tensor, embedding: Tensor) -> Tensor:
        """Logits ``[..., L]`` from projected ``activations`` ``[..., L, H]`` and ``embedding`` ``[..., H]``."""
        activations, embedding = activations.float(), embedding.float()
        if self.normalize:
            decision_input = activations.mean(dim=-2) + embedding
            scale = decision_input.square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-12)
            activations, embedding = activations / scale[..., None, :], embedding / scale
        return super().forward(activations, embedding)


def initial_projection(activations: Tensor, scale: float) -> Tensor:
    """``P₀`` [H, H], fp32: it removes the mean of every layer and scales the rest.

    Args:
        activations: ``a_l`` of some English prompts, ``[N, L, H]``.
        scale: root mean square of ``a_l @ P₀`` over the prompts, layers and dimensions.

    Raises:
        ValueError: nothing is left beside the means: there are too few prompts.
    """
    rows = activations.double()
    basis, _ = torch.linalg.qr(rows.mean(dim=0).T)  # [H, L]
    kept = torch.eye(rows.shape[-1], dtype=rows.dtype) - basis @ basis.T
    size = (rows @ kept).square().mean().sqrt()
    if not size > 1e-6 * rows.square().mean().sqrt():
        prompts = counted(len(rows), "prompt")
        raise ValueError(f"the activations of {prompts} do not differ, so there is nothing to connect")
    projection: Tensor = scale / size * kept
    return projection.float()

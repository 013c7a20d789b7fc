"""Alignment (ours; the paper has none of this): a prompt's own activations are drawn to those of its English parallel.

``L = CE + λ · mean_l mean_{b,h} (a_l(X) - a⁰_l(En))² / (var_l + 1e-6)``

- ``a_l(X)``: what the model that is trained computes at the anchor of the prompt itself, without a connection.
- ``a⁰_l(En)``: what the model computed at the English prompt's anchor before the training. It gets no gradient. The
  model's own moving ``a_l(En)`` in its place would cost the model its English.
- ``var_l``: how far the English prompts of the data are from their mean, ``mean_{b,h} (a⁰_l(En) - mean_b)²``. So a
  layer's term is 1 for a model that always computes the mean, whatever the layer's size. It is taken over all prompts:
  a batch of one row has none, and rows weigh alike in batches of any size.

An English row is its own parallel: its activations are held where they were before the training. In a controlled world
that keeps the model's English, and costs the other language nothing.
"""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-6


def layer_weights(variance: Tensor) -> Tensor:
    """``1 / (var_l + 1e-6)``, ``[L]``, from ``var_l`` [L]."""
    return 1 / (variance.float() + EPSILON)


def alignment_loss(own: Tensor, english: Tensor, weights: Tensor) -> Tensor:
    """The loss without λ, summed over rows: a scalar, fp32.

    Args:
        own: ``a_l(X)``, ``[B, L, H]``.
        english: ``a⁰_l(En)``, ``[B, L, H]``.
        weights: from `layer_weights`, ``[L]``.
    """
    squared = (own.float() - english.float()).square().mean(dim=-1)  # [B, L]
    total: Tensor = (squared * weights).mean(dim=-1).sum()
    return total

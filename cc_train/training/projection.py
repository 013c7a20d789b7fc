"""What English activations are multiplied by before the connection sees them: folded into the Transform Matrix.

A model's FFN contributions are mostly the same for every prompt, and larger than the residual stream that they would
be added to. A projection leaves out each layer's mean direction and brings what remains to a chosen size. It is linear:
``a_l(non-English) @ T ≈ a_l(English) @ P`` is fitted instead of ``… ≈ a_l(English)``, and serving knows nothing of it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

PROJECTION_FILE = "training/cc_projection.safetensors"
"""For ``cc-train fit`` only: the matrices of another fit must take in the same projection.

In a directory of its own, since vLLM takes every safetensors file beside the weights for weights.
"""
PROMPTS = 256
"""How many English prompts tell the means and the size."""
_NAME = "projection"


def projection(activations: Tensor, scale: float) -> Tensor:
    """``P`` [H, H], fp32: away from the mean of every layer, to root mean square ``scale``.

    Args:
        activations: ``a_l`` of some English prompts, ``[N, L, H]``.
        scale: root mean square over the prompts, layers and dimensions of what ``a_l @ P`` gives.

    Raises:
        ValueError: nothing is left beside the means: there are too few prompts.
    """
    rows = activations.double()
    basis, _ = torch.linalg.qr(rows.mean(dim=0).T)  # [H, L]
    kept = torch.eye(rows.shape[-1], dtype=rows.dtype) - basis @ basis.T
    size = (rows @ kept).square().mean().sqrt()
    if not size > 1e-6 * rows.square().mean().sqrt():
        raise ValueError(f"{len(rows)} prompts do not differ in their activations, so there is nothing to connect")
    return (scale / size * kept).float()


def save_projection(projection: Tensor, directory: Path) -> None:
    """Write `PROJECTION_FILE`."""
    path = directory / PROJECTION_FILE
    path.parent.mkdir(exist_ok=True)
    save_file({_NAME: projection.float().cpu().contiguous()}, path)


def load_projection(directory: Path) -> Tensor | None:
    """``P`` [H, H] that a checkpoint was trained with, or None.

    Raises:
        ValueError: the file is truncated or something else.
    """
    path = directory / PROJECTION_FILE
    if not path.exists():
        return None
    try:
        return load_file(path)[_NAME]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path}: is truncated or not a projection; copy it again") from error

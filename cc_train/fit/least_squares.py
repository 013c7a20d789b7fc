"""Ridge regression from accumulated normal equations, which take the same memory for any number of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cc_core.terminal.text import counted


class FitError(ValueError):
    """The matrices cannot be fitted; the message says what is missing."""


class NormalEquations:
    """``XᵀX``, ``XᵀY`` and ``|Y|²`` of the rows seen so far, fp64: two H x H matrices, whatever the number of rows.

    Args:
        hidden_size: H.
        device: where they are accumulated.
    """

    def __init__(self, hidden_size: int, device: torch.device | str = "cpu") -> None:
        self.xx = torch.zeros(hidden_size, hidden_size, dtype=torch.float64, device=device)
        self.xy = torch.zeros_like(self.xx)
        self.yy = 0.0
        self.rows = 0

    def add(self, source: Tensor, target: Tensor) -> None:
        """Add rows: ``source`` and ``target``, ``[..., H]``."""
        x, y = (t.to(self.xx.device, torch.float64).flatten(0, -2) for t in (source, target))
        self.xx.addmm_(x.T, x)
        self.xy.addmm_(x.T, y)
        self.yy += y.square().sum().item()
        self.rows += len(x)

    def include(self, other: NormalEquations, sign: int = 1) -> None:
        """Add the rows of ``other``; with ``sign`` -1, take them away."""
        self.xx.add_(other.xx, alpha=sign)
        self.xy.add_(other.xy, alpha=sign)
        self.yy += sign * other.yy
        self.rows += sign * other.rows

    def scale(self) -> float:
        """The mean of the diagonal of ``XᵀX``, of which a relative ridge is a share.

        Raises:
            FitError: no rows, or values that are not finite.
        """
        if not self.rows:
            raise FitError("there is no prompt pair to fit a Transform Matrix on")
        if not (torch.isfinite(self.xx).all() and torch.isfinite(self.xy).all()):
            raise FitError("the activations hold NaN or infinite values, so no Transform Matrix can be fitted")
        return self.xx.diagonal().mean().item()

    def move_origin(self, origin: Tensor) -> None:
        """Replace ``Y`` by ``Y - X origin``, so that a ridge shrinks towards ``origin`` [H, H]."""
        origin = origin.to(self.xx)
        self.yy = self.error(origin)
        self.xy.addmm_(self.xx, origin, alpha=-1)

    def solve(self, ridge: float) -> Tensor:
        """``T`` [H, H], fp64: the minimum of ``|X T - Y|² + ridge |T|²``.

        Raises:
            FitError: a singular system.
        """
        system = self.xx.clone()
        system.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed:
            raise FitError(
                f"{counted(self.rows, 'row of activations does', 'rows of activations do')} not determine a "
                f"{len(system)}x{len(system)} Transform Matrix with ridge {ridge:g}; "
                "fit on more pairs, or raise the ridge"
            )
        return torch.cholesky_solve(self.xy, factor)

    def error(self, transform: Tensor) -> float:
        """``|X T - Y|²`` of any ``T`` [H, H]."""
        transform = transform.to(self.xx)
        explained = torch.sum(transform * (self.xx @ transform)) - 2 * torch.sum(transform * self.xy)
        return self.yy + explained.item()


def held_out_errors(fitted: NormalEquations, held_out: NormalEquations, ridges: Sequence[float]) -> Tensor:
    """``|X T - Y|²`` over ``held_out``, with the ``T`` that solves ``fitted`` at each ridge: ``[len(ridges)]``, fp64.

    One eigendecomposition serves all ridges: in the basis of ``XᵀX``, a solution scales the rows of ``XᵀY``.
    """
    values, basis = torch.linalg.eigh(fitted.xx)
    values.clamp_min_(0)
    solution = basis.T @ fitted.xy
    linear = (basis.T @ held_out.xy).mul_(solution).sum(dim=1)
    quadratic = (basis.T @ (held_out.xx @ basis)).mul_(solution @ solution.T)
    errors = []
    for ridge in ridges:
        scaling = 1 / (values + ridge)
        errors.append(held_out.yy - 2 * (scaling @ linear) + scaling @ quadratic @ scaling)
    return torch.stack(errors)


def of_rank(transform: Tensor, xx: Tensor, rank: int) -> tuple[Tensor, float]:
    """Reduced-rank regression: of all matrices of at most ``rank``, the one that changes ``X T`` least.

    Args:
        transform: ``T`` [H, H], fp64.
        xx: ``XᵀX`` of the rows that it was fitted on.
        rank: from 1 to H.

    Returns:
        The matrix, and the share of ``|X T|²`` that it loses.
    """
    values, directions = torch.linalg.eigh(transform.T @ xx @ transform)  # ascending
    kept = directions[:, len(values) - rank :]
    lost = values[: len(values) - rank].clamp_min(0).sum() / values.clamp_min(0).sum()
    return transform @ kept @ kept.T, lost.item()

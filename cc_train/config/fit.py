"""Options about the fit of the Transform Matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cc_train.config.parser import check


@dataclass(frozen=True)
class FitSettings:
    """What to fit on, and how.

    Args:
        max_pairs: prompt pairs used at most, spread evenly over the languages. The paper fits its one matrix on about
            1,000; three times that leaves each of up to 26 languages about 100.
        min_pairs: fitted pairs from which a language gets its own matrix.
        held_out: share of the pairs kept for the report.
        ridge: of ``global``, as a share of the mean of the normal equations' diagonal; None to choose it by
            cross-validation.
        shrinkage: the strength, in pairs, that pulls a language's matrix towards ``global``. Infinite fits ``global``
            only, and None chooses it on pairs left out.
        rank: the highest rank of a matrix; None for no bound.
        folds: parts of the pairs that cross-validation leaves out in turn.
    """

    max_pairs: int = 3000
    min_pairs: int = 50
    held_out: float = 0.1
    ridge: float | None = None
    shrinkage: float | None = None
    rank: int | None = None
    folds: int = 5


@dataclass(frozen=True)
class FitArguments:
    """How the Transform Matrices are fitted, after training."""

    _argument_group_name = "fit"

    fit_max_pairs: int = field(
        default=FitSettings.max_pairs,
        metadata={
            "help": "Most prompt pairs used, spread evenly over the languages; the default leaves each of up to 26 "
            "languages enough for a matrix of its own."
        },
    )
    fit_min_pairs: int = field(
        default=FitSettings.min_pairs, metadata={"help": "Fitted pairs from which a language gets its own matrix."}
    )
    fit_held_out: float = field(
        default=FitSettings.held_out, metadata={"help": "Share of the pairs kept for the report."}
    )
    fit_ridge: float | None = field(
        default=None,
        metadata={
            "help": "Ridge of the global matrix, as a share of the mean of the normal equations' diagonal; chosen by "
            "cross-validation if not given."
        },
    )
    fit_shrinkage: float | None = field(
        default=None,
        metadata={
            "help": "Shrinkage of a language's matrix towards the global one, in pairs; inf: the global one only. "
            "Chosen on pairs left out if not given."
        },
    )
    fit_rank: int | None = field(
        default=None, metadata={"help": "Highest rank of a matrix; cc_fit.json says what it loses."}
    )
    fit_folds: int = field(
        default=FitSettings.folds, metadata={"help": "Parts of the pairs that cross-validation leaves out in turn."}
    )
    fit_batch_size: int = field(default=8, metadata={"help": "Pairs in one forward pass."})

    def __post_init__(self) -> None:
        ridge, shrinkage = self.fit_ridge, self.fit_shrinkage
        check(
            (
                ("--fit-max-pairs", self.fit_max_pairs < 1, "must be at least 1"),
                ("--fit-min-pairs", self.fit_min_pairs < 1, "must be at least 1"),
                ("--fit-held-out", not 0 <= self.fit_held_out < 1, "must be at least 0 and below 1"),
                ("--fit-ridge", ridge is not None and not 0 <= ridge < math.inf, "must be 0 or more"),
                ("--fit-shrinkage", shrinkage is not None and not shrinkage >= 0, "must be 0 or more"),
                ("--fit-rank", self.fit_rank is not None and self.fit_rank < 1, "must be at least 1"),
                ("--fit-folds", self.fit_folds < 2, "must be at least 2"),
                ("--fit-batch-size", self.fit_batch_size < 1, "must be at least 1"),
            )
        )

    def settings(self) -> FitSettings:
        """What `cc_train.fit.transforms.fit_transforms` needs of them."""
        return FitSettings(
            self.fit_max_pairs,
            self.fit_min_pairs,
            self.fit_held_out,
            self.fit_ridge,
            self.fit_shrinkage,
            self.fit_rank,
            self.fit_folds,
        )

"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table


def plain_table(title: str, columns: list[str], texts: tuple[str, ...] = ("",)) -> Table:
    """A table without lines between rows.

    Args:
        title: above it.
        columns: their heads.
        texts: the heads of columns of words, on the left; the others hold figures, on the right.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right", no_wrap=True)
    return table


def score_table(title: str, counted: str, counts: dict[str, int], scores: dict[str, Any]) -> Table:
    """A line for each language: a count, and R², cosine, agreement and the answer's loss on held-out pairs.

    Beside the loss with the matrix are those of the plain model and with true English activations.

    Args:
        title: above it.
        counted: what is counted, rows or pairs.
        counts: by language.
        scores: from `cc_train.fit.scores.score_transforms`; may be empty.
    """
    figures = ["matrix", "held out", "R²", "cosine", "agreement", "loss", "plain", "English"] if scores else []
    table = plain_table(title, ["", counted, *figures], ("", "matrix"))
    for language in ["all", *counts]:
        cells = [language, str(sum(counts.values()) if language == "all" else counts[language])]
        score = scores.get(language)
        if score:
            fitted, loss = score["transform"], score["answer_loss"]
            cells += [score["matrix"] or "", str(score["pairs"])]
            cells += [_figure(fitted[key]) for key in ("r2", "cosine", "agreement")]
            cells += [_figure(loss.get(key)) for key in ("transform", "plain", "english")]
        table.add_row(*cells)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

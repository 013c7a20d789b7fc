"""What the connection is worth as it is served: the answer's loss with it and without, on the same held-out pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from cc_core.evidence import Gain
from cc_train.bootstrap import interval, language_mean, resampled_means
from cc_train.data.encoding import Example

ALL = "all"


class PairedGains:
    """The gain of each pair: its loss without the connection minus its loss with it, nats per answer token."""

    def __init__(self) -> None:
        # By English prompt, then by language: parallel pairs are hard or easy together.
        self._gains: dict[bytes, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, pairs: Sequence[Example], plain: Tensor, served: Tensor, tokens: Tensor) -> None:
        """Add B pairs: each answer's summed loss ``[B]`` without and with the connection, and its ``tokens`` [B]."""
        gains = (plain - served).double().cpu() / tokens
        for pair, gain in zip(pairs, gains.tolist(), strict=True):
            if len(pair.answer):
                self._gains[pair.english.tobytes()][pair.row.lang].append(gain)

    def summary(self) -> dict[str, dict[str, Any]]:
        """The fields of a `Gain`, by language and ``all``; empty without answers."""
        languages = sorted({language for gains in self._gains.values() for language in gains})
        if not languages:
            return {}
        counts = [[len(gains.get(language, ())) for language in languages] for gains in self._gains.values()]
        values = np.array(
            [
                [np.mean(gains[language]) if language in gains else np.nan for language in languages]
                for gains in self._gains.values()
            ]
        )
        pairs = np.sum(counts, axis=0)
        each = {
            language: _gain(values[~np.isnan(values[:, column])][:, [column]], int(pairs[column]))
            for column, language in enumerate(languages)
        }
        return {ALL: _gain(values, int(pairs.sum())), **each}


def evidence(scores: Mapping[str, Mapping[str, Any]], held_out_of: str) -> dict[str, Any] | None:
    """The evidence for ``config.json``, from `cc_train.fit.scores.score_transforms`; None where nothing was scored.

    Args:
        scores: by language, and ``all``.
        held_out_of: as in `cc_core.evidence.Evidence`.
    """
    gains = {name: score["gain"] for name, score in scores.items() if score.get("gain")}
    if ALL not in gains:
        return None
    return {"held_out_of": held_out_of, "overall": gains.pop(ALL), "languages": gains}


def harm(found: Mapping[str, Any] | None) -> str | None:
    """What `evidence` shows of harm, in a sentence; None where it shows none."""
    gains = {language: Gain.model_validate(gain) for language, gain in (found or {}).get("languages", {}).items()}
    harmed = [f"{name} ({gain.gain:+.3f})" for name, gain in gains.items() if gain.harms]
    if not harmed:
        return None
    return (
        "On held-out pairs, the connection makes answers less likely, in nats per token, in "
        f"{', '.join(harmed)}; cc-serve answers these languages plain, unless told otherwise."
    )


def _gain(values: np.ndarray, pairs: int) -> dict[str, Any]:
    """The mean of ``values`` [prompts, languages] with its interval."""
    found = interval(language_mean(values), resampled_means(values))
    low, high = (None if end is None else round(end, 4) for end in (found.low, found.high))
    return Gain(pairs=pairs, gain=round(found.mean, 4), low=low, high=high).model_dump()

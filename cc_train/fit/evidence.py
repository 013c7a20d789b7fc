"""What the connection is worth as it is served: the answer's loss with it and without, on the same held-out pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from cc_core.evidence import FEWEST_FOR_INTERVAL, Gain
from cc_train.bootstrap import interval, language_mean, resampled_means
from cc_train.data.encoding import Example

ALL = "all"


class PairedGains:
    """The gain of each pair: its loss without the connection minus its loss with it, nats per answer token.

    Pairs with a loss that is NaN or infinite are counted in ``not_finite``, by language and ``all``, and left out.
    """

    def __init__(self) -> None:
        # By English prompt, then by language: parallel pairs are hard or easy together.
        self._gains: dict[bytes, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.not_finite: Counter[str] = Counter()

    def add(self, pairs: Sequence[Example], plain: Tensor, served: Tensor, tokens: Tensor) -> None:
        """Add B pairs: each answer's summed loss ``[B]`` without and with the connection, and its ``tokens`` [B]."""
        gains = (plain - served).double().cpu() / tokens
        for pair, gain in zip(pairs, gains.tolist(), strict=True):
            if len(pair.answer) and isfinite(gain):
                self._gains[pair.english.tobytes()][pair.row.lang].append(gain)
            elif len(pair.answer):
                self.not_finite.update((pair.row.lang, ALL))

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
    """The evidence for ``config.json``, from `cc_train.fit.scores.score_transforms`; None if nothing was scored.

    Args:
        scores: by language, and ``all``.
        held_out_of: as in `cc_core.evidence.Evidence`.
    """
    gains = {name: score["gain"] for name, score in scores.items() if score.get("gain")}
    if ALL not in gains:
        return None
    return {"held_out_of": held_out_of, "overall": gains.pop(ALL), "languages": gains}


def notes(
    scores: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any] | None, languages: Sequence[str]
) -> list[str]:
    """What the user should know of ``scores`` and their `evidence`, in sentences; ``languages`` have been fitted."""
    not_finite = {name: score["not_finite"] for name, score in scores.items() if score.get("not_finite")}
    lost = [f"{name} ({count})" for name, count in not_finite.items() if name != ALL]
    told = [harm(found), _too_few(found, [name for name in languages if name not in not_finite])]
    if found is None and not lost:
        told.insert(
            0,
            "No held-out pair has an answer, so nothing says what the connection is worth: cc-serve connects every "
            "language. Add rows with answers, or score some with --eval-data.",
        )
    if lost:
        told.insert(
            0,
            f"On held-out pairs in {', '.join(lost)}, the loss of the answer is NaN or infinite; the evidence leaves "
            "them out. Are the model and its dtype sound?",
        )
    return [sentence for sentence in told if sentence is not None]


def _too_few(found: Mapping[str, Any] | None, languages: Sequence[str]) -> str | None:
    if found is None:
        return None
    pairs = {language: found["languages"].get(language, {}).get("pairs", 0) for language in languages}
    few = [f"{language} ({count})" for language, count in pairs.items() if count < FEWEST_FOR_INTERVAL]
    if not few:
        return None
    return (
        f"Fewer than {FEWEST_FOR_INTERVAL} held-out pairs with an answer: {', '.join(few)}. There is no interval for "
        "these, and cc-serve connects them. Add rows, or score more with --eval-data."
    )


def harm(found: Mapping[str, Any] | None) -> str | None:
    """What `evidence` shows of harm, in a sentence; None if it shows none."""
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
    mean = round(found.mean, 4)
    if found.low is None or found.high is None:
        return Gain(pairs=pairs, gain=mean, low=None, high=None).model_dump()
    # Where all pairs gain the same, rounding may set the ends on one side of the mean.
    low, high = min(mean, round(found.low, 4)), max(mean, round(found.high, 4))
    return Gain(pairs=pairs, gain=mean, low=low, high=high).model_dump()

"""Print tables of the scores: losses, exact matches, and paired bootstraps between systems.

    python -m experiments.compare docs/results/*-?.json

A file is named ``SYSTEM-SEED.json``. Differences are paired by dev row. The bootstrap resamples seeds and items, each
item with its rows in all languages: parallel prompts are hard or easy together.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cc_train.evaluation.measures.language import WORDS, score_language
from experiments.score import ANSWERED, CONDITIONS

Scores = dict[str, list[dict[str, Any]]]
RESAMPLES = 5000
LATIN = "with Latin letters"
"""Whether an answer has two Latin letters in a row."""


def read(paths: list[Path]) -> Scores:
    """Scores by system, its seeds in order of their names, and all rows in order of theirs."""
    systems: Scores = defaultdict(list)
    for path in sorted(paths):
        systems[path.stem.rsplit("-", 1)[0]].append(by_row(json.loads(path.read_text("utf-8"))))
    return dict(systems)


def by_row(scores: dict[str, Any]) -> dict[str, Any]:
    """Sort one system's scores by the rows' ids. They were written in order of the prompts' lengths.

    The answers are also scored by `score_language`; where it finds nothing to judge, the share is not a number.
    """
    for given in filter(scores.__contains__, ANSWERED):
        if answers := scores[given].get("answer"):
            found = [score_language(text, lang) for text, lang in zip(answers, scores["lang"], strict=True)]
            scores[given][WORDS] = [each.get(WORDS, math.nan) for each in found]
            scores[given][LATIN] = [float(bool(re.search("[A-Za-z]{2}", text))) for text in answers]
    order = sorted(range(len(scores["rows"])), key=scores["rows"].__getitem__)

    def ordered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: ordered(each) for key, each in value.items()}
        return [value[i] for i in order] if isinstance(value, list) and value else value

    return {key: value if key in ("training", "known") else ordered(value) for key, value in scores.items()}


def matrix(seeds: list[dict[str, Any]], condition: str, key: str) -> np.ndarray:
    """``key`` of ``condition`` by seed and row, ``[seeds, rows]``."""
    return np.array([seed[condition][key] for seed in seeds if condition in seed], dtype=float)


def per_token(values: np.ndarray, tokens: np.ndarray) -> float:
    """Mean over seeds of the loss in nats per answer token."""
    return float(values.sum(axis=-1).mean() / tokens.sum())


def items_of(scores: dict[str, Any]) -> np.ndarray:
    """The number of each row's item, ``[rows]``: rows of one item have ids that differ in the language alone."""
    names = [row.replace(f"-{lang}-", "-", 1) for row, lang in zip(scores["rows"], scores["lang"], strict=True)]
    return np.unique(names, return_inverse=True)[1]


def paired(first: np.ndarray, second: np.ndarray, tokens: np.ndarray, items: np.ndarray) -> tuple[float, float, float]:
    """``first - second`` per token, and its 95 % interval over resampled seeds and items.

    Args:
        first: ``[seeds, rows]``.
        second: ``[seeds, rows]``.
        tokens: ``[rows]``.
        items: from `items_of`.
    """
    return pooled([first - second], tokens, items)


def pooled(differences: Sequence[np.ndarray], tokens: np.ndarray, items: np.ndarray) -> tuple[float, float, float]:
    """The mean over models of ``differences`` ``[seeds, rows]`` per token, and its 95 % interval.

    A resample draws seeds of each model, and items for all of them.
    """
    models = [np.array([np.bincount(items, weights=seed) for seed in each]) for each in differences]
    weights = np.bincount(items, weights=tokens)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        seeds = [generator.integers(len(each), size=len(each)) for each in models]
        drawn = generator.integers(len(weights), size=len(weights))
        sums = [each[s][:, drawn].mean(0).sum() for each, s in zip(models, seeds, strict=True)]
        found.append(np.mean(sums) / weights[drawn].sum())
    low, high = np.percentile(found, [2.5, 97.5])
    mean = np.mean([each.mean(0).sum() for each in models]) / weights.sum()
    return float(mean), float(low), float(high)


def cell(values: np.ndarray) -> str:
    """The mean of the values that are numbers; empty if there are none."""
    known = values[~np.isnan(values)]
    return f"{known.mean():.3f}" if known.size else ""


def overview(systems: Scores) -> str:
    """A row for each system and condition; ``in English`` is the accuracy on the same items in English, by seed."""
    measures = {
        "first": "first token",
        "accuracy": "accuracy",
        "exact_match": "exact match",
        "f1": "F1",
        WORDS: "words in its script",
    }
    lines = [
        f"| system | given | seeds | loss | by seed | {' | '.join(measures.values())} | in English |",
        "|---" * (6 + len(measures)) + "|",
    ]
    for name, seeds in systems.items():
        tokens = np.array(seeds[0]["tokens"])
        english = " ".join(f"{np.mean(s['known']['plain']['accuracy']):.3f}" for s in seeds if "known" in s)
        for condition in [c for c in CONDITIONS if c in seeds[0]]:
            loss = matrix(seeds, condition, "loss")
            each = " ".join(f"{x.sum() / tokens.sum():.3f}" for x in loss)
            means = [cell(matrix(seeds, condition, key)) if key in seeds[0][condition] else "" for key in measures]
            cells = [name, condition, str(len(loss)), f"{per_token(loss, tokens):.4f}", each, *means, english]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_language(systems: Scores, pairs: list[tuple[str, str]], key: str) -> str:
    """The loss, per token, or another measure, per row that has it, of each ``(system, condition)`` by language."""
    first = next(iter(systems.values()))[0]
    languages = sorted(set(first["lang"]))
    lines = [f"| {key} | " + " | ".join(languages) + " |", "|---" * (len(languages) + 1) + "|"]
    for name, condition in pairs:
        tokens, langs = np.array(systems[name][0]["tokens"]), np.array(systems[name][0]["lang"])
        values = matrix(systems[name], condition, key)
        cells = []
        for lang in languages:
            own = values[:, langs == lang]
            measured = own[~np.isnan(own)]
            value = (
                per_token(own, tokens[langs == lang]) if key == "loss" else measured.mean() if measured.size else None
            )
            cells.append("" if value is None else f"{value:.3f}")
        lines.append(f"| {name}, {condition} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(systems: Scores, base: tuple[str, str]) -> str:
    """Compare every system and condition with ``base``, over the seeds that both have."""
    tokens, items = np.array(systems[base[0]][0]["tokens"]), items_of(systems[base[0]][0])
    lines = [
        f"| against {base[0]}, {base[1]} | seeds | loss | 95 % | by seed | first token | 95 % | accuracy | 95 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, seeds in systems.items():
        for condition in [c for c in CONDITIONS if c in seeds[0]]:
            references = {seed_of(scores): scores for scores in systems[base[0]]}
            both = [s for s in seeds if condition in s and seed_of(s) in references]
            if not both:
                continue
            cells = []
            for key, weights in (("loss", tokens), ("first", np.ones_like(tokens)), ("accuracy", np.ones_like(tokens))):
                if key not in both[0][condition]:
                    cells += ["", ""]
                    continue
                ours = matrix(both, condition, key)
                theirs = matrix([references[seed_of(s)] for s in both], base[1], key)
                mean, low, high = paired(ours, theirs, weights, items)
                cells += [f"{mean:+.4f}", f"{low:+.4f} to {high:+.4f}"]
                if key == "loss":
                    cells.append(" ".join(f"{x:+.3f}" for x in (ours - theirs).sum(1) / tokens.sum()))
            lines.append(f"| {name}, {condition} | {len(both)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def seed_of(scores: dict[str, Any]) -> int:
    """The seed that a result was trained with."""
    return int(scores["training"]["options"]["seed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument(
        "--against", default="sft,plain", metavar="SYSTEM,GIVEN", help="what differences are taken from"
    )
    options = parser.parse_args()
    systems = read(options.files)
    print(overview(systems), end="\n\n")
    print(differences(systems, tuple(options.against.split(","))), end="\n\n")
    best = [(name, "transform" if "transform" in seeds[0] else "plain") for name, seeds in systems.items()]
    for key in ("loss", "f1", "accuracy", WORDS, LATIN):
        if all(key in systems[name][0][given] for name, given in best):
            print(by_language(systems, best, key), end="\n\n")


if __name__ == "__main__":
    main()

"""The comparison of two systems, against cases whose outcome is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cc_train.evaluation.compare import compare
from cc_train.evaluation.items import EvaluationError
from cc_train.evaluation.scores import RowScore


def scores(right: np.ndarray, task: str = "xnli") -> dict[str, RowScore]:
    """``right`` is ``[items, 2]``: German and English."""
    return {
        key: RowScore(key, task, language, f"{language} {item}", str(item), {"accuracy": float(right[item, column])})
        for item in range(len(right))
        for column, language in enumerate(("de", "en"))
        for key in [f"{task}/{language}/{item}"]
    }


def test_wins_ties_and_losses_by_hand() -> None:
    first = scores(np.array([[1, 1], [0, 1], [0, 0], [0, 1]]))
    second = scores(np.array([[0, 1], [1, 1], [1, 0], [1, 1]]))
    found = compare(first, second).tasks["xnli"]
    assert list(found) == ["all", "all but en", "de", "en"]
    german, english, both = found["de"], found["en"], found["all"]
    assert (german.first, german.second, german.gain.mean) == (0.25, 0.75, 0.5)
    assert (german.wins, german.ties, german.losses, german.rows) == (3, 0, 1, 4)
    assert (english.wins, english.ties, english.losses) == (0, 4, 0)
    assert (english.gain.low, english.gain.high, english.p) == (None, None, None), "too few items"
    assert (both.gain.mean, both.wins, both.ties, both.losses) == (0.25, 3, 4, 1)


def test_pairs_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    before = generator.random((300, 2)) < 0.5
    after = before | (generator.random((300, 2)) < 0.1)
    gain = compare(scores(before), scores(after)).tasks["xnli"]["all"]
    # Unpaired, a difference of 5 points between 300 items each has a standard error of 4.
    assert gain.gain.low > 0
    assert gain.p < 0.01


def test_equal_systems_differ_by_chance_only() -> None:
    generator = np.random.default_rng(0)
    below = 0
    for _ in range(20):
        first, second = (scores(generator.random((60, 2)) < 0.5) for _ in range(2))
        below += compare(first, second).tasks["xnli"]["all"].p < 0.05
    assert below <= 4, "one of 20 is expected; more than 4 have a chance of 0.3 %"


def test_the_overall_gain_is_the_mean_of_the_tasks() -> None:
    first = scores(np.zeros((4, 2))) | scores(np.ones((2, 2)), "mgsm")
    second = scores(np.ones((4, 2))) | scores(np.ones((2, 2)), "mgsm")
    overall = compare(first, second).overall
    assert (overall.first, overall.second, overall.gain.mean, overall.rows) == (0.5, 1, 0.5, 12)
    assert (overall.wins, overall.ties, overall.losses) == (8, 4, 0)

    assert overall.p is None, "too few items"


def test_rows_are_paired_by_key_though_their_english_changed() -> None:
    """The items of an evaluation are its English parallels, which may be edited; the prompts are the same."""
    first = scores(np.array([[0, 0], [1, 0], [0, 0], [0, 0]]))
    edited = {key: replace(score, item="new") if key == "xnli/de/1" else score for key, score in first.items()}
    found = compare(first, edited).tasks["xnli"]
    assert (found["de"].rows, found["de"].wins, found["de"].ties) == (4, 0, 4)
    assert (found["all"].rows, found["all"].wins, found["all"].ties) == (8, 0, 8)


def test_only_common_rows_count() -> None:
    first, second = scores(np.zeros((4, 2))), scores(np.ones((3, 2)))
    comparison = compare(first, second)
    assert comparison.alone == (2, 0)
    assert comparison.overall.rows == 6


def test_what_cannot_be_compared() -> None:
    with pytest.raises(EvaluationError, match="no row in common"):
        compare(scores(np.zeros((2, 2))), scores(np.zeros((2, 2)), "mgsm"))
    changed = scores(np.zeros((2, 2)))
    key = "xnli/de/1"
    changed[key] = RowScore(key, "xnli", "de", "another prompt", "1", {"accuracy": 0})
    with pytest.raises(EvaluationError, match=f"the prompt of '{key}' differs"):
        compare(scores(np.zeros((2, 2))), changed)

"""The report of a fit: its figures, and that it tells a good matrix from a bad one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_core.connection import Connection
from cc_train.config.fit import FitSettings
from cc_train.data.encoding import Example
from cc_train.fit.pairs import PairBatch, capture_pairs, pair_counts, split_pairs
from cc_train.fit.scores import AnswerLoss, Score, brief, score_transforms
from cc_train.fit.transforms import fit_transforms
from cc_train.two_pass.model import TwoPassModel
from tests.support.made_pairs import SIZE, pair
from tests.support.tiny import HIDDEN, LAYERS, random_connection, tiny_llama


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 4))
def test_a_score_is_r2_and_cosine_whatever_the_batches(seed: int, pairs: int, layers: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(pairs, layers, SIZE, generator=generator) + 2
    predicted = target + 0.5 * torch.randn(pairs, layers, SIZE, generator=generator)
    score, wanted = Score(layers, SIZE), torch.tensor([0])
    for part in range(pairs):
        score.add(predicted[part : part + 1], target[part : part + 1], torch.tensor([part % 2 * (layers > 1)]), wanted)
    summary = score.summary()

    def r2(p: torch.Tensor, t: torch.Tensor) -> float:
        return float(1 - (p - t).square().sum() / (t - t.mean(dim=0)).square().sum())

    assert summary["r2"] == pytest.approx(r2(predicted.flatten(0, 1), target.flatten(0, 1)), abs=1e-3)
    for layer in range(layers):
        assert summary["r2_by_layer"][layer] == pytest.approx(r2(predicted[:, layer], target[:, layer]), abs=1e-3)
    assert summary["cosine"] == pytest.approx(float(F.cosine_similarity(predicted, target, dim=-1).mean()), abs=1e-3)
    agreed = (pairs + 1) // 2 if layers > 1 else pairs
    assert summary["agreement"] == pytest.approx(agreed / pairs, abs=1e-4)
    assert summary["agreement_by_layer"] == [summary["agreement"]] + [None] * (layers - 1)
    assert summary["chosen_by_layer"] == [agreed, pairs - agreed, 0, 0][:layers]


def test_r2_is_undefined_where_nothing_varies() -> None:
    score = Score(1, SIZE)
    score.add(torch.ones(1, 1, SIZE), torch.ones(1, 1, SIZE), torch.tensor([0]), torch.tensor([0]))
    assert score.summary()["r2"] is None


def test_the_report_tells_a_good_matrix_from_identity(tmp_path: Path) -> None:
    """The held-out pairs' English activations are a known map of their own, so T is perfect and identity is not."""
    model = tiny_llama()
    known = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(1)) / HIDDEN**0.5

    def mapped(pairs: list[Example]) -> Iterator[PairBatch]:
        for batch in capture_pairs(model, pairs, 0):
            yield PairBatch(batch.pairs, batch.source, batch.source @ known, batch.embedding)

    some = [pair(lang, i) for lang, count in (("de", 40), ("fr", 30)) for i in range(count)]
    fitted, held = split_pairs(some, 100, 0.1, 0)
    counts = pair_counts(fitted)
    settings_ = FitSettings(min_pairs=counts["de"], ridge=1e-10, shrinkage=1e-6)
    transforms, _ = fit_transforms(mapped(fitted), settings_, tmp_path)
    connection = Connection(3 * torch.randn(LAYERS, HIDDEN, generator=torch.Generator().manual_seed(2)), transforms)
    report = score_transforms(TwoPassModel(model, None).eval(), connection, mapped(held), 0)

    assert list(report) == ["all", "de", "fr"]
    whole = report["all"]
    assert whole["pairs"] == len(held) == sum(report[lang]["pairs"] for lang in ("de", "fr"))
    assert whole["transform"]["r2"] > 0.99 > whole["identity"]["r2"]
    assert whole["transform"]["agreement"] == 1.0 > whole["identity"]["agreement"]
    assert len(whole["transform"]["r2_by_layer"]) == LAYERS
    assert whole["transform"]["chosen_by_layer"] == whole["english_by_layer"] != whole["identity"]["chosen_by_layer"]
    loss = whole["answer_loss"]
    assert loss["transform"] == pytest.approx(loss["english"], abs=1e-2)
    assert abs(loss["identity"] - loss["english"]) > 0.05
    assert {lang: score["matrix"] for lang, score in report.items()} == {"all": None, "de": "de", "fr": "global"}
    assert report["fr"]["global"] == report["fr"]["transform"]
    assert brief(report)["transform"] == {k: whole["transform"][k] for k in ("r2", "cosine", "agreement")}
    assert brief({}) == {}


def test_losses_by_layer_are_those_of_the_pairs_that_want_the_layer() -> None:
    """Each answer of two tokens; pair i costs i with T and 10 i without."""
    loss = AnswerLoss(3)
    for i, layer in ((1, 0), (2, 2), (3, 2)):
        given = {"transform": torch.tensor([float(i)]), "plain": torch.tensor([10.0 * i])}
        loss.add(given, torch.tensor([2]), torch.tensor([layer]))
    assert loss.summary() == {"transform": 1.0, "plain": 10.0}
    assert loss.by_layer() == {"transform": [0.5, None, 1.25], "plain": [5.0, None, 12.5]}


def test_a_loss_of_a_pair_is_that_of_its_answer_alone() -> None:
    """In a batch of answers of different lengths."""
    model, connection = tiny_llama(), random_connection(["global"])
    pairs = [pair("de", i, length=4 + i) for i in range(3)]
    pairs = [replace(p, answer=p.answer[: 1 + i % 2]) for i, p in enumerate(pairs)]
    together = score_transforms(TwoPassModel(model, None).eval(), connection, capture_pairs(model, pairs, 0), 0)
    alone = [
        score_transforms(TwoPassModel(model, None).eval(), connection, capture_pairs(model, [p], 0), 0)["all"]
        for p in pairs
    ]
    for name, value in together["all"]["answer_loss"].items():
        tokens = [len(p.answer) for p in pairs]
        expected = sum(one["answer_loss"][name] * n for one, n in zip(alone, tokens, strict=True)) / sum(tokens)
        assert value == pytest.approx(expected, abs=2e-4)
    for one in alone:
        assert one["answer_loss"]["english"] != one["answer_loss"]["plain"]


def test_pairs_without_answers_count_for_nothing_beside_others() -> None:
    model, connection = tiny_llama(), random_connection(["global"])
    answered = [pair("de", i) for i in range(3)]
    silent = [replace(pair("de", i), answer=np.zeros(0, np.int32)) for i in range(3, 6)]
    alone, together = (
        score_transforms(TwoPassModel(model, None).eval(), connection, capture_pairs(model, pairs, 0), 0)["all"]
        for pairs in (answered, answered + silent)
    )
    assert together["answer_loss"] == pytest.approx(alone["answer_loss"], abs=2e-4)
    assert together["gain"] == alone["gain"]


def test_pairs_without_answers_have_no_loss() -> None:
    model, connection = tiny_llama(), random_connection(["global"])
    pairs = [replace(pair("de", i), answer=np.zeros(0, np.int32)) for i in range(3)]
    scores = score_transforms(TwoPassModel(model, None).eval(), connection, capture_pairs(model, pairs, 0), 0)
    assert scores["all"]["answer_loss"] == scores["all"]["answer_loss_by_layer"] == {}
    assert scores["all"]["transform"]["cosine"] is not None

"""The fit recovers what it should, in constant memory, and its report is on pairs it has not seen."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.activations import capture_at
from cc_train.connection import Connection
from cc_train.data import Example, Row
from cc_train.fit_report import Score, brief, score_transforms
from cc_train.parallel import ParallelModel
from cc_train.transform import (
    FitError,
    FitSettings,
    NormalEquations,
    PairBatch,
    capture_pairs,
    fit_transforms,
    pair_counts,
    split_pairs,
)
from tests.tiny import HIDDEN, LAYERS, tiny_gemma3, tiny_llama

SIZE = 16


def pair(lang: str, number: int = 0, length: int = 6) -> Example:
    generator = np.random.default_rng(number)
    ids = [generator.integers(3, 100, n, dtype=np.int32) for n in (length, 2, length + 2)]
    return Example(Row(lang, "a", "b", "c", "rows.jsonl", number), *ids)


def batches_of(maps: dict[str, torch.Tensor], count: int, seed: int = 0, noise: float = 0.0) -> Iterator[PairBatch]:
    """Activations that the given ``T`` of each language explains, layers of very different norm."""
    generator = torch.Generator().manual_seed(seed)
    scale = 10.0 ** torch.arange(3).float()[:, None]
    for _ in range(count):
        for lang, transform in maps.items():
            source = torch.randn(4, 3, SIZE, generator=generator) * scale
            error = noise * torch.randn(4, 3, SIZE, generator=generator) * scale
            yield PairBatch([pair(lang)] * 4, source, source @ transform + error, torch.zeros(4, SIZE))


def matrix(seed: int) -> torch.Tensor:
    return torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) / SIZE**0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_known_matrix_is_recovered(seed: int) -> None:
    known = matrix(seed)
    fitted = fit_transforms(batches_of({"de": known}, 10, seed), {"de": 40}, FitSettings(min_pairs=40, ridge=1e-12))
    assert list(fitted) == ["global", "de"]
    for found in fitted.values():
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, known, atol=1e-4, rtol=1e-3)


def test_it_is_the_least_squares_solution() -> None:
    everything = list(batches_of({"de": matrix(0), "fr": matrix(1)}, 5, noise=0.3))
    x = torch.cat([b.source.flatten(0, 1) for b in everything]).double()
    y = torch.cat([b.target.flatten(0, 1) for b in everything]).double()
    found = fit_transforms(everything, {"de": 20, "fr": 20}, FitSettings(ridge=0.0))
    torch.testing.assert_close(found["global"].double(), torch.linalg.lstsq(x, y).solution, atol=1e-4, rtol=1e-3)


def test_the_ridge_is_relative_to_the_activations_scale() -> None:
    one, thousand = NormalEquations(SIZE), NormalEquations(SIZE)
    for batch in batches_of({"de": matrix(0)}, 3):
        one.add(batch.source, batch.target)
        thousand.add(1000 * batch.source, 1000 * batch.target)
    torch.testing.assert_close(one.solve(0.1), thousand.solve(0.1))
    assert one.solve(0.1).norm() < one.solve(0.0).norm()


def test_languages_below_the_threshold_share_the_global_matrix() -> None:
    maps = {"de": matrix(0), "fr": matrix(1)}
    fitted = fit_transforms(batches_of(maps, 10), {"de": 40, "fr": 39}, FitSettings(min_pairs=40, ridge=1e-12))
    assert list(fitted) == ["global", "de"]
    torch.testing.assert_close(fitted["de"], maps["de"], atol=1e-4, rtol=1e-3)
    assert (fitted["global"] - maps["de"]).norm() > 0.1, "global is fitted on both"


def test_batches_are_streamed_and_not_kept() -> None:
    alive: list[weakref.ref] = []
    most = 0

    def stream() -> Iterator[PairBatch]:
        nonlocal most
        for batch in batches_of({"de": matrix(0)}, 50):
            alive.append(weakref.ref(batch.source))
            yield batch
            del batch
            most = max(most, sum(ref() is not None for ref in alive))

    fit_transforms(stream(), {"de": 200}, FitSettings())
    assert len(alive) == 50
    assert most <= 2


def test_progress_counts_pairs() -> None:
    done: list[int] = []
    fit_transforms(batches_of({"de": matrix(0)}, 3), {"de": 12}, FitSettings(), done.append)
    assert done == [4, 4, 4]


def test_too_few_rows_without_ridge_are_refused() -> None:
    batch = next(batches_of({"de": matrix(0)}, 1))
    with pytest.raises(FitError, match=r"12 rows of activations do not determine a 16x16 .* more pairs, or raise the"):
        fit_transforms([batch], {"de": 4}, FitSettings(ridge=0.0))
    fit_transforms([batch], {"de": 4}, FitSettings(ridge=1e-6))


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(FitError, match="no prompt pair"):
        fit_transforms([], {}, FitSettings())
    with pytest.raises(FitError, match="no row is in another language than English"):
        split_pairs([pair("en")], FitSettings(), 0)


def test_activations_that_are_no_numbers_name_their_pairs() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(FitError, match=r"NaN or infinite in one of rows\.jsonl:7"):
        list(capture_pairs(model, [pair("de", 7)], 0))
    equations = NormalEquations(SIZE)
    equations.add(torch.full((2, SIZE), torch.nan), torch.zeros(2, SIZE))
    with pytest.raises(FitError, match="NaN or infinite"):
        equations.solve(1e-6)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["en", "de", "fr", "ja", "sw"]), st.integers(1, 30), min_size=1),
    st.integers(1, 60),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_pairs_are_spread_evenly_and_never_both_fitted_and_held_out(
    counts: dict[str, int], most: int, share: float, seed: int
) -> None:
    some = [pair(lang, i) for lang, n in counts.items() for i in range(n)]
    if set(counts) == {"en"}:
        return
    settings_ = FitSettings(max_pairs=most, held_out=share)
    fitted, held = split_pairs(some, settings_, seed)
    total = sum(n for lang, n in counts.items() if lang != "en")
    names = [(p.row.lang, p.row.line) for p in fitted + held]
    assert len(names) == len(set(names)) == min(most, total)
    assert "en" not in pair_counts(fitted + held)
    assert fitted
    assert len(held) <= np.ceil(share * len(names) + 1e-9)
    taken = pair_counts(fitted + held)
    for lang, n in taken.items():
        assert n == counts[lang] or n >= max(taken.values()) - 1, "a language is short only if it has no more"
    assert split_pairs(some, settings_, seed) == (fitted, held)


@pytest.mark.parametrize("languages", [1, 21, 26])
def test_the_defaults_leave_every_language_a_matrix_of_its_own(languages: int) -> None:
    counts = dict.fromkeys((f"a{chr(ord('a') + i)}" for i in range(languages)), 500)
    fitted, held = split_pairs([pair(lang, i) for lang, n in counts.items() for i in range(n)], FitSettings(), 0)
    assert len(fitted) + len(held) <= FitSettings.max_pairs
    assert {lang for lang, n in pair_counts(fitted).items() if n >= FitSettings.min_pairs} == set(counts)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])
@pytest.mark.parametrize("offset", [-1, -2])
def test_captured_pairs_are_both_prompts_anchors(make: type, offset: int) -> None:
    model = make()
    some = [pair("de", i, length=3 + i) for i in range(5)] + [pair("fr", 9)]
    found = list(capture_pairs(model, some, 0, batch_size=2, anchor_offset=offset))
    assert [(b.lang, len(b.pairs)) for b in found] == [("de", 2), ("de", 2), ("de", 1), ("fr", 1)]
    for batch in found:
        for i, example in enumerate(batch.pairs):
            for ids, captured in ((example.prompt, batch.source), (example.english, batch.target)):
                tokens = torch.tensor([ids.tolist()])
                with torch.inference_mode(), capture_at(model, torch.tensor([len(ids) + offset])) as alone:
                    model(tokens)
                torch.testing.assert_close(captured[i], alone.activations[0], atol=1e-4, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 4))
def test_a_score_is_r2_and_cosine_whatever_the_batches(seed: int, pairs: int, layers: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(pairs, layers, SIZE, generator=generator) + 2
    predicted = target + 0.5 * torch.randn(pairs, layers, SIZE, generator=generator)
    score = Score(layers, SIZE)
    for part in range(pairs):
        score.add(predicted[part : part + 1], target[part : part + 1], torch.tensor([part % 2 == 0]))
    summary = score.summary()

    def r2(p: torch.Tensor, t: torch.Tensor) -> float:
        return float(1 - (p - t).square().sum() / (t - t.mean(dim=0)).square().sum())

    assert summary["r2"] == pytest.approx(r2(predicted.flatten(0, 1), target.flatten(0, 1)), abs=1e-3)
    for layer in range(layers):
        assert summary["r2_by_layer"][layer] == pytest.approx(r2(predicted[:, layer], target[:, layer]), abs=1e-3)
    assert summary["cosine"] == pytest.approx(float(F.cosine_similarity(predicted, target, dim=-1).mean()), abs=1e-3)
    assert summary["agreement"] == pytest.approx((pairs + 1) // 2 / pairs, abs=1e-4)


def test_r2_is_undefined_where_nothing_varies() -> None:
    score = Score(1, SIZE)
    score.add(torch.ones(1, 1, SIZE), torch.ones(1, 1, SIZE), torch.tensor([True]))
    assert score.summary()["r2"] is None


def test_the_report_tells_a_good_matrix_from_identity() -> None:
    """The held-out pairs' English activations are a known map of their own, so T is perfect and identity is not."""
    model = tiny_llama()
    known = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(1)) / HIDDEN**0.5

    def mapped(pairs: list[Example]) -> Iterator[PairBatch]:
        for batch in capture_pairs(model, pairs, 0):
            yield PairBatch(batch.pairs, batch.source, batch.source @ known, batch.embedding)

    some = [pair(lang, i) for lang, count in (("de", 40), ("fr", 30)) for i in range(count)]
    fitted, held = split_pairs(some, FitSettings(), 0)
    assert pair_counts(fitted) == {"de": 36, "fr": 27}
    transforms = fit_transforms(mapped(fitted), pair_counts(fitted), FitSettings(min_pairs=36, ridge=1e-10))
    connection = Connection(3 * torch.randn(LAYERS, HIDDEN, generator=torch.Generator().manual_seed(2)), transforms)
    report = score_transforms(ParallelModel(model, None).eval(), connection, mapped(held), 0)

    assert list(report) == ["all", "de", "fr"]
    whole = report["all"]
    assert whole["pairs"] == len(held) == sum(report[lang]["pairs"] for lang in ("de", "fr"))
    assert whole["transform"]["r2"] > 0.99 > whole["identity"]["r2"]
    assert whole["transform"]["agreement"] == 1.0 > whole["identity"]["agreement"]
    assert len(whole["transform"]["r2_by_layer"]) == LAYERS
    loss = whole["answer_loss"]
    assert loss["transform"] == pytest.approx(loss["english"], abs=1e-2)
    assert abs(loss["identity"] - loss["english"]) > 0.05
    assert {lang: score["matrix"] for lang, score in report.items()} == {"all": None, "de": "de", "fr": "global"}
    assert brief(report)["transform"] == {k: whole["transform"][k] for k in ("r2", "cosine", "agreement")}
    assert brief({}) == {}

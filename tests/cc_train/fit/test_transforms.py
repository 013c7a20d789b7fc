"""The fit recovers what it should, in constant memory, and shrinks towards the global matrix as the data asks."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_train.config.fit import FitSettings
from cc_train.fit.least_squares import FitError
from cc_train.fit.pairs import PairBatch
from cc_train.fit.transforms import Transforms, fit_transforms
from tests.support.made_pairs import batches_of, matrix, pair


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    """Fit in a new directory each time."""

    def fit(batches: Iterable[PairBatch], **options: Any) -> tuple[Transforms, dict[str, Any]]:
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        return fit_transforms(batches, FitSettings(**options), directory)

    return fit


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_known_matrices_are_recovered(seed: int, fit: Any) -> None:
    maps = {"de": matrix(seed), "fr": matrix(seed)}
    fitted, facts = fit(batches_of(maps, 10, seed), min_pairs=40)
    assert facts["ridge"] == min(map(float, facts["ridge_errors"]))
    for found in fitted.values():
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, maps["de"], atol=1e-4, rtol=1e-3)


def test_global_is_the_least_squares_solution_over_all_languages(fit: Any) -> None:
    everything = list(batches_of({"de": matrix(0), "fr": matrix(1)}, 5, noise=0.3))
    x = torch.cat([b.source.flatten(0, 1) for b in everything]).double()
    y = torch.cat([b.target.flatten(0, 1) for b in everything]).double()
    found, _ = fit(everything, ridge=0.0)
    assert list(found) == ["global"]
    torch.testing.assert_close(found["global"].double(), torch.linalg.lstsq(x, y).solution, atol=1e-4, rtol=1e-3)


def test_a_language_with_much_data_of_its_own_kind_goes_its_own_way(fit: Any) -> None:
    maps = {"de": matrix(0), "fr": matrix(1)}
    fitted, facts = fit(batches_of(maps, 12), min_pairs=48)
    assert list(fitted) == ["global", "de", "fr"]
    assert facts["shrinkage"] <= 1
    for lang, known in maps.items():
        torch.testing.assert_close(fitted[lang], known, atol=0.05, rtol=0.05)
    assert (fitted["global"] - maps["de"]).norm() > 0.5


def test_languages_of_one_kind_and_noisy_share_the_global_matrix(fit: Any) -> None:
    """Pairs left out show that a matrix of their own only learns noise."""
    fitted, facts = fit(batches_of({"de": matrix(0), "fr": matrix(0)}, 5, noise=2.0), min_pairs=20)
    assert list(fitted) == ["global"]
    assert facts["shrinkage"] is None
    errors = facts["shrinkage_errors"]
    assert errors["inf"] == min(errors.values()) < errors["0.1"]


def test_the_less_data_a_language_has_the_nearer_it_stays_to_global(fit: Any) -> None:
    few, many = matrix(1), matrix(2)
    some = [*batches_of({"fr": many}, 60), *batches_of({"de": few}, 5, seed=1)]
    fitted, _ = fit(some, min_pairs=20, shrinkage=30.0, ridge=1e-3)
    way = {
        name: (fitted[name] - fitted["global"]).norm() / (known - fitted["global"]).norm()
        for name, known in (("de", few), ("fr", many))
    }
    assert 0.1 < way["de"] < 0.9 * way["fr"] < 0.9


def test_no_shrinkage_fits_a_language_alone(fit: Any) -> None:
    maps = {"de": matrix(0), "fr": matrix(1)}
    fitted, _ = fit(batches_of(maps, 10), min_pairs=40, shrinkage=0.0)
    torch.testing.assert_close(fitted["fr"], maps["fr"], atol=1e-4, rtol=1e-3)


def test_languages_below_the_threshold_share_the_global_matrix(fit: Any) -> None:
    some = [*batches_of({"de": matrix(0), "fr": matrix(1)}, 9), *batches_of({"de": matrix(0)}, 1)]
    assert list(fit(some, min_pairs=40, shrinkage=1.0)[0]) == ["global", "de"]
    assert list(fit(some, min_pairs=36, shrinkage=math.inf)[0]) == ["global"]


def test_the_only_language_needs_no_matrix_beside_global(fit: Any) -> None:
    assert list(fit(batches_of({"de": matrix(0)}, 10), min_pairs=1, shrinkage=1.0)[0]) == ["global"]


def test_a_rank_bounds_every_matrix_and_says_what_it_loses(fit: Any) -> None:
    fitted, facts = fit(batches_of({"de": matrix(0), "fr": matrix(1)}, 10), min_pairs=40, shrinkage=1.0, rank=5)
    assert {int(torch.linalg.matrix_rank(t, rtol=1e-5)) for t in fitted.values()} == {5}
    assert facts["rank"] == 5
    assert set(facts["lost_by_rank"]) == {"global", "de", "fr"}
    assert all(0 < lost < 1 for lost in facts["lost_by_rank"].values())
    with pytest.raises(FitError, match="--fit-rank 17 is above the hidden size, 16"):
        fit(batches_of({"de": matrix(0)}, 10), rank=17)


def test_batches_are_streamed_and_not_kept(fit: Any) -> None:
    alive: list[weakref.ref] = []
    most = 0

    def stream() -> Iterator[PairBatch]:
        nonlocal most
        for batch in batches_of({"de": matrix(0)}, 50):
            alive.append(weakref.ref(batch.source))
            yield batch
            del batch
            most = max(most, sum(ref() is not None for ref in alive))

    fit(stream())
    assert len(alive) == 50
    assert most <= 2


def test_progress_counts_pairs(tmp_path: Path) -> None:
    done: list[int] = []
    fit_transforms(batches_of({"de": matrix(0)}, 3), FitSettings(), tmp_path, done.append)
    assert done == [4, 4, 4]


def test_one_english_prompt_leaves_nothing_to_choose_by(fit: Any) -> None:
    batch = next(batches_of({"de": matrix(0)}, 1))
    same = PairBatch([pair("de", i, english=0) for i in range(4)], batch.source, batch.target, batch.embedding)
    assert fit([same])[1]["ridge"] == 1e-3


def test_no_pair_left_out_of_a_language_of_its_own_leaves_nothing_to_choose_its_shrinkage_by(fit: Any) -> None:
    """Of five prompts in five folds the first, which is left out, is of a language with too few pairs."""
    batches = [next(batches_of({lang: matrix(seed)}, 1, seed)) for seed, lang in enumerate(("sw", "de", "fr"))]
    some = [
        PairBatch([pair(b.lang, n) for n in numbers], *(t[: len(numbers)] for t in (b.source, b.target, b.embedding)))
        for b, numbers in zip(batches, ([0], [1, 2], [3, 4]), strict=True)
    ]
    fitted, facts = fit(some, min_pairs=2, ridge=1e-3)
    assert list(fitted) == ["global"]
    assert (facts["shrinkage"], facts["shrinkage_errors"]) == (None, {})


def test_too_few_rows_without_a_ridge_are_refused(fit: Any) -> None:
    batch = next(batches_of({"de": matrix(0)}, 1))
    with pytest.raises(FitError, match=r"12 rows of activations do not determine a 16x16 .* more pairs, or raise the"):
        fit([batch], ridge=0.0)
    fit([batch])


def test_nothing_to_fit_is_refused(fit: Any) -> None:
    with pytest.raises(FitError, match="no prompt pair"):
        fit([])

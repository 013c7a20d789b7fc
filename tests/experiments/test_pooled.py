"""A gain over several models: one interval, for the same items."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.compare import paired, pooled
from experiments.pooled import main


def test_a_gain_that_all_rows_share_is_certain() -> None:
    models = [np.full((3, 60), 0.1), np.full((2, 60), 0.3)]
    assert pooled(models, np.ones(60), np.repeat(np.arange(12), 5)) == pytest.approx((0.2, 0.2, 0.2))


def test_two_models_that_agree_are_no_more_certain_than_one() -> None:
    """They were asked the same items: what is chance in the items is chance in both."""
    gain = np.random.default_rng(0).normal(0.1, 1, (1, 200))
    mean, low, high = pooled([gain, gain], np.ones(200), np.arange(200))
    one = paired(gain, np.zeros_like(gain), np.ones(200), np.arange(200))
    assert mean == pytest.approx(one[0])
    assert high - low == pytest.approx(one[2] - one[1], rel=0.1)


def test_models_with_other_chance_are_more_certain_together() -> None:
    generator = np.random.default_rng(1)
    gains = [generator.normal(0.1, 1, (1, 200)) for _ in range(2)]
    alone, both = (pooled(each, np.ones(200), np.arange(200)) for each in (gains[:1], gains))
    assert both[2] - both[1] < 0.85 * (alone[2] - alone[1])


def write(directory: Path, rows: list[str]) -> Path:
    directory.mkdir()
    for system in ("sft", "sft_align"):
        scores = {"rows": rows, "lang": ["de"] * 2, "tokens": [1, 1], "plain": {"accuracy": [0.0, 1.0]}}
        (directory / f"{system}-0.json").write_text(json.dumps(scores))
    return directory


def test_models_that_were_asked_different_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = write(tmp_path / "one", ["a-de-1", "a-de-2"]), write(tmp_path / "other", ["a-de-1", "a-de-3"])
    with pytest.raises(SystemExit):
        main([str(one), str(other)])
    assert "asked different rows; name results" in capsys.readouterr().err


def test_a_directory_without_a_system_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one", ["a-de-1", "a-de-2"])
    with pytest.raises(SystemExit):
        main([str(one), "--system", "cc"])
    assert f"{one}: no result of cc; train it" in capsys.readouterr().err

"""The arithmetic of a fleet gives the figures that were worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.sizing import Fleet, Model, Replica

MODEL = Model(weights=4000, connection=100, full_cache=2, window_cache=1, window=50)
REPLICA = Replica(
    knee=10,
    seconds=5,
    tokens=100,
    output_tokens=40,
    gpus=2,
    gpu_bytes=40_000,
    reserve_bytes=900,
    front_end_seconds=0.01,
    front_end_token_seconds=0.001,
)
FLEET = Fleet(utilisation=0.5, spare_share=0.1, router_rate=30, series=1000, prometheus_series=20_000)


def checkpoint(folder: Path, **changes: object) -> Path:
    config = {
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "hidden_size": 640,
        "dtype": "bfloat16",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "cc_connection.safetensors").write_bytes(bytes(70))
    return folder


def test_a_checkpoint_is_read(tmp_path: Path) -> None:
    model = Model.of(checkpoint(tmp_path))
    # Keys and values, 2 bytes each, of 256 numbers, in 18 layers.
    assert model == Model(1000, 70, 18 * 2 * 256 * 2, 0, 0)
    assert model.cache(10) == 10 * 18 * 1024


def test_layers_with_a_window_keep_no_more_than_it(tmp_path: Path) -> None:
    kinds = (["sliding_attention"] * 5 + ["full_attention"]) * 3
    model = Model.of(checkpoint(tmp_path, layer_types=kinds, sliding_window=512))
    assert model.cache(100) == 100 * 18 * 1024
    assert model.cache(1000) == (3 * 1000 + 15 * 512) * 1024


def test_what_limits_a_replica() -> None:
    # 2 GPUs of 40,000 without 900 and 100 each, without the weights: 74,000; a request has 2 * 100 + 50.
    assert REPLICA.limits(MODEL) == pytest.approx({"engine": 10, "KV cache": 74_000 / 250 / 5, "front end": 20})


def test_several_front_ends_serve_several_times_as_much() -> None:
    assert replace(REPLICA, front_ends=3).limits(MODEL)["front end"] == pytest.approx(60)


def test_weights_that_do_not_fit_serve_nothing() -> None:
    assert REPLICA.limits(replace(MODEL, weights=10**6))["KV cache"] == 0


@pytest.mark.parametrize(
    ("gpus", "replicas", "spare", "rate"), [(2, 1, 0, 5), (4, 2, 1, 5), (7, 3, 1, 10), (100, 50, 5, 225)]
)
def test_a_fleet_without_its_spare_replicas(gpus: int, replicas: int, spare: int, rate: float) -> None:
    row = FLEET.row(gpus, REPLICA, MODEL)
    assert (row["replicas"], row["spare"], row["requests/s"]) == (replicas, spare, rate)
    assert (row["tokens/s"], row["at once"], row["limited by"]) == (40 * rate, 5 * rate, "engine")
    assert row["routers"] == math.ceil(rate / 30) + (replicas > 1)
    assert row["Prometheus"] == math.ceil(replicas / 20)


def test_the_least_of_the_limits_counts() -> None:
    row = FLEET.row(2, replace(REPLICA, front_end_token_seconds=0.1), MODEL)
    assert row["limited by"] == "front end"
    assert row["requests/s"] == round(0.5 / 4.01, 1)

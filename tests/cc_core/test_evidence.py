"""A checkpoint's evidence: read with it and without it, and refused where it is no evidence of this connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cc_core.checkpoint import load_connection, save_connection
from cc_core.description import CheckpointError, read_description
from cc_core.evidence import FEWEST_FOR_INTERVAL, Gain
from cc_core.names import CONFIG_FILE, CONNECTION_KEY
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base

GAIN = {"pairs": 40, "gain": -0.2, "low": -0.3, "high": -0.1}
EVIDENCE: dict[str, Any] = {"held_out_of": "training", "overall": GAIN, "languages": {"sw": GAIN}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = save_base(tmp_path / "tiny", tiny_llama())
    save_connection(directory, random_connection(["global"]), ["sw"], {"seed": 1}, EVIDENCE)
    return directory


def edit(checkpoint: Path, evidence: object) -> None:
    path = checkpoint / CONFIG_FILE
    config = json.loads(path.read_text())
    config[CONNECTION_KEY]["evidence"] = evidence
    path.write_text(json.dumps(config))


def test_it_is_read_with_the_digest_of_what_was_measured(checkpoint: Path) -> None:
    config = read_description(checkpoint).config
    assert config.evidence is not None
    assert config.evidence.sha256 == config.sha256
    assert config.evidence.model_dump(exclude={"sha256"}) == EVIDENCE
    assert config.evidence.languages["sw"].harms
    assert load_connection(checkpoint)[1] == config


def test_a_checkpoint_without_evidence_is_read_as_before(checkpoint: Path) -> None:
    config = json.loads((checkpoint / CONFIG_FILE).read_text())
    del config[CONNECTION_KEY]["evidence"]
    (checkpoint / CONFIG_FILE).write_text(json.dumps(config))
    assert read_description(checkpoint).config.evidence is None


def test_evidence_of_another_connection_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = save_base(tmp_path / "other", tiny_llama())
    save_connection(other, random_connection(["global", "sw"]), ["sw"], None, EVIDENCE)
    found = json.loads((other / CONFIG_FILE).read_text())[CONNECTION_KEY]["evidence"]
    edit(checkpoint, found)
    for read in (read_description, load_connection):
        with pytest.raises(CheckpointError) as caught:
            read(checkpoint)
        message = str(caught.value)
        assert message.startswith(
            f"{checkpoint / CONFIG_FILE}: field 'cc_connection.evidence': was measured on another"
        )
        assert found["sha256"] in message
        assert "cc-train fit CHECKPOINT --data PAIRS" in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sha256": "0f"}, "evidence.sha256"),
        ({"held_out_of": "nothing"}, "evidence.held_out_of"),
        ({"overall": None}, "evidence.overall"),
        ({"languages": {"swahili": GAIN}}, "evidence.languages.swahili"),
        ({"languages": {"sw": {**GAIN, "pairs": 0}}}, "evidence.languages.sw.pairs"),
        ({"languages": {"sw": {**GAIN, "gain": float("nan")}}}, "evidence.languages.sw.gain"),
        ({"languages": {"sw": {**GAIN, "low": 0.5}}}, "evidence.languages.sw"),
        ({"languages": {"sw": {**GAIN, "low": None}}}, "evidence.languages.sw"),
        ({"languages": {"sw": {**GAIN, "gain": True}}}, "evidence.languages.sw.gain"),
        ({"languages": {"sw": {**GAIN, "gain": "-0.2"}}}, "evidence.languages.sw.gain"),
        ({"languages": {"sw": {**GAIN, "low": "-0.3"}}}, "evidence.languages.sw.low"),
        ({"languages": {"sw": {**GAIN, "high": False}}}, "evidence.languages.sw.high"),
        ({"languages": {"sw": {**GAIN, "high": float("inf")}}}, "evidence.languages.sw.high"),
        ({"languages": {"sw": {**GAIN, "pairs": 40.0}}}, "evidence.languages.sw.pairs"),
        ({"languages": {"sw": {"pairs": 40, "gain": -0.2, "lo": -0.3, "hi": -0.1}}}, "evidence.languages.sw.low"),
        ({"languages": {"sw": {"pairs": 40, "gain": -0.2}}}, "evidence.languages.sw.low"),
        ({"languages": {"sw": {"pairs": 40, "gain": -0.2, "low": None}}}, "evidence.languages.sw.high"),
        ({"languages": {"sw": {**GAIN, "hi": -0.1}}}, "evidence.languages.sw.hi"),
        ({"overall": {**GAIN, "mean": -0.2}}, "evidence.overall.mean"),
        ({"language": {}}, "evidence.language"),
    ],
)
def test_what_is_no_evidence_is_refused_by_its_field(checkpoint: Path, change: dict[str, Any], field: str) -> None:
    found = read_description(checkpoint).config.evidence
    assert found is not None
    edit(checkpoint, {**found.model_dump(), **change})
    with pytest.raises(CheckpointError) as caught:
        read_description(checkpoint)
    assert str(caught.value).startswith(f"{checkpoint / CONFIG_FILE}: field 'cc_connection.{field}")
    assert str(caught.value).endswith("; remove 'evidence', or measure again: cc-train fit CHECKPOINT --data PAIRS")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": 1}, "pairs (1) are too few for an interval, which needs 10: low and high have to be null"),
        ({"pairs": 9}, "pairs (9) are too few"),
        ({"gain": 5.0}, "low (-0.3) and high (-0.1) are no interval about the gain (5.0)"),
        ({"gain": -0.31}, "are no interval about the gain (-0.31)"),
        ({"low": -0.1, "high": -0.3}, "low (-0.1) and high (-0.3) are no interval"),
        ({"low": None}, "low (None) and high (-0.1) are no interval: give both, or null for both"),
    ],
)
@pytest.mark.parametrize("place", ["overall", "languages.sw"])
def test_an_interval_that_nobody_measured_is_refused(
    checkpoint: Path, place: str, change: dict[str, Any], words: str
) -> None:
    found = read_description(checkpoint).config.evidence
    assert found is not None
    gain = {**GAIN, **change}
    edit(checkpoint, found.model_dump() | ({"overall": gain} if place == "overall" else {"languages": {"sw": gain}}))
    with pytest.raises(CheckpointError) as caught:
        read_description(checkpoint)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint / CONFIG_FILE}: field 'cc_connection.evidence.{place}': ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "change", [{"pairs": 1, "low": None, "high": None}, {"pairs": 10}, {"gain": -0.3}, {"gain": 0, "high": 0}]
)
def test_what_a_writer_may_measure_is_read(change: dict[str, Any]) -> None:
    assert Gain.model_validate({**GAIN, **change}).pairs == change.get("pairs", 40)


ends = st.floats(-5, 5)


@given(st.integers(FEWEST_FOR_INTERVAL, 10**6), st.lists(ends, min_size=3, max_size=3).map(sorted), st.booleans())
def test_harm_is_an_interval_below_zero(pairs: int, values: list[float], has_interval: bool) -> None:
    low, mean, high = values
    given = Gain(pairs=pairs, gain=mean, low=low if has_interval else None, high=high if has_interval else None)
    assert given.harms == (has_interval and high < 0)


@given(ends, ends)
def test_ends_the_wrong_way_round_are_refused(one: float, other: float) -> None:
    if one != other:
        with pytest.raises(ValidationError, match="no interval"):
            Gain(pairs=10, gain=one, low=max(one, other), high=min(one, other))

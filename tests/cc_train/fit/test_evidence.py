"""Paired gains: what they say of planted gains and harms, and that they are those of the served connection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_core.connection import Connection
from cc_train.bootstrap import FEWEST_ITEMS
from cc_train.data.encoding import Example
from cc_train.fit.evidence import PairedGains, evidence, harm, notes
from cc_train.fit.pairs import capture_pairs
from cc_train.fit.scores import score_transforms
from cc_train.two_pass.model import TwoPassModel
from tests.support.made_pairs import pair
from tests.support.tiny import random_connection, tiny_llama

COUNT = 60


def planted(gains: dict[str, float], count: int = COUNT, noise: float = 0.1) -> PairedGains:
    """``count`` parallel pairs of answers of two tokens, with these mean gains a token."""
    generator, made = np.random.default_rng(3), PairedGains()
    for language, gain in gains.items():
        pairs = [pair(language, number) for number in range(count)]
        plain = torch.tensor(generator.normal(4, 1, count))
        served = plain - 2 * torch.tensor(generator.normal(gain, noise, count))
        made.add(pairs, plain, served, torch.full((count,), 2))
    return made


def test_gain_and_harm_are_told_from_chance() -> None:
    found = planted({"de": 0.2, "fr": -0.2, "sw": 0.0}).summary()
    assert list(found) == ["all", "de", "fr", "sw"]
    assert {name: gain["pairs"] for name, gain in found.items()} == {
        "all": 3 * COUNT,
        **dict.fromkeys(["de", "fr", "sw"], COUNT),
    }
    assert 0 < found["de"]["low"] < 0.2 < found["de"]["high"]
    assert found["fr"]["low"] < -0.2 < found["fr"]["high"] < 0
    assert found["sw"]["low"] < 0 < found["sw"]["high"]
    told = evidence({name: {"gain": gain} for name, gain in found.items()}, "fit")
    sentence = harm(told)
    assert sentence is not None
    assert "in fr (-0.2" in sentence
    assert "de" not in sentence.split(" in fr ")[1].split(";")[0]


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(100):
        made = PairedGains()
        gains = torch.tensor(generator.normal(0.1, 0.5, 40))
        made.add([pair("de", n) for n in range(40)], gains, torch.zeros(40), torch.ones(40))
        found = made.summary()["de"]
        held += found["low"] <= 0.1 <= found["high"]
    assert held >= 88, "95 of 100 are expected"


@given(st.integers(1, FEWEST_ITEMS + 3))
@settings(max_examples=15, deadline=None)
def test_too_few_prompts_have_no_interval_and_show_no_harm(count: int) -> None:
    found = planted({"de": -1.0}, count, noise=0.01)
    assert (found.summary()["de"]["low"] is None) == (count < FEWEST_ITEMS)
    told = evidence({name: {"gain": gain} for name, gain in found.summary().items()}, "fit")
    assert (harm(told) is None) == (count < FEWEST_ITEMS)


def test_many_pairs_of_one_english_prompt_are_one_item() -> None:
    made = PairedGains()
    pairs = [pair("de", number, english=0, length=6) for number in range(50)]
    made.add(pairs, torch.zeros(50), torch.ones(50), torch.ones(50))
    assert made.summary()["de"] == {"pairs": 50, "gain": -1.0, "low": None, "high": None}


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["plain", "served"])
def test_pairs_without_a_finite_loss_do_not_count(broken: float, side: str) -> None:
    made, expected = planted({"de": 0.2}), planted({"de": 0.2})
    losses = {"plain": torch.ones(3), "served": torch.ones(3)}
    losses[side][1:] = broken
    for each, count in ((made, 3), (expected, 1)):
        some = [pair("sw", number) for number in range(count)]
        each.add(some, losses["plain"][:count], losses["served"][:count], torch.ones(count))
    assert made.summary() == expected.summary()
    assert made.summary()["sw"]["pairs"] == 1
    assert made.not_finite == {"sw": 2, "all": 2}


def test_losses_of_which_none_is_finite_are_no_evidence() -> None:
    made = PairedGains()
    made.add([pair("de", n) for n in range(20)], torch.full((20,), torch.nan), torch.ones(20), torch.ones(20))
    assert made.summary() == {}
    assert made.not_finite["de"] == 20


@given(st.floats(-3, 3), st.integers(FEWEST_ITEMS, 30))
@settings(max_examples=30, deadline=None)
def test_pairs_that_all_gain_the_same_have_an_interval_about_it(gain: float, count: int) -> None:
    made = PairedGains()
    pairs = [pair("de", number) for number in range(count)]
    made.add(pairs, torch.full((count,), gain, dtype=torch.float64), torch.zeros(count), torch.full((count,), 3))
    found = made.summary()["de"]
    assert found["low"] <= found["gain"] <= found["high"]


def test_the_user_is_told_of_losses_that_are_not_finite() -> None:
    """A connection of large numbers: answers served with it have no loss, and what is written can still be read."""
    model, connection = tiny_llama(), random_connection(["global", "de"])
    huge = Connection(
        connection.decision, {**connection.transforms, "de": torch.full_like(connection.transforms["de"], 3e38)}
    )
    pairs = [pair(language, number, length=4) for language in ("de", "fr") for number in range(12)]
    found = score_transforms(TwoPassModel(model, None).eval(), huge, capture_pairs(model, pairs, 0), 0)
    assert (found["de"]["not_finite"], found["all"]["not_finite"]) == (12, 12)
    assert found["de"]["gain"] is None
    assert found["de"]["answer_loss"] == {}
    assert "not_finite" not in found["fr"]
    told = evidence(found, "fit")
    assert told is not None
    assert list(told["languages"]) == ["fr"]
    assert told["overall"]["pairs"] == 12
    (sentence,) = notes(found, told, ["de", "fr"])
    assert "in de (12), the loss of the answer is NaN or infinite" in sentence


def test_without_answers_there_is_no_evidence_and_the_user_is_told() -> None:
    assert PairedGains().summary() == {}
    unknown = {"all": {"gain": None}, "de": {"gain": None}}
    assert evidence(unknown, "fit") is None
    (sentence,) = notes(unknown, None, ["de"])
    assert sentence.startswith("No held-out pair has an answer, so nothing says what the connection is worth")
    assert harm(None) is None


def test_the_user_is_told_of_languages_with_too_few_pairs() -> None:
    made = planted({"de": 0.2, "fr": 0.2}, 12)
    few = [pair("sw", number) for number in range(100, 103)]
    made.add(few, torch.ones(3), torch.ones(3), torch.full((3,), 2))
    scores = {name: {"gain": gain} for name, gain in made.summary().items()}
    (sentence,) = notes(scores, evidence(scores, "fit"), ["de", "fr", "sw", "yo"])
    assert sentence.startswith("Fewer than 10 held-out pairs with an answer: sw (3), yo (0).")
    assert notes(scores, evidence(scores, "fit"), ["de", "fr"]) == []


def test_the_gain_is_that_of_the_connection_as_it_is_served() -> None:
    """Mean over pairs of plain minus served loss, each pair alone; of de its own matrix, of fr the global one."""
    model, connection = tiny_llama(), random_connection(["global", "de"])
    pairs = [pair(language, number, length=4 + number % 3) for language in ("de", "fr") for number in range(12)]

    def scores(some: list[Example], given: Connection = connection) -> dict:
        return score_transforms(TwoPassModel(model, None).eval(), given, capture_pairs(model, some, 0), 0)

    found = scores(pairs)
    for language in ("de", "fr"):
        alone = [scores([p])["all"]["answer_loss"] for p in pairs if p.row.lang == language]
        expected = np.mean([loss["plain"] - loss["transform"] for loss in alone])
        assert found[language]["gain"]["gain"] == pytest.approx(expected, abs=2e-4)
        assert found[language]["gain"]["pairs"] == 12
    own = Connection(connection.decision, {"global": connection.transforms["global"]})
    assert scores(pairs, own)["de"]["gain"] != found["de"]["gain"]
    assert scores(pairs, own)["fr"]["gain"] == found["fr"]["gain"]

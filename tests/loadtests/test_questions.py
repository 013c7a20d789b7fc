"""The mixes and conversations of which load tests are made."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from cc_serve.routing.router import default_router
from loadtests.questions import Mix, Traffic, packaged_questions

QUESTIONS = packaged_questions()
GERMAN = Mix.parse("de")


def bodies(given: Traffic, answer: str = "Antwort", seed: int = 1) -> list[dict[str, Any]]:
    conversation = given.conversation(QUESTIONS, "m", random.Random(seed))
    found = []
    while (body := conversation.next_request()) is not None:
        found.append(body)
        conversation.answered(answer)
    return found


def test_a_mix_gives_values_by_weight() -> None:
    chance = random.Random(1)
    drawn = Counter(Mix.parse("de:3, en:1,sw:0").draw(chance) for _ in range(4000))
    assert set(drawn) == {"de", "en"}
    assert 2.6 < drawn["de"] / drawn["en"] < 3.4


def test_values_without_weights_come_alike() -> None:
    assert Mix.parse("de,en").weights == {"de": 1, "en": 1}


@pytest.mark.parametrize("text", ["de:x", "de:-1", "de:0", "de:1:2"])
def test_what_is_no_mix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"VALUE:WEIGHT|weights"):
        Mix.parse(text)


def test_lengths_are_whole_numbers() -> None:
    with pytest.raises(ValueError, match=r"'1\.5' in '8,1\.5' is not a whole number"):
        Mix.of_numbers("8,1.5")


def test_every_question_is_routed_for_its_language() -> None:
    """Otherwise the check of the header would blame the server for the sample."""
    router = default_router()
    for language, questions in QUESTIONS.items():
        assert {router.route([question.text]).language for question in questions} == {language}


def test_a_conversation_says_again_what_was_said() -> None:
    first, second = bodies(Traffic(GERMAN, turns=Mix.parse("2")))
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == "Antwort"


def test_examples_are_the_same_in_every_conversation_of_a_language() -> None:
    one, other = (bodies(Traffic(GERMAN, examples=Mix.parse("3")), seed=seed)[0]["messages"] for seed in (1, 2))
    assert len(one) == 7
    assert one[:6] == other[:6]
    assert one[6] != other[6]
    assert one[6]["content"] not in [message["content"] for message in one[:6]]


def test_a_request_asks_for_what_the_traffic_says() -> None:
    (body,) = bodies(Traffic(Mix.parse("sw"), output_tokens=Mix.parse("7"), connection="off"))
    assert (body["model"], body["max_tokens"], body["ignore_eos"], body["stream"]) == ("m", 7, True, True)
    assert body["cc_connection"] == "off"
    assert body["messages"][0]["content"] in [question.text for question in QUESTIONS["sw"]]


def test_the_same_seed_asks_the_same() -> None:
    given = Traffic(Mix.parse("de,en,ja"), turns=Mix.parse("1,2,3"))
    assert bodies(given, seed=5) == bodies(given, seed=5)


def test_a_language_that_the_sample_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="no questions in 'xx'; it has ar, bn"):
        Traffic(Mix.parse("xx")).conversation(QUESTIONS, "m", random.Random(1))

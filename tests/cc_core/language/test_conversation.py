"""A turn among those before it."""

from __future__ import annotations

from cc_core.language.conversation import TURNS, in_conversation
from cc_core.language.detection import UNDECIDED, Detection, Reading, Rule

LONG = Reading(Detection("de", 0.99, Rule.CLASSIFIER, "Wo ist der Bahnhof"), 30)
NOTHING = Reading(UNDECIDED, 4)


def short(language: str, text: str = "vale") -> Reading:
    return Reading(Detection(language, 0.9, Rule.CLASSIFIER, text), 4)


def test_a_long_turn_decides_alone() -> None:
    assert in_conversation([LONG, Reading(Detection("fr", 1.0), 30)]).language == "de"


def test_a_short_or_undecided_turn_asks_those_before() -> None:
    assert in_conversation([short("es"), LONG]).language == "de"
    assert in_conversation([NOTHING, short("es"), LONG]).language == "de"


def test_short_turns_alone_decide_by_the_newest() -> None:
    assert in_conversation([short("es"), short("fr")]).language == "es"


def test_another_script_is_another_language() -> None:
    assert in_conversation([short("ko", "네"), LONG]).language == "ko"
    assert in_conversation([short("ru", "да"), LONG]).language == "ru"
    assert in_conversation([short("de", "API"), Reading(Detection("ru", 1.0, text="Где вокзал"), 30)]).language == "ru"


def test_the_search_is_bounded() -> None:
    assert in_conversation([NOTHING] * TURNS + [LONG]).language is None
    assert in_conversation([]) == UNDECIDED

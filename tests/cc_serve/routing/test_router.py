"""The policy: language to connection, overrides, and which of a request's words are judged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.detector import SERVED_LANGUAGES
from cc_serve.routing.policy import PolicyError, RoutingPolicy
from cc_serve.routing.router import Route, Router, UnknownConnectionError, default_router

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
FRENCH = "Où se trouve la gare la plus proche ?"
SWAHILI = "Kituo cha treni kilicho karibu kiko wapi?"
ENGLISH = "Where is the nearest train station, please?"
UNDECIDED = "12345"

router = Router(["global", "de"], ["de", "fr", "zh"])


@pytest.mark.parametrize(
    ("text", "language", "connection"),
    [
        pytest.param(GERMAN, "de", "de", id="own matrix"),
        pytest.param(FRENCH, "fr", "global", id="no matrix of its own"),
        pytest.param(ENGLISH, "en", "off", id="English"),
        pytest.param(SWAHILI, "sw", "off", id="not trained for"),
        pytest.param(UNDECIDED, None, "off", id="undecided"),
    ],
)
def test_auto_follows_the_language(text: str, language: str | None, connection: str) -> None:
    route = router.route([text])
    assert (route.language, route.connection) == (language, connection)
    assert router.route([text], "auto") == route


@pytest.mark.parametrize(
    ("override", "language", "connection"),
    [
        ("off", "de", "off"),
        ("global", "de", "global"),
        ("de", "de", "de"),
        ("zh", "zh", "global"),
        ("en", "en", "off"),
    ],
)
def test_an_override_decides(override: str, language: str, connection: str) -> None:
    route = router.route([GERMAN], override)
    assert (route.language, route.connection) == (language, connection)


def test_a_named_language_is_certain() -> None:
    assert router.route([UNDECIDED], "fr").confidence == 1.0


@pytest.mark.parametrize("override", ["sw", "xx", "", "AUTO", "de ", None, 1, True, ["de"], {"a": 1}, float("nan")])
def test_an_unknown_override_names_the_ones_that_exist(override: object) -> None:
    with pytest.raises(UnknownConnectionError, match=r"this checkpoint has: auto, off, global, de, en, fr, zh$"):
        router.route([GERMAN], override)


def test_global_alone_serves_every_language() -> None:
    route = default_router().route([SWAHILI])
    assert (route.language, route.connection) == ("sw", "global")


def test_a_checkpoint_without_global_does_not_offer_it() -> None:
    lone = Router(["de"], ["de", "fr"])
    assert lone.choices == ("auto", "off", "de", "en", "fr")
    assert lone.route([FRENCH]).connection == "off"


def test_earlier_turns_are_asked_when_the_newest_is_undecided() -> None:
    assert router.route([UNDECIDED, "ok", FRENCH, GERMAN]).language == "fr"
    assert router.route([UNDECIDED, "", "😀"]).language is None
    assert router.route([UNDECIDED] * 8 + [FRENCH]).language is None, "the search is bounded"


def test_a_route_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        router.route([GERMAN]).connection = "off"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("policy", "connections"),
    [
        ({}, {GERMAN: "de", FRENCH: "global", ENGLISH: "off", UNDECIDED: "off"}),
        ({"languages": ["fr"]}, {GERMAN: "off", FRENCH: "global", ENGLISH: "off"}),
        ({"connections": {"de": "global", "fr": "off"}}, {GERMAN: "global", FRENCH: "off"}),
        ({"connections": {"en": "global"}}, {ENGLISH: "global"}),
        ({"default": "global"}, {UNDECIDED: "global", ENGLISH: "off", SWAHILI: "off"}),
        ({"default": "de", "threshold": 1.0}, {"Memoria procedimental": "de", ENGLISH: "off"}),
    ],
)
def test_a_policy_is_followed(policy: dict[str, object], connections: dict[str, str]) -> None:
    chosen = router.with_policy(RoutingPolicy.model_validate(policy))
    assert {text: chosen.route([text]).connection for text in connections} == connections


@pytest.mark.parametrize(
    ("policy", "text", "override", "plain"),
    [
        ({}, GERMAN, "auto", None),
        ({}, GERMAN, "global", None),
        ({}, GERMAN, "off", "asked"),
        ({}, ENGLISH, "auto", "english"),
        ({}, GERMAN, "en", "english"),
        ({}, UNDECIDED, "auto", "undecided"),
        ({"default": "de"}, UNDECIDED, "auto", None),
        ({}, SWAHILI, "auto", "not-trained"),
        ({"languages": ["fr"]}, SWAHILI, "auto", "not-trained"),
        ({"languages": ["fr"]}, GERMAN, "auto", "policy"),
        ({"languages": ["fr"]}, ENGLISH, "auto", "english"),
        ({"connections": {"fr": "off"}}, FRENCH, "auto", "policy"),
        ({"connections": {"fr": "off"}}, GERMAN, "fr", "policy"),
        ({"connections": {"en": "off"}}, ENGLISH, "auto", "policy"),
        ({"connections": {"en": "global"}}, ENGLISH, "auto", None),
    ],
)
def test_an_explanation_says_why_an_answer_is_plain(
    policy: dict[str, object], text: str, override: str, plain: str | None
) -> None:
    assert router.with_policy(RoutingPolicy.model_validate(policy)).explain([text], override).plain == plain


def test_a_language_without_a_matrix_goes_plain_for_that() -> None:
    assert Router(["de"], ["de", "fr"]).explain([FRENCH]).plain == "no-matrix"


def test_only_served_languages_can_be_named() -> None:
    narrow = router.with_policy(RoutingPolicy(languages=("fr",)))
    assert narrow.choices == ("auto", "off", "global", "en", "fr")
    assert router.choices == ("auto", "off", "global", "de", "en", "fr", "zh"), "another policy is another router"


def test_a_policy_that_the_checkpoint_cannot_follow_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"^languages\.0: 'sw'"):
        router.with_policy(RoutingPolicy(languages=("sw",)))


@pytest.mark.parametrize(
    ("text", "override", "rule"),
    [
        (GERMAN, "auto", "classifier"),
        (ENGLISH, "auto", "classifier"),
        ("最近的火车站在哪里？", "auto", "script"),
        (UNDECIDED, "auto", "undecided"),
        (GERMAN, "off", "override"),
        (GERMAN, "fr", "override"),
    ],
)
def test_an_explanation_names_what_decided(text: str, override: str, rule: str) -> None:
    assert router.explain([text], override).rule == rule


def test_an_explanation_says_what_was_judged() -> None:
    explanation = router.explain([UNDECIDED, FRENCH + "\n" + FRENCH * 2])
    assert explanation.text == FRENCH
    assert next(iter(explanation.scores)) == explanation.language == "fr"
    assert explanation.scores["fr"] == explanation.confidence
    assert len(router.explain(["Où est la gare ? " * 5_000]).text) <= 501


@given(st.lists(st.text(st.characters(codec=None))), st.sampled_from(router.choices))
def test_what_is_explained_is_what_is_done(texts: list[str], override: str) -> None:
    explanation, route = router.explain(texts, override), router.route(texts, override)
    for name in (field.name for field in dataclasses.fields(Route)):
        assert getattr(explanation, name) == getattr(route, name)
    assert explanation.language in (None, *SERVED_LANGUAGES)
    assert (explanation.plain is None) == (explanation.connection != "off")
    json.dumps(dataclasses.asdict(explanation))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner),
    max_leaves=20,
)


@given(json_values)
def test_any_override_is_obeyed_or_refused(override: object) -> None:
    try:
        assert router.route([GERMAN], override).connection in ("off", "global", "de")
    except UnknownConnectionError:
        assert override not in router.choices


def test_routing_loads_neither_torch_nor_vllm() -> None:
    program = "import sys, cc_serve.routing.router; sys.exit(bool({'torch', 'vllm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("prompts", "override", "expected"),
    [
        (["Habari ya asubuhi, rafiki yangu", "Mji mkuu wa Kenya ni upi?"], "auto", ("sw", "global")),
        (["Habari ya asubuhi, rafiki yangu", "What is the capital of Kenya?"], "auto", (None, "off")),
        (["Habari ya asubuhi, rafiki yangu", "What is the capital of Kenya?"], "sw", ("sw", "global")),
    ],
)
def test_prompts_of_one_request_are_connected_if_they_agree(
    prompts: list[str], override: str, expected: tuple[str | None, str]
) -> None:
    route = default_router().explain_together([[prompt] for prompt in prompts], override)
    assert (route.language, route.connection) == expected

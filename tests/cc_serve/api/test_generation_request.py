"""What a generation request says: the user's texts and its prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_serve.api.errors import RefusedError
from cc_serve.api.generation_request import GenerationRequest
from cc_serve.api.middleware.connection import explain
from cc_serve.routing.router import Router

GERMAN = "Wo ist der nächste Bahnhof, bitte?"
FRENCH = "Où se trouve la gare la plus proche ?"

router = Router(["global", "de"], ["de", "fr", "zh"])


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        pytest.param(
            {"messages": [user("a"), {"role": "assistant", "content": "b"}, user("c")]}, ["c", "a"], id="turns"
        ),
        pytest.param({"messages": [{"role": "system", "content": "a"}, user("b")]}, ["b"], id="system"),
        pytest.param(
            {"messages": [user([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}])]},
            ["a\n\nb"],
            id="parts",
        ),
        pytest.param({"messages": []}, [], id="no messages"),
        pytest.param({"prompt": "a"}, ["a"], id="prompt"),
        pytest.param({"prompt": ["a", "b"]}, ["a", "b"], id="prompts"),
        pytest.param({"prompt": [1, 2, 3]}, [], id="token ids"),
        pytest.param({"prompt": [[1], [2]]}, [], id="lists of token ids"),
        pytest.param({"input": "a"}, ["a"], id="responses, text"),
        pytest.param({"input": [user([{"type": "input_text", "text": "a"}])]}, ["a"], id="responses, items"),
        pytest.param({}, [], id="nothing"),
    ],
)
def test_the_users_words_are_judged(body: dict[str, object], texts: list[str]) -> None:
    assert GenerationRequest(body).texts == texts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner),
    max_leaves=20,
)
turns = st.lists(json_values | st.fixed_dictionaries({"role": st.just("user"), "content": json_values}))


@given(st.dictionaries(st.sampled_from(["messages", "prompt", "input"]), json_values | turns))
def test_any_body_is_routed(body: dict[str, object]) -> None:
    request = GenerationRequest(body)
    assert router.route(request.texts).connection in ("off", "global", "de")
    assert explain(request, router).connection in ("off", "global", "de")


@pytest.mark.parametrize(
    ("body", "language", "rule"),
    [
        ({"prompt": [GERMAN, "Guten Morgen, wie geht es Ihnen?"]}, "de", "classifier"),
        ({"prompt": [GERMAN, FRENCH]}, None, "prompts-disagree"),
        ({"prompt": GERMAN}, "de", "classifier"),
        ({"messages": [{"role": "user", "content": FRENCH}]}, "fr", "classifier"),
        ({"messages": [[{"role": "user", "content": FRENCH}]] * 2}, "fr", "classifier"),
        (
            {"messages": [[{"role": "user", "content": FRENCH}], [{"role": "user", "content": GERMAN}]]},
            None,
            "prompts-disagree",
        ),
        ({"messages": None, "input": None, "prompt": GERMAN}, "de", "classifier"),
        ({}, None, "undecided"),
    ],
)
def test_a_request_is_explained(body: dict[str, object], language: str | None, rule: str) -> None:
    explanation = explain(GenerationRequest(body), router)
    assert (explanation.language, explanation.rule) == (language, rule)


def test_a_list_of_messages_that_is_null_is_named() -> None:
    for path in ("/v1/chat/completions", "/v1/messages"):
        with pytest.raises(RefusedError, match="'messages' must be a list") as caught:
            GenerationRequest({"messages": None}).check(path)
        assert caught.value.param == "messages"
    GenerationRequest({"messages": None, "prompt": "a"}).check("/v1/completions")
    GenerationRequest({}).check("/v1/chat/completions")


def test_our_own_fields_may_be_null() -> None:
    request = GenerationRequest({"prompt": "a", "cc_connection": None, "cc_details": None, "cc_strength": None})
    assert request.strength((0, 2)) == 1
    assert not request.overridden
    assert not request.wants_details("/v1/responses")
    request.connect("off")
    assert request.fields == {"prompt": "a"}


def test_a_strength_goes_to_the_engine_with_the_connection() -> None:
    for wanted, sent in ((0, {"cc_strength": 0.0}), (0.5, {"cc_strength": 0.5}), (1, {}), (2.0, {"cc_strength": 2.0})):
        request = GenerationRequest({"prompt": "a", "cc_strength": wanted})
        request.connect("de", request.strength((0, 2)))
        assert request.fields == {"prompt": "a", "vllm_xargs": {"cc_connection": "de", **sent}}
    request = GenerationRequest({"prompt": "a", "cc_strength": 0.5})
    request.connect("off", 0.5)
    assert request.fields == {"prompt": "a"}


@pytest.mark.parametrize("wanted", [-0.01, 2.01, 1e300, float("nan"), float("inf"), "1", True, [1], {}, 10**400])
def test_a_strength_outside_the_bounds_is_refused(wanted: object) -> None:
    with pytest.raises(RefusedError, match=r"cc_strength is .*; this server takes numbers from 0 to 2") as caught:
        GenerationRequest({"cc_strength": wanted}).strength((0, 2))
    assert caught.value.param == "cc_strength"


def test_the_operator_bounds_strengths() -> None:
    assert GenerationRequest({"cc_strength": 1.2}).strength((0.5, 1.2)) == 1.2
    for wanted in (0.4, 1.3):
        with pytest.raises(RefusedError, match=r"takes numbers from 0\.5 to 1\.2"):
            GenerationRequest({"cc_strength": wanted}).strength((0.5, 1.2))


@pytest.mark.parametrize("name", ["kv_transfer_params", "cc_tenant", "cc_weight", "cc_digest"])
def test_what_only_this_server_tells_the_engine_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match=f"'{name}' cannot be set through 'vllm_xargs'; remove it"):
        GenerationRequest({"messages": [user("a")], "vllm_xargs": {name: [1]}}).check("/v1/chat/completions")

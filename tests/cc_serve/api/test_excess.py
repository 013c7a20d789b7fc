"""The fields of a generation request that can ask for too much."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cc_serve.api.excess import find_excess
from cc_serve.api.vllm import CompletionRequest
from cc_serve.config.configuration import Limits

LIMITS = Limits(choices=4, output_tokens=100, pattern_characters=10)


@pytest.mark.parametrize("name", ["n", "best_of"])
@pytest.mark.parametrize("value", [5, "5", 5.0, "1000000000000000000000", 10**400, True + 4])
def test_too_many_choices_are_told_by_field(name: str, value: object) -> None:
    found = find_excess({name: value}, LIMITS)
    assert found
    limit, message, field = found
    assert limit == "choices"
    assert field == name
    assert message.startswith(f"{name!r} is ")
    assert message.endswith("allows at most 4")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_too_many_tokens_are_told_by_field(name: str) -> None:
    found = ("output_tokens", f"{name!r} is 101; this server allows at most 100", name)
    assert find_excess({name: 101}, LIMITS) == found
    assert find_excess({name: 100}, LIMITS) is None
    assert find_excess({name: 10**9}, Limits()) is None, "no limit unless there is one"


@pytest.mark.parametrize("length", [{}, {"max_tokens": None, "max_completion_tokens": None}])
def test_beam_search_names_its_length_where_that_is_limited(length: dict[str, None]) -> None:
    found = ("output_tokens", "beam search needs 'max_tokens'; this server allows at most 100", "max_tokens")
    assert find_excess({"use_beam_search": True, **length}, LIMITS) == found
    assert find_excess({"use_beam_search": True, **length, "max_completion_tokens": 100}, LIMITS) is None
    assert find_excess({"use_beam_search": True}, Limits()) is None
    assert find_excess({"use_beam_search": False}, LIMITS) is None
    assert find_excess({"use_beam_search": "false"}, LIMITS) is None
    assert find_excess({"use_beam_search": True, "max_output_tokens": 1}, LIMITS) == found, "chat does not read it"


def test_a_completion_has_a_length_of_its_own() -> None:
    search = {"prompt": "a", "use_beam_search": True}
    length = CompletionRequest.model_validate(search).max_tokens
    assert length
    assert find_excess(search, Limits(output_tokens=length)) is None
    excess = find_excess(search, Limits(output_tokens=length - 1))
    assert excess is not None
    assert excess.limit == "output_tokens"


@pytest.mark.parametrize(
    ("name", "item"), [("prompt", "a"), ("prompt", [1]), ("messages", [{"role": "user", "content": "a"}])]
)
def test_more_prompts_than_answers_are_told_before_any_is_routed(name: str, item: object) -> None:
    limits = Limits(sequences=3)
    found = ("sequences", f"{name!r} has 4 prompts; this server allows at most 3", name)
    assert find_excess({name: [item] * 4}, limits) == found
    assert find_excess({name: [item] * 3}, limits) is None


@pytest.mark.parametrize("body", [{"prompt": [1] * 4}, {"messages": [{"role": "user", "content": "a"}] * 4}])
def test_a_long_prompt_is_one(body: dict[str, Any]) -> None:
    assert find_excess(body, Limits(sequences=3)) is None


@pytest.mark.parametrize("value", [None, 4, "4", -1, "x", [], {}, 4.5, float("nan"), float("inf"), True])
def test_what_the_endpoint_refuses_itself_is_left_to_it(value: object) -> None:
    assert find_excess({"n": value}, LIMITS) is None


@pytest.mark.parametrize(
    "request_",
    [
        {"structured_outputs": {"regex": "(a|b)?" * 5}},
        {"structured_outputs": {"grammar": "root ::= 'abcde'"}},
        {"structured_outputs": {"choice": ["abcd"] * 3}},
        {"structured_outputs": {"json": {"pattern": "x" * 11}}},
        {"structured_outputs": {"json": json.dumps({"items": [{"pattern": "x" * 11}]})}},
        {"structured_outputs": {"structural_tag": json.dumps({"format": {"regex": "x" * 11}})}},
        {"response_format": {"json_schema": {"schema": {"items": {"pattern": "x" * 6, "not": {"pattern": "x" * 6}}}}}},
        {"text": {"format": {"schema": {"pattern": "x" * 11}}}},
        {"output_config": {"format": {"schema": {"pattern": "x" * 11}}}},
        {"response_format": {"json_schema": {"schema": {"patternProperties": {"x" * 11: {}}}}}},
        {"response_format": {"json_schema": {"schema": {"enum": ["abcd"] * 3}}}},
        {"tools": [{"function": {"parameters": {"pattern": "x" * 6}}}] * 2},
    ],
)
def test_long_patterns_are_told_by_field(request_: dict[str, Any]) -> None:
    found = find_excess(request_, LIMITS)
    assert found
    assert found.limit == "pattern_characters"
    assert found.field == next(iter(request_))
    assert "allows at most 10" in found.message
    assert find_excess(request_, Limits()) is None


@pytest.mark.parametrize(
    "form",
    [
        None,
        "x" * 20,
        {"json": "{" * 20},
        {"json": "[" * 100_000},
        {"regex": 5, "choice": [1, 2]},
        {"json": {"properties": {"pattern": {"description": "x" * 20}}}},
    ],
)
def test_what_is_no_pattern_does_not_count(form: object) -> None:
    assert find_excess({"structured_outputs": form}, LIMITS) is None


def test_deep_nesting_is_walked() -> None:
    form: Any = {"pattern": "x" * 11}
    for _ in range(50_000):
        form = [form]
    assert find_excess({"response_format": form}, LIMITS)

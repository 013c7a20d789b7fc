"""Patterns that xgrammar misreads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams, StructuredOutputsParams

from cc_serve.api.patterns import misread_part, named_schema_error, refuse_misread_patterns

MISREAD = {
    r"[\p{L}]+": r"\p",
    r"[\P{Lu}a]": r"\P",
    r"a[^x\]\p{Arabic}]": r"\p",
    r"[[:alpha:]]": "[:alpha:]",
    r"\[[\pL]": r"\p",
}


@pytest.mark.parametrize(("pattern", "part"), MISREAD.items())
def test_misread(pattern: str, part: str) -> None:
    assert misread_part(pattern) == part


@pytest.mark.parametrize(
    "pattern", [r"\p{L}", r"[\\p{L}]", r"\[\p{L}\]", r"[a]\p{L}", r"[\]]", "[a-z]+", "", "[", r"\d["]
)
def test_read_or_refused_by_xgrammar(pattern: str) -> None:
    assert misread_part(pattern) is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"regex": r"[\p{L}]"},
        {"json": {"properties": {"a": {"items": [{"pattern": r"[\p{L}]"}]}}}},
        {"json": json.dumps({"patternProperties": {r"[\p{L}]": {}}})},
        {"structural_tag": json.dumps({"format": {"type": "regex", "pattern": r"[\p{L}]"}})},
    ],
)
def test_a_request_is_refused_wherever_the_pattern_is(wanted: dict[str, Any]) -> None:
    with pytest.raises(VLLMValidationError, match=r"\\p in a character class of the pattern") as caught:
        refuse_misread_patterns(SamplingParams(structured_outputs=StructuredOutputsParams(**wanted)))
    assert caught.value.parameter == "structured_outputs"


@pytest.mark.parametrize("wanted", [{"regex": "[a-z]"}, {"json": {"properties": {"pattern": {}}}}, {"json": "{"}])
def test_others_are_not(wanted: dict[str, Any]) -> None:
    refuse_misread_patterns(SamplingParams(structured_outputs=StructuredOutputsParams(**wanted)))
    refuse_misread_patterns(SamplingParams())


@pytest.mark.parametrize(
    "message", ["Failed to transform json schema into a grammar: no", "The provided JSON schema contains features not"]
)
def test_a_schema_that_cannot_be_followed_is_named(message: str) -> None:
    named = named_schema_error(VLLMValidationError(message))
    assert isinstance(named, VLLMValidationError)
    assert named.parameter == "structured_outputs"
    assert named.args[0].startswith("a JSON schema in structured_outputs, response_format, text, output_config or ")
    assert named.args[0].endswith(message)


@pytest.mark.parametrize("error", [VLLMValidationError("another"), ValueError("Failed to transform json schema into")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    assert named_schema_error(error) is error

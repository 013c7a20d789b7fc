"""What a model says of its quantisation is read, or refused by the file and the field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cc_core.experts import refuse_skipped_experts
from cc_core.files import CheckpointError
from cc_core.names import CONFIG_FILE, INDEX_FILE
from cc_core.quantization import Quantization, quantization_of

WRONG: list[tuple[Any, str]] = [
    ([], "'quantization_config' must be an object (found [])"),
    ("int8", "'quantization_config' must be an object (found 'int8')"),
    (False, "'quantization_config' must be an object (found False)"),
    ({"config_groups": ["group_0"]}, "'quantization_config.config_groups'"),
    ({"config_groups": {"group_0": ["Linear"]}}, "'quantization_config.config_groups.group_0'"),
    ({"config_groups": {"group_0": {"targets": "Linear"}}}, "'quantization_config.config_groups.group_0.targets'"),
    ({"config_groups": {"group_0": {"targets": [1]}}}, "'quantization_config.config_groups.group_0.targets.0'"),
    ({"ignore": "lm_head"}, "'quantization_config.ignore'"),
    ({"ignore": [None]}, "'quantization_config.ignore.0'"),
    ({"quant_method": ["compressed-tensors"]}, "'quantization_config.quant_method'"),
    ({"transform_config": [1]}, "'quantization_config.transform_config'"),
]


def write(directory: Path, entry: object) -> Path:
    (directory / CONFIG_FILE).write_text(json.dumps({"quantization_config": entry}))
    return directory


@pytest.mark.parametrize(("entry", "field"), WRONG)
def test_a_field_of_the_wrong_type_is_named_with_its_file(tmp_path: Path, entry: object, field: str) -> None:
    told = re.escape(f"{tmp_path / CONFIG_FILE}: field {field}")
    with pytest.raises(CheckpointError, match=told) as raised:
        quantization_of(write(tmp_path, entry))
    assert "\n" not in str(raised.value)
    with pytest.raises(CheckpointError, match=told):
        refuse_skipped_experts(tmp_path, {"quantization_config": entry})


def test_what_is_right_is_read(tmp_path: Path) -> None:
    assert quantization_of(tmp_path) is None
    assert quantization_of(write(tmp_path, None)) is None
    entry = {"quant_method": "awq", "config_groups": {"a": {"targets": ["Linear"], "weights": {}}}, "bits": 4}
    found = quantization_of(write(tmp_path, entry))
    assert isinstance(found, Quantization)
    assert (found.quant_method, found.ignore, found.transform_config) == ("awq", None, None)
    assert found.config_groups is not None
    assert found.config_groups["a"].targets == ("Linear",)


def test_an_index_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_text(json.dumps({"weight_map": ["model-1.safetensors"]}))
    with pytest.raises(CheckpointError, match=f"{INDEX_FILE}: field 'weight_map' must be an object"):
        refuse_skipped_experts(tmp_path, {"quantization_config": {}})

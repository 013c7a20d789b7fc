"""A quantised mixture whose experts or routers the tool skipped is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cc_core.experts import refuse_skipped_experts
from cc_core.files import CheckpointError
from cc_core.names import CONFIG_FILE, INDEX_FILE

LAYER = "model.layers.0."
SCALED = [f"{LAYER}self_attn.q_proj.weight", f"{LAYER}self_attn.q_proj.weight_scale"]
EXPERT, ROUTER = f"{LAYER}mlp.experts.3.up_proj", f"{LAYER}mlp.gate"
LEFT_OUT = [r"re:.*mlp\.experts", r"re:.*mlp\.gate$"]


def refuse(
    directory: Path,
    names: list[str],
    ignore: list[str],
    targets: list[str],
    *,
    indexed: bool = False,
    architecture: str = "CCQwen3MoeForCausalLM",
) -> None:
    if indexed:
        (directory / INDEX_FILE).write_text(json.dumps({"weight_map": dict.fromkeys(names, "model-1.safetensors")}))
    else:
        save_file({name: torch.zeros(1) for name in names}, directory / "model.safetensors")
    groups = {"group_0": {"targets": targets}}
    config = {"architectures": [architecture], "quantization_config": {"config_groups": groups, "ignore": ignore}}
    refuse_skipped_experts(directory, config)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("names", "ignore", "targets", "told"),
    [
        ([f"{EXPERT}.weight", f"{ROUTER}.weight"], [], ["Linear"], rf"says that {EXPERT} .*\(here: 2\)"),
        (
            [f"{EXPERT}.weight", f"{ROUTER}.weight"],
            ["re:.*experts.*"],
            ["Linear"],
            rf"says that {ROUTER} .*\(here: 1\)",
        ),
        ([f"{LAYER}mlp.experts.gate_up_proj"], [ROUTER], ["Linear"], f"says that {LAYER}mlp.experts is quantised"),
        ([f"{EXPERT}.weight"], [], [r"re:.*mlp\.experts.*"], f"says that {EXPERT} "),
    ],
    ids=["both", "router", "in one tensor", "by a pattern"],
)
def test_what_has_no_scale_must_be_left_out(
    tmp_path: Path, names: list[str], ignore: list[str], targets: list[str], told: str, indexed: bool
) -> None:
    names = [*SCALED, *names, f"{LAYER}mlp.experts.0.down_proj.weight_packed"]
    with pytest.raises(CheckpointError, match=f"{CONFIG_FILE}: field 'quantization_config' {told}") as raised:
        refuse(tmp_path, names, ignore, targets, indexed=indexed)
    advice = json.loads("[" + str(raised.value).rpartition("ignore': ")[2] + "]")
    refuse(tmp_path, names, [*ignore, *advice], targets, indexed=indexed)


@pytest.mark.parametrize(
    ("names", "ignore", "targets"),
    [
        ([f"{EXPERT}.weight", f"{EXPERT}.weight_scale"], [ROUTER], ["Linear"]),
        ([f"{EXPERT}.weight_packed", f"{EXPERT}.weight_scale"], [ROUTER], ["Linear"]),
        ([f"{EXPERT}.weight", f"{ROUTER}.weight"], LEFT_OUT, ["Linear"]),
        ([f"{EXPERT}.weight", f"{ROUTER}.weight"], [], [r"re:.*self_attn.*"]),
        ([f"{LAYER}mlp.up_proj.weight"], [], ["Linear"]),
    ],
    ids=["quantised", "packed", "left out", "not meant", "no mixture"],
)
def test_others_pass(tmp_path: Path, names: list[str], ignore: list[str], targets: list[str]) -> None:
    refuse(tmp_path, [*SCALED, *names], ignore, targets)


def test_a_router_that_vllm_never_quantises_passes(tmp_path: Path) -> None:
    block = f"{LAYER}block_sparse_moe."
    names = [f"{block}gate.weight", f"{block}experts.0.w1.weight", f"{block}experts.0.w1.weight_scale"]
    refuse(tmp_path, names, [], ["Linear"], architecture="MixtralForCausalLM")


def test_experts_under_another_name_are_found(tmp_path: Path) -> None:
    block = f"{LAYER}block_sparse_moe."
    names = [f"{block}{name}.weight" for name in ("input_linear", "output_linear", "router.layer")]
    with pytest.raises(CheckpointError, match=r"\(here: 2\)") as raised:
        refuse(tmp_path, names, [], ["Linear"], architecture="GraniteMoeForCausalLM")
    assert str(raised.value).endswith(r'"re:.*block_sparse_moe\\.experts"')


@pytest.mark.parametrize("config", [{}, {"quantization_config": None}])
def test_a_model_that_is_not_quantised_is_not_read(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "model.safetensors").write_text("damaged")
    refuse_skipped_experts(tmp_path, config)


@pytest.mark.parametrize(("ignore", "targets"), [(["re:*experts"], ["Linear"]), ([], ["re:*experts"])])
def test_a_pattern_that_is_none_is_named(tmp_path: Path, ignore: list[str], targets: list[str]) -> None:
    told = rf"{CONFIG_FILE}: field 'quantization_config' has the pattern '\*experts', which is not a regular expression"
    with pytest.raises(CheckpointError, match=told):
        refuse(tmp_path, [f"{EXPERT}.weight"], ignore, targets)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("damaged")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is truncated or not safetensors"):
        refuse_skipped_experts(tmp_path, {"quantization_config": {}})

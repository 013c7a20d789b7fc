"""Refuses a quantised mixture of experts whose experts or routers the quantising tool skipped.

Tools quantise linear layers. transformers keeps the experts of a layer in one tensor and its router in another, and
neither is a linear layer. So a tool may skip both, while its entry in ``config.json`` says that all were quantised.
vLLM believes the entry: it takes weights that were never rounded for rounded ones, and answers nonsense.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cc_core.files import CheckpointError, read_json
from cc_core.names import CONFIG_FILE, INDEX_FILE, QUANTIZATION, WEIGHTS
from cc_core.quantization import quantization_in
from cc_core.tensor_files import stored_tensors

_EXPERT: Final = ".experts."
# What GraniteMoe's files call the experts, which vLLM knows by the name above.
_GRANITE_EXPERT: Final = re.compile(r"(?<=block_sparse_moe)\.(?:input|output)_linear\b")
# Routers, and gates of shared experts. Of these, vLLM quantises only the router of the architecture named below.
_ROUTER: Final = re.compile(r"\.(?:gate|router(?:\.layer)?|shared_expert_gate)$")
_QUANTISED_ROUTER: Final = ("Qwen3MoeForCausalLM", ".mlp.gate")
# What compressed-tensors writes before a regular expression; a name without it is meant literally.
_PATTERN: Final = "re:"
# A feed-forward block's weight: its module's full name, the module's name within its layer, and the weight's own name.
_WEIGHT: Final = re.compile(
    r"(?P<module>.*\.layers\.\d+\.(?P<own>(?:mlp|block_sparse_moe)\..+?))(?:\.weight|\.(?:gate_up|down)_proj)"
)


def refuse_skipped_experts(directory: Path, config: dict[str, Any]) -> None:
    """Refuse a model whose ``config`` calls experts or routers quantised that are not.

    It reads the names of the tensors, from the index or from the headers of the weights' files, and no tensor.

    Raises:
        CheckpointError: the model has such experts or routers, a field or a pattern in ``config`` is wrong, or a file
            of weights cannot be read.
    """
    path = directory / CONFIG_FILE
    entry = quantization_in(path, config)
    if entry is None:
        return
    names = {_GRANITE_EXPERT.sub(r".experts\g<0>", name) for name in _tensor_names(directory)}
    if not any(_EXPERT in name for name in names):
        return
    groups = (entry.config_groups or {}).values()
    targets = [target for group in groups for target in group.targets or ()]
    ignored = entry.ignore or ()
    skipped = {}
    for name in sorted(names):
        found = _WEIGHT.fullmatch(name)
        if found is None or f"{found['module']}.weight_scale" in names:
            continue
        module = found["module"]
        if _ROUTER.search(module) and not _is_quantised_router(config, module):
            continue
        try:
            if ("Linear" in targets or _matches(targets, module)) and not _matches(ignored, module):
                skipped[module] = found["own"]
        except re.error as error:
            raise CheckpointError(
                path,
                f"field '{QUANTIZATION}' has the pattern {error.pattern!r}, which is not a regular expression: {error}",
            ) from error
    if not skipped:
        return
    patterns = ", ".join(json.dumps(pattern) for pattern in sorted({*map(_pattern, skipped.values())}))
    raise CheckpointError(
        path,
        f"field '{QUANTIZATION}' says that {next(iter(skipped))} is quantised, but its weight has no scale. The "
        f"quantising tool skips experts and routers that are not linear layers (here: {len(skipped)}); list them in "
        f"'{QUANTIZATION}.ignore': {patterns}",
    )


def _is_quantised_router(config: dict[str, Any], module: str) -> bool:
    architecture, name = _QUANTISED_ROUTER
    named = config.get("architectures")
    return module.endswith(name) and isinstance(named, list) and any(str(one).endswith(architecture) for one in named)


def _pattern(name: str) -> str:
    """The pattern for ``ignore`` that matches, in each layer, all experts or the one module called ``name``."""
    block, experts, _ = name.partition(_EXPERT.rstrip("."))
    return f"{_PATTERN}.*{re.escape(block + experts)}{'' if experts else '$'}"


def _matches(patterns: Iterable[str], module: str) -> bool:
    return any(
        re.match(pattern.removeprefix(_PATTERN), module) is not None
        if pattern.startswith(_PATTERN)
        else pattern == module
        for pattern in patterns
    )


def _tensor_names(directory: Path) -> set[str]:
    if (directory / INDEX_FILE).is_file():
        weights = read_json(directory / INDEX_FILE).get("weight_map", {})
        if not isinstance(weights, dict):
            raise CheckpointError(directory / INDEX_FILE, "field 'weight_map' must be an object")
        return {*weights}
    return {name for path in directory.glob(WEIGHTS) for name in stored_tensors(path)}

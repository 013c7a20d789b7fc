"""Every vLLM symbol that the engine, and the server around it, lean on.

None is a stable API: a new vLLM fails here first, and says what moved. `make audit-vllm VERSION=...` runs this file
against a release that is not installed, so nothing here imports vLLM before a test runs.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from cc_core.architectures import FAMILIES
from cc_serve.process.vllm_release import SUPPORTED
from tests.support.audit import Entry, check, entries, find, moved, release
from tests.support.own_code import imported_symbols

# Their entries look in both places.
_IN_TWO_PLACES = {place.symbol for entry in entries("vllm") if entry.elsewhere for place in (entry, entry.elsewhere)}
_IMPORTS = sorted(s for s in set(imported_symbols()) - _IN_TWO_PLACES if Entry(s).library == "vllm")


def test_version_is_a_supported_one() -> None:
    find("vllm:__version__")
    assert release("vllm").startswith(tuple(f"vllm {supported}." for supported in SUPPORTED.values()))


@pytest.mark.parametrize("symbol", _IMPORTS)
def test_import(symbol: str) -> None:
    with moved():
        find(symbol)


@pytest.mark.parametrize("entry", entries("vllm"), ids=str)
def test_entry(entry: Entry) -> None:
    with moved():
        check(entry)


@pytest.mark.parametrize("base", FAMILIES)
def test_family(base: str) -> None:
    """What the mixin calls on each model class, and the module whose output is the FFN contribution."""
    with moved(f"model class {base}"):
        registry: Any = find("vllm.model_executor.models:ModelRegistry")
        model = registry.models[base].load_model_cls()
    assert {"vllm_config", "prefix"} <= set(inspect.signature(model.__init__).parameters)
    assert list(inspect.signature(model.load_weights).parameters) == ["self", "weights"]
    if model.__name__.startswith("Transformers"):  # vLLM runs the layers of transformers
        modules = {inspect.getmodule(find(f"transformers:{base}"))}
    else:
        modules = {inspect.getmodule(c) for c in model.__mro__ if c.__module__.startswith("vllm.")}
    output = FAMILIES[base].engine_output or FAMILIES[base].output
    expected = re.compile(rf"= self\.{output}\(")
    assert any(expected.search(inspect.getsource(module)) for module in modules if module), (
        f"{base} no longer calls {output}"
    )
    # What the embedding's hook takes from a decoder layer's arguments.
    names = ("DecoderLayer", "TransformerBlock")
    layers = [c for m in modules for name, c in inspect.getmembers(m, inspect.isclass) if name.endswith(names)]
    assert layers, f"no module of {base} has a decoder layer"
    for layer in layers:
        assert "hidden_states" in inspect.signature(layer.forward).parameters, layer


def test_configuration_hooks_are_looked_up_by_architecture() -> None:
    with moved():
        hooks = find("vllm.model_executor.models.config:MODELS_CONFIG_MAP")
    assert isinstance(hooks, dict)

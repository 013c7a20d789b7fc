"""What the parent of several API processes looks at before it starts any, and what it hands on to them."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from cc_serve.api.processes.parent import _require_no_metrics
from cc_serve.api.start import StartError, import_parsers
from cc_serve.api.vllm import ReasoningParserManager, ToolParserManager

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
TOOLS = """
from vllm.tool_parsers.abstract_tool_parser import ToolParser, ToolParserManager
@ToolParserManager.register_module("of_the_test")
class OfTheTest(ToolParser): ...
"""
REASONING = """
from vllm.reasoning import ReasoningParser, ReasoningParserManager
@ReasoningParserManager.register_module("of_the_test")
class OfTheTest(ReasoningParser): ...
"""


def test_another_servers_metrics_are_not_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY, raising=False)
    _require_no_metrics()
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    _require_no_metrics()
    (tmp_path / "counter_7.db").touch()
    with pytest.raises(StartError, match=rf"{DIRECTORY}: .* holds another server's metrics; empty it, or unset it"):
        _require_no_metrics()


def test_a_process_knows_the_parsers_of_plugins(tmp_path: Path) -> None:
    tools, reasoning = tmp_path / "tools_of_the_test.py", tmp_path / "reasoning_of_the_test.py"
    tools.write_text(TOOLS)
    reasoning.write_text(REASONING)
    for manager in (ToolParserManager, ReasoningParserManager):
        assert "of_the_test" not in manager.list_registered()
    import_parsers(Namespace(tool_parser_plugin=str(tools), reasoning_parser_plugin=str(reasoning)))
    for manager in (ToolParserManager, ReasoningParserManager):
        assert "of_the_test" in manager.list_registered()

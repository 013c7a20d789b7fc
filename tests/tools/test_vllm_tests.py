"""How the outcomes of vLLM's tests on two servers are compared, and how their sources are made to run there."""

from __future__ import annotations

from pathlib import Path

from tools.vllm_tests.__main__ import compare
from tools.vllm_tests.source import name_model


def test_what_differs_is_shown_with_both_outcomes() -> None:
    ours = {"a": "passed", "b": "failed: 400", "c": "failed: x", "d": "skipped", "e": "passed"}
    stock = {"a": "passed", "b": "passed", "c": "failed: another x", "d": "skipped"}
    lines = compare(ours, stock)
    assert lines[0] == "b\n  ours   failed: 400\n  stock  passed"
    assert lines[1] == "e\n  ours   passed\n  stock  None"
    assert lines[2] == "5 tests: 1 failed on both, 1 passed on both, 1 skipped on both; 2 differ"


def test_no_difference_is_one_line() -> None:
    assert compare({"a": "passed"}, {"a": "passed"}) == ["1 tests: 1 passed on both; 0 differ"]


def test_every_module_asks_for_the_model_that_is_served(tmp_path: Path) -> None:
    file = tmp_path / "tests/entrypoints/openai/test_chat.py"
    file.parent.mkdir(parents=True)
    file.write_text('MODEL_NAME = "org/model"\nOTHER_NAME = "org/other"\ndef f(MODEL_NAME="x"): ...\n')
    for model in ("/models/one", "/models/two"):
        name_model(tmp_path, Path(model))
        assert file.read_text() == f'MODEL_NAME = "{model}"\nOTHER_NAME = "org/other"\ndef f(MODEL_NAME="x"): ...\n'

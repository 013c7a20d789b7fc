"""The whole check on a CPU with a tiny model: its parts, its report, and that wrong answers do not pass."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from traceback import FrameSummary
from typing import Any

import psutil
import pytest
import torch

from benchmarks.gpu_check import __main__ as command
from benchmarks.gpu_check.answers import Answer
from benchmarks.gpu_check.observers import Waits
from benchmarks.gpu_check.parts import PartError, run_process
from benchmarks.gpu_check.scores import score_all
from benchmarks.gpu_check.verdicts import judge, problems_of_engine
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama

NAMES = ["global", "sw"]


def save(directory: Path, seed: int = 0) -> Path:
    """A checkpoint whose connection depends on the seed."""
    model = tiny_llama()
    model.config.max_position_embeddings = 1024  # the speed's prompts are longer than other tests'
    return save_checkpoint(directory, model, random_connection(NAMES, seed), ["de", "sw"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("checked"))


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole check leaves behind. It passes."""
    folder = tmp_path_factory.mktemp("report")
    given = ["--output", str(folder), "--minutes", "30", "--rounds", "2", "--concurrency", "2"]
    assert command.main([str(checkpoint), *given]) == 0
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path) -> list[Answer]:
    found = json.loads((folder / "float32-eager.json").read_text("utf-8"))
    return [Answer(**answer) for answer in found["answers"]]


without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="expects what a CPU does")


@without_gpu
def test_a_check_passes_and_says_what_it_compared(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["outcome"] == "passed"
    assert report["machine"]["device"] == "cpu"
    assert set(report["parts"]) == {
        *("machine", "speed", "float32-eager", "scores-float32", "bfloat16-eager", "scores-bfloat16"),
    }
    exact, close = report["parts"]["float32-eager"], report["parts"]["bfloat16-eager"]
    assert exact["connected"]["tokens"] == exact["connected"]["agreeing"] > 500
    assert exact["plain"]["requests"] > 10
    assert exact["connected"]["worst"] < 1e-4 < close["connected"]["worst"]
    assert exact["steps"]["NONE"]["inject"] > 20
    assert report["skipped"] == [command.NO_GRAPHS]
    assert {"plain on the CC engine / stock", "connected / stock, 64 tokens"} <= {r["case"] for r in report["speed"]}
    page = (folder / "report.md").read_text("utf-8")
    for told in (
        ": passed",
        "vLLM finds no GPU here",
        "| float32-eager, connected |",
        "| connected / stock, 64 tokens |",
    ):
        assert told in page


def test_answers_of_another_connection_do_not_pass(answers: list[Answer], tmp_path: Path) -> None:
    scores = score_all(save(tmp_path, seed=5), answers)
    for dtype in ("float32", "bfloat16"):
        problems = judge(dtype, "cuda", answers, scores).problems
        assert any("connected requests: tokens up to" in problem for problem in problems)
        assert not any("plain" in problem for problem in problems)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_connected_request_that_was_answered_plain_does_not_pass(
    answers: list[Answer], checkpoint: Path, dtype: str
) -> None:
    plain = {tuple(answer.prompt): answer for answer in answers if answer.connection is None}
    index = next(index for index, answer in enumerate(answers) if answer.connection)
    given = list(answers)
    same = plain[tuple(answers[index].prompt)]
    given[index] = replace(answers[index], tokens=same.tokens, logprobs=same.logprobs)
    assert judge(dtype, "cuda", given, score_all(checkpoint, given)).problems


def scored(answer: Answer, **changes: Any) -> dict[str, Any]:
    return {"logprobs": answer.logprobs, "best": answer.logprobs, "layer": answer.layer, "layer_gap": 0.0, **changes}


PLAIN = Answer("mixed", [1, 2], None, [5, 6, 7], [-0.5, -1.0, -0.1], None)
CONNECTED = replace(PLAIN, connection="global", layer=2)


def test_a_near_tie_is_right_and_tokens_after_it_are_still_judged() -> None:
    tie = scored(CONNECTED, best=[-0.5, -0.995, -0.1])
    verdict = judge("float32", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), tie])
    assert not verdict.problems
    assert (verdict.connected.agreeing, verdict.connected.others, verdict.connected.tokens) == (1, 1, 3)
    assert judge("float32", "cpu", [PLAIN, CONNECTED], [scored(PLAIN), tie]).problems, "no TF32 there"
    wrong = scored(CONNECTED, best=[-0.5, -0.995, 0.0])
    assert judge("float32", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), wrong]).problems


def test_layers_are_equal_in_float32_and_near_ties_otherwise() -> None:
    other = scored(CONNECTED, layer=1, layer_gap=0.04)
    assert judge("float32", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), other]).problems
    assert not judge("bfloat16", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), other]).problems
    far = scored(CONNECTED, layer=1, layer_gap=0.06)
    assert judge("bfloat16", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), far]).problems


def test_bfloat16_may_be_as_far_off_as_plain_requests_are_and_no_further_than_the_ceilings() -> None:
    off = {"logprobs": [-0.59, -1.09, -0.1], "best": [-0.29, -1.09, -0.1]}
    assert judge("bfloat16", "cuda", [PLAIN, CONNECTED], [scored(PLAIN), scored(CONNECTED, **off)]).problems
    assert not judge("bfloat16", "cuda", [PLAIN, CONNECTED], [scored(PLAIN, **off), scored(CONNECTED, **off)]).problems
    for far in ({"logprobs": [-0.7, -1.2, -0.3]}, {"best": [0.0, 0.0, 0.0], "logprobs": [-0.5, -1.01, -0.1]}):
        verdict = judge("bfloat16", "cuda", [PLAIN, CONNECTED], [scored(PLAIN, **far), scored(CONNECTED, **far)])
        assert [problem.split()[0] for problem in verdict.problems] == ["plain", "connected"]


@pytest.mark.parametrize("nothing", [[], [PLAIN], [CONNECTED]])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_compared_is_no_pass(dtype: str, nothing: list[Answer]) -> None:
    assert judge(dtype, "cpu", nothing, [scored(answer) for answer in nothing]).problems


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_is_no_pass(dtype: str) -> None:
    nan = scored(CONNECTED, logprobs=[float("nan")] * 3)
    assert judge(dtype, "cpu", [PLAIN, CONNECTED], [scored(PLAIN), nan]).problems


def facts(**changes: Any) -> dict[str, Any]:
    steps = {"FULL": {"steps": 9, "inject": 3}, "NONE": {"steps": 2, "capture": 1, "inject": 1}}
    return {"missing": [], "steps": steps, "graphs": "FULL", "waits": {"ours": {}, "others": {}}, **changes}


def test_an_inject_step_must_run_as_the_graph_that_was_asked_for() -> None:
    assert problems_of_engine("full", facts()) == problems_of_engine("eager", facts()) == []
    assert problems_of_engine("piecewise", facts()) == ["no inject step ran as PIECEWISE; vLLM chose FULL"]


def test_our_waits_are_problems_and_vllms_are_not() -> None:
    waits = Waits()
    theirs = [FrameSummary("/x/cc_serve/engine/worker.py", 7, "f"), FrameSummary("/x/vllm/v1/runner.py", 8, "g")]
    waits.note([*theirs, FrameSummary("/x/torch/_tensor.py", 9, "h")])
    assert (waits.ours, waits.others) == ({}, {"vllm/v1/runner.py:8": 1})
    waits.note([*theirs, FrameSummary("/x/cc_core/connection.py", 5, "decide"), FrameSummary("/x/torch/a.py", 9, "h")])
    assert waits.ours == {"cc_core/connection.py:5": 1}
    found = facts(waits={"ours": waits.ours, "others": waits.others})
    assert problems_of_engine("eager", found) == ["the host waits for the GPU in cc_core/connection.py:5"]


def test_a_process_that_dies_says_its_last_line(tmp_path: Path) -> None:
    died = [sys.executable, "-c", "print('out of memory'); raise SystemExit(3)"]
    with pytest.raises(PartError, match=r"ended with 3: out of memory; see .*\.log"):
        run_process(died, tmp_path / "part.log", 60)


def test_a_process_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with pytest.raises(PartError, match="took longer than the 8 s"):
        run_process(["sh", "-c", f"sleep 120 & echo $! > {started}; wait"], tmp_path / "part.log", 8)
    with suppress(psutil.NoSuchProcess):
        child = psutil.Process(int(started.read_text()))
        end = time.monotonic() + 60
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "it goes on"
            time.sleep(0.02)


def test_what_is_finished_is_written_when_a_later_part_dies(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def machine_only(part: str, checkpoint: Path, folder: Path, seconds: float, extra: Any = ()) -> Any:
        if part == "float32-full":
            so_far = json.loads((folder / "report.json").read_text("utf-8"))
            assert (so_far["outcome"], so_far["machine"]) == ("not finished", {"device": "cuda"})
        if part != "machine":
            raise PartError("ended with -9: killed")
        return {"device": "cuda"}

    monkeypatch.setattr(command, "run_part", machine_only)
    assert command.main([str(checkpoint), "--output", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["outcome"] == "failed"
    engines = {f"{dtype}-{mode}" for dtype in ("float32", "bfloat16") for mode in ("eager", "piecewise", "full")}
    assert {part for part, entry in report["parts"].items() if entry["outcome"] == "failed"} == {*engines, "speed"}
    assert "float32-full: ended with -9: killed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{empty}"], "config.json: cannot be read"),
        (["{checkpoint}", "--minutes", "0"], "--minutes must be 0.1 or more"),
        (["{checkpoint}", "--rounds", "1"], "--rounds must be 2 or more"),
        (["{checkpoint}", "--memory", "0.5"], "--memory must be above 0 and below 1/3"),
        (["{checkpoint}", "--output", "{file}/x"], "Not a directory"),
    ],
)
def test_bad_input_is_a_line(
    given: list[str], said: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {"checkpoint": checkpoint, "empty": tmp_path / "empty", "file": tmp_path / "file"}
    with pytest.raises(SystemExit, match="2"):
        command.main([word.format(**places) for word in given])
    assert said in capsys.readouterr().err.splitlines()[-1]

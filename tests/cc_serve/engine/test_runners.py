"""vLLM's two model runners: the tests use the one that was asked for, and both give the same tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, Engine, Job, prompt, start_small_engine
from tests.support.paths import ROOT
from tests.support.runners import V2, environment_of
from tests.support.triton_on_cpu.sitecustomize import FOLDER

JOBS = [Job(prompt(9100 + n, n), name) for n in (1, BLOCK, CHUNK + 1, 131) for name in CONNECTIONS]
ANSWER = "runner and tokens: "


def test_the_engine_has_the_runner_that_was_asked_for(engine: Engine) -> None:
    modules = {cls.__module__ for cls in type(engine.runner).__mro__}
    assert ("vllm.v1.worker.gpu.model_runner" in modules) is V2
    assert ("cc_serve.engine.runner_v1" in modules) is not V2


@pytest.mark.skipif(not FOLDER.is_dir(), reason="Triton is missing: make triton")
def test_both_runners_give_the_same_tokens(tiny_checkpoint: Path) -> None:
    """Each in a process of its own, since one process can have one of them only."""
    tokens = {}
    for runner in ("V1", "V2"):
        command = [sys.executable, "-m", __name__, str(tiny_checkpoint)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment_of(runner), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        used, tokens[runner] = json.loads(done.stdout.rpartition(ANSWER)[2].partition("\n")[0])
        assert used == runner
    assert tokens["V1"] == tokens["V2"]


def _main(checkpoint: Path) -> None:
    with start_small_engine(checkpoint) as engine:
        tokens = [list(output.outputs[0].token_ids) for output in engine.run(JOBS)]
        used = "V2" if engine.llm.llm_engine.vllm_config.use_v2_model_runner else "V1"
    print(ANSWER + json.dumps([used, tokens]))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""Python looks for garbage rarely while the processes of a starting server import vLLM, and then as usual."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from cc_serve.process.progress import StartProgress


@pytest.mark.parametrize("starting", [True, False])
def test_garbage_is_collected_rarely_while_a_starting_servers_processes_import(starting: bool) -> None:
    program = (
        "import gc; usual = gc.get_threshold(); import cc_serve.commands.main; rarely = gc.get_threshold();"
        "cc_serve.process.garbage.collect_as_usual(); print(rarely[0] > usual[0], gc.get_threshold() == usual)"
    )
    command = [sys.executable, "-c", program]
    if starting:
        with StartProgress(io.StringIO()):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    else:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(starting), "True"]

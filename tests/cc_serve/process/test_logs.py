"""What is logged by default and with ``-v``, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, sys, warnings
from cc_serve.process.logs import quieten_libraries, set_up_logs
set_up_logs(verbose={verbose}); quieten_libraries()
logging.getLogger("cc_serve.api.endpoints.admin").info("reloaded")
logging.getLogger("torch._library.triton").warning("no triton")
warnings.warn("soon gone", FutureWarning)
print(os.environ.get("VLLM_LOGGING_LEVEL"))
"""


@pytest.mark.parametrize(
    ("verbose", "given", "level", "noise"),
    [(False, None, "ERROR", False), (True, None, "None", True), (False, "INFO", "INFO", True)],
)
def test_levels(verbose: bool, given: str | None, level: str, noise: bool) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("VLLM_LOGGING", "PYTHONW"))
    }
    environment |= {"VLLM_LOGGING_LEVEL": given} if given else {}
    command = [sys.executable, "-c", PROGRAM.format(verbose=verbose)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == level
    assert "INFO reloaded" in done.stderr, "the server's own lines are always there"
    assert ("no triton" in done.stderr) == noise
    assert ("soon gone" in done.stderr) == verbose

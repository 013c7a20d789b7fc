"""The server's log: its own lines, and only errors of libraries unless the server is verbose."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Final

#: Flags that show everything that vLLM logs.
VERBOSE: Final = ("-v", "--verbose")
# Silences vLLM and torch about what an operator cannot change. The engine's processes inherit the variables.
_QUIET: Final = {"VLLM_LOGGING_LEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
# This logger warns that Triton is missing, which a CPU does not need.
_NEEDLESS: Final = "torch._library.triton"


def quieten_libraries() -> None:
    """Silence the messages that no variable silences, unless the server is verbose. Call it in each process."""
    if os.environ.get("VLLM_LOGGING_LEVEL") == _QUIET["VLLM_LOGGING_LEVEL"]:
        logging.getLogger(_NEEDLESS).setLevel(logging.ERROR)


def set_up_logs(verbose: bool) -> None:
    """Log this server's own lines, and vLLM's errors only, unless ``verbose`` or the environment asks for more.

    Call it before vLLM is imported, which reads its level then.
    """
    if not verbose:
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
    logger = logging.getLogger("cc_serve")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("cc-serve: %(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False

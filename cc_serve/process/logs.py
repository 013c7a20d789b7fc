"""The server's log: its own lines, and of libraries only errors, unless it is verbose."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Final

#: Flags that show everything that vLLM logs.
VERBOSE: Final = ("-v", "--verbose")
# Silences what vLLM and torch say about things that a reader cannot change. The engine's processes inherit it.
_QUIET: Final = {"VLLM_LOGGING_LEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
# Warns that there is no Triton, which a CPU does not need.
_NEEDLESS: Final = "torch._library.triton"


def quieten_libraries() -> None:
    """Silence messages that no variable silences, unless the server is verbose. Call it in each process."""
    if os.environ.get("VLLM_LOGGING_LEVEL") == _QUIET["VLLM_LOGGING_LEVEL"]:
        logging.getLogger(_NEEDLESS).setLevel(logging.ERROR)


def set_up_logs(verbose: bool) -> None:
    """Show this server's own lines, and only errors of vLLM's, unless ``verbose`` or the environment asks for more.

    Call it before vLLM is imported: vLLM reads its level then.
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

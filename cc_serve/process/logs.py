"""What the server writes besides its answers: little, unless it is asked for more."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Final

#: Flags that show everything that vLLM logs.
VERBOSE: Final = ("-v", "--verbose")
# What vLLM and torch would say of things that a reader can do nothing about; the engine's processes inherit it.
_QUIET: Final = {"VLLM_LOGGING_LEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}


# It warns that there is no Triton, which a CPU has no use for.
_NEEDLESS: Final = "torch._library.triton"


def quieten_libraries() -> None:
    """In each process that is not to be verbose: what libraries log that no environment variable stops."""
    if os.environ.get("VLLM_LOGGING_LEVEL") == _QUIET["VLLM_LOGGING_LEVEL"]:
        logging.getLogger(_NEEDLESS).setLevel(logging.ERROR)


def set_up_logs(verbose: bool) -> None:
    """Of vLLM's logs show errors only, unless ``verbose`` or the environment says otherwise; and this server's own.

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

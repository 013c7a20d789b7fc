"""Which of vLLM's two model runners the environment asks for. If it asks for none, vLLM chooses."""

from __future__ import annotations

import os
from typing import Final

RUNNER: Final = "VLLM_USE_V2_MODEL_RUNNER"
_NAMES: Final = {"0": "V1", "1": "V2"}


def asked_runner() -> str | None:
    """The model runner that the environment asks for, ``V1`` or ``V2``; None if it asks for none.

    Raises:
        ValueError: the variable has another value.
    """
    setting = os.environ.get(RUNNER)
    if setting is None:
        return None
    if setting not in _NAMES:
        raise ValueError(f"{RUNNER}={setting!r} is no model runner: unset it, or set it to 0 for V1 or 1 for V2")
    return _NAMES[setting]

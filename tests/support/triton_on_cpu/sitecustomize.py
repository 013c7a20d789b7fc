"""Lets vLLM's V2 model runner run on CPUs, for tests: its Triton kernels run in Triton's interpreter.

Python imports this file when it starts, if the folder is on ``PYTHONPATH``. The conftest of the engine's tests puts it
there, so that the engine's other processes have it too. Triton itself stands in a folder of its own, apart from
``.venv``, since other packages behave differently where they find it. ``make triton`` fetches it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / ".tools" / "triton"


class _Driver:
    """vLLM, torch and Triton ask it which device there is."""

    @staticmethod
    def is_active() -> bool:
        return True

    def get_current_target(self) -> type[_Target]:
        return _Target

    def get_current_device(self) -> int:
        return 0


class _Target:
    backend, arch, warp_size = "cpu", 0, 1


class _Compiler:
    """Never compiles; torch's compiler asks for its hash."""

    def __init__(self, target: object) -> None:
        pass

    @staticmethod
    def supports_target(target: Any) -> bool:
        return bool(target.backend == "cpu")

    def hash(self) -> str:
        return "interpreter"


class _Backend:
    compiler, driver = _Compiler, _Driver


def install() -> None:
    """Make Triton importable, with a CPU as its only backend.

    Raises:
        FileNotFoundError: it has not been fetched.
    """
    if not (FOLDER / "triton").is_dir():
        raise FileNotFoundError("Triton, which tests of the V2 model runner need, is missing: make triton")
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
    sys.path.append(str(FOLDER))
    from triton.backends import backends

    backends.clear()
    backends["cpu"] = _Backend
    _hasten_at_first_call()


def _hasten_at_first_call() -> None:
    # Triton's language is not complete before the interpreter's module is.
    import triton.runtime.interpreter as interpreter

    call = interpreter.GridExecutor.__call__

    def first_call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        interpreter.GridExecutor.__call__ = call
        _hasten(interpreter)
        return call(executor, *args, **kwargs)

    interpreter.GridExecutor.__call__ = first_call


def _hasten(interpreter: Any) -> None:
    """Make the interpreter several times faster; what the kernels compute stays the same."""
    import numpy as np
    import triton.language as tl

    # For each call of each jitted function Triton searches its language for functions to replace, and puts them back
    # afterwards. Nothing else uses them here: they are replaced once.
    patch, patched = interpreter._patch_lang, set()

    def patch_once(function: Any) -> Any:
        languages = frozenset(id(value) for value in function.__globals__.values() if value is tl or value is tl.core)
        if languages not in patched:
            patched.add(languages)
            patch(function)
        return interpreter._LangPatchScope()

    def multiply_high(a: Any, b: Any) -> Any:
        """The upper 64 bits of products of 64 bits; Triton loops over Python's integers."""
        a, b = np.asarray(a, dtype=np.uint64), np.asarray(b, dtype=np.uint64)
        mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
        a_low, a_high, b_low, b_high = a & mask, a >> half, b & mask, b >> half
        middle = a_high * b_low + (a_low * b_low >> half)
        return a_high * b_high + (middle >> half) + ((middle & mask) + a_low * b_high >> half)

    interpreter._patch_lang = patch_once
    interpreter.np_umulhi_u64 = multiply_high


if __name__ == "sitecustomize":
    install()

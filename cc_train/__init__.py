"""CC-Tuning: the method, training, fitting of Transform Matrices, and the reference inference.

What a program needs is here; it is loaded when it is first used, so that ``import cc_train`` costs nothing.

>>> from cc_train import load_connection, train
>>> result = train(model="models/gemma3-270m", data="PAIRS.jsonl", output="outputs/mine", max_steps=100)
>>> connection, config = load_connection(result.directory)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cc_core.checkpoint import load_connection as load_connection
    from cc_core.checkpoint import save_connection as save_connection
    from cc_core.connection import Connection as Connection
    from cc_train.model.base_models import make_base as make_base
    from cc_train.model.reference import Reference as Reference
    from cc_train.training.run import RunResult as RunResult
    from cc_train.training.train import train as train

_MODULES = {
    "Connection": "cc_core.connection",
    "Reference": "cc_train.model.reference",
    "RunResult": "cc_train.training.run",
    "load_connection": "cc_core.checkpoint",
    "make_base": "cc_train.model.base_models",
    "save_connection": "cc_core.checkpoint",
    "train": "cc_train.training.train",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)

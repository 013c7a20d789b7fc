"""How often Python collects garbage during a start.

Importing vLLM makes millions of objects and hardly any garbage: collecting it takes a tenth of the time or more.
"""

from __future__ import annotations

import gc
from typing import Final

_USUAL_THRESHOLDS: Final = gc.get_threshold()
_IMPORT_THRESHOLDS: Final = (100_000, 50, 100)


def collect_rarely() -> None:
    """Collect garbage rarely, until `collect_as_usual`."""
    gc.set_threshold(*_IMPORT_THRESHOLDS)


def collect_as_usual() -> None:
    """Collect garbage as often as Python does by default."""
    gc.set_threshold(*_USUAL_THRESHOLDS)

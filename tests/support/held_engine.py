"""An engine's client whose only worker holds connections and runs no steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cc_core.checkpoint import load_connection
from cc_serve.engine.connections import HeldConnections


class HeldEngine:
    """What `Exchange` calls of vLLM's client.

    Args:
        checkpoint: whose connection it serves at first.
    """

    def __init__(self, checkpoint: Path) -> None:
        connection, entry = load_connection(checkpoint)
        self.held = HeldConnections(entry.sha256, connection, torch.device("cpu"))
        #: The digest of a connection for which the device has no room.
        self.refused = ""

    async def is_sleeping(self) -> bool:
        return False

    async def collective_rpc(self, method: str, args: tuple[str, ...]) -> list[Any]:
        if method == "load_connection":
            self.held.begin_loading(Path(args[0]), args[1])
            return [None]
        if method == "serve_connection" and args[0] == self.refused:
            raise RuntimeError("no room")
        return [getattr(self.held, {"connection_problem": "problem"}.get(method, method.split("_")[0]))(*args)]

"""What a start is doing, phase by phase, told by whichever process is in it and shown by the one at the terminal."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TextIO

# Names a file to which every process of the server appends its phases; inherited by the engine's.
_VARIABLE: Final = "CC_SERVE_START_PHASES"
_POLL_SECONDS: Final = 0.1

CHECKPOINT: Final = "checking the checkpoint"
IMPORT: Final = "importing vLLM"
ENGINE: Final = "starting the engine's process"
WEIGHTS: Final = "loading the weights"
COMPILE: Final = "compiling, or reading what an earlier start compiled"
WARM_UP: Final = "warming up"
GRAPHS: Final = "capturing CUDA graphs"
CACHE: Final = "making room for the KV cache"
API: Final = "opening the API"


_USUAL_THRESHOLDS: Final = gc.get_threshold()
# Importing vLLM makes millions of objects and hardly any garbage: looking for it takes a tenth of the time and more.
_IMPORT_THRESHOLDS: Final = (100_000, 50, 100)


def collect_rarely() -> None:
    """Look for garbage rarely, until `collect_as_usual`."""
    gc.set_threshold(*_IMPORT_THRESHOLDS)


def in_a_start() -> bool:
    """Whether this is a process of a server that is being started."""
    return _VARIABLE in os.environ


def collect_as_usual() -> None:
    """Look for garbage as Python does by itself."""
    gc.set_threshold(*_USUAL_THRESHOLDS)


def enter_phase(name: str) -> None:
    """Say what this process does from now on. Nothing happens where nobody watches, as under stock vLLM."""
    if path := os.environ.get(_VARIABLE):
        with suppress(OSError):  # the start is over, and the file gone
            file = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, f"{time.monotonic()} {name}\n".encode())
            finally:
                os.close(file)


@dataclass(frozen=True)
class Phase:
    """A phase that is over.

    Args:
        name: one of this module's constants.
        seconds: how long it took.
    """

    name: str
    seconds: float


class StartProgress:
    """Shows the phases with the seconds since the start: a line each, and on a terminal the seconds as they pass.

    Use it as a context manager around the start. Several engines go through the same phases beside each other; a
    phase counts from the first to enter it.

    Args:
        stream: where to show them; by default standard error.
        live: whether to rewrite the last line as time passes; by default on a terminal.
    """

    def __init__(self, stream: TextIO | None = None, live: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._begin = time.monotonic()
        self._phases: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        handle, name = tempfile.mkstemp(prefix="cc-serve-start-")
        os.close(handle)
        self._path = Path(name)
        os.environ[_VARIABLE] = name
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begin

    def finish(self) -> list[Phase]:
        """Show nothing more, and give the phases in their order."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            os.environ.pop(_VARIABLE, None)
            self._path.unlink(missing_ok=True)
            self._end = time.monotonic()
        begins = list(self._phases.values())
        ends = [*begins[1:], self._end]
        return [Phase(name, end - begin) for name, begin, end in zip(self._phases, begins, ends, strict=False)]

    def _watch(self) -> None:
        over, read = False, 0
        while not over:
            over = self._over.wait(_POLL_SECONDS)
            lines = self._path.read_text("utf-8").splitlines()
            for line in lines[read:]:
                self._enter(line)
            read = len(lines)
            if self._live and self._phases and not over:
                # The cursor stays at the line's beginning, so that an error that is printed meanwhile is readable.
                self._show(list(self._phases)[-1], self.seconds, end="\r")
        if self._live and self._phases:
            self._stream.write("\n")

    def _enter(self, line: str) -> None:
        moment, name = line.split(" ", 1)
        if name in self._phases:
            return
        if self._live and self._phases:
            self._stream.write("\n")
        self._phases[name] = float(moment)
        self._show(name, float(moment) - self._begin, end="\r" if self._live else "\n")

    def _show(self, name: str, seconds: float, end: str) -> None:
        self._stream.write(f"cc-serve: {seconds:4.0f} s  {name}{end}")
        self._stream.flush()


def ready_message(
    address: str, model: str, connected: Mapping[str, str], phases: list[Phase], *, playground: bool
) -> str:
    """What a person wants to know of a server that has just become ready.

    Args:
        address: that it listens on.
        model: what clients call it.
        connected: the connection by language, for the languages that are connected.
        phases: of the start.
        playground: whether there is one.
    """
    total = sum(phase.seconds for phase in phases)
    slowest = [f"{p.name} ({p.seconds:.0f} s)" for p in sorted(phases, key=lambda phase: -phase.seconds)[:3]]
    by_connection: dict[str, list[str]] = {}
    for language, connection in sorted(connected.items()):
        by_connection.setdefault(connection, []).append(language)
    # What a server listens on is no address to open: some systems refuse it, and browsers keep its pages from the
    # clipboard.
    here = address.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    everywhere = "" if here == address else " (and this machine's other addresses)"
    connections = [f"{name} for {' '.join(languages)}" for name, languages in by_connection.items()]
    return "\n".join(
        [
            f"cc-serve: ready after {total:.0f} s, most of them {', '.join(slowest)}",
            f"  address      {here}/v1{everywhere}",
            *([f"  playground   {here}/playground"] if playground else []),
            f"  model        {model}",
            f"  connections  {'; '.join(connections) or 'none'}",
            "  plain        en, and prompts whose language cannot be told",
        ]
    )

"""What the terminal shows of a start: its phases as they begin, and a message when the server is ready."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TextIO

from cc_serve.process.phases import PHASES_FILE

_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Phase:
    """A phase that is over.

    Args:
        name: one of the constants of `cc_serve.process.phases`.
        seconds: how long it took.
    """

    name: str
    seconds: float


class StartProgress:
    """Shows each phase on a line of its own, with the seconds since the start.

    Use it as a context manager around the start. Several engines may go through the same phases side by side; a phase
    begins when the first engine enters it.

    Args:
        stream: where to write the lines; standard error by default.
        live: whether to rewrite the last line as seconds pass; by default only on a terminal.
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
        os.environ[PHASES_FILE] = name
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begin

    def finish(self) -> list[Phase]:
        """Stop showing phases, and return them in order. Calling it again returns the same."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            os.environ.pop(PHASES_FILE, None)
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
                # The cursor stays at the beginning of the line, so that an error printed meanwhile overwrites it.
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
    address: str,
    model: str,
    connected: Mapping[str, str],
    phases: list[Phase],
    *,
    playground: bool,
    harmed: Collection[str] = (),
) -> str:
    """The message for a person when the server is ready.

    Args:
        address: the URL that the server listens on.
        model: the name that clients use for the model.
        connected: the connection of each connected language.
        phases: the phases of the start.
        playground: whether the server has the playground.
        harmed: the languages that are answered plain because the connection was shown to harm them.
    """
    total = sum(phase.seconds for phase in phases)
    slowest = [f"{p.name} ({p.seconds:.0f} s)" for p in sorted(phases, key=lambda phase: -phase.seconds)[:3]]
    by_connection: dict[str, list[str]] = {}
    for language, connection in sorted(connected.items()):
        by_connection.setdefault(connection, []).append(language)
    # 0.0.0.0 is for listening, not for opening: some systems refuse it, and browsers deny its pages the clipboard.
    here = address.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    everywhere = "" if here == address else " (and this machine's other addresses)"
    connections = [f"{name} for {' '.join(languages)}" for name, languages in by_connection.items()]
    return "\n".join(
        [
            f"cc-serve: ready after {total:.0f} s; the longest phases: {', '.join(slowest)}",
            f"  address      {here}/v1{everywhere}",
            *([f"  playground   {here}/playground"] if playground else []),
            f"  model        {model}",
            f"  connections  {'; '.join(connections) or 'none'}",
            "  plain        en, and prompts whose language is undecided",
            *([f"  harmed       {' '.join(sorted(harmed))}: plain, since held-out pairs show harm"] if harmed else []),
        ]
    )

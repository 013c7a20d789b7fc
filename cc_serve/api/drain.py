"""Counts running requests, so that a stop cuts nobody off."""

from __future__ import annotations

import threading
from typing import Final

from cc_serve.api.stall import PatientSend

RETRY_AFTER_SECONDS: Final = 5
#: How many seconds a client has for the end of its answer when a stop has waited long enough.
LAST_SECONDS: Final = 1.0


class Drain:
    """Counts running requests, so that a stop can wait for them. Shared by the event loop and the stopping thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._stopping = False
        #: The responses that a stop may have to give up on; only the event loop's thread uses them.
        self.sending: set[PatientSend] = set()

    @property
    def stopping(self) -> bool:
        return self._stopping

    def enter(self) -> bool:
        """Count one more running request, unless the server is stopping. Returns whether it was counted."""
        with self._changed:
            if not self._stopping:
                self._running += 1
            return not self._stopping

    def leave(self) -> None:
        """Count one running request less."""
        with self._changed:
            self._running -= 1
            if self._stopping:
                self._changed.notify_all()

    def hurry(self) -> None:
        """Give up on clients that do not read the rest of their answer; call it from the event loop's thread."""
        for send in tuple(self.sending):
            send.hurry(LAST_SECONDS)

    def stop(self, timeout: float | None) -> bool:
        """Admit no more requests, and wait until none runs. Returns False if some run after ``timeout`` seconds."""
        with self._changed:
            self._stopping = True
            return self._changed.wait_for(lambda: self._running == 0, timeout)

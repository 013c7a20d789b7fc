"""Tiny models run on one thread here."""

from tests.support.threads import one_thread as one_thread

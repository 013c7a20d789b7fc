"""Counts the languages of questions and of their answers, for a sample of the requests.

So that no client waits for the detection, a thread does it when the response is over. Answers for which it has no time
are dropped and counted. An answer's text is kept until then, and nowhere else.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Final

from cc_core.language.answer import answer_language
from cc_core.language.detector import SERVED_LANGUAGES
from cc_serve.api.telemetry.metrics import count_answer, count_dropped_answer
from cc_serve.api.telemetry.record import UNDETERMINED, RequestRecord

#: The label of all languages that the detector knows, but the server does not serve.
OTHER: Final = "other"
#: How many answers may wait for the thread.
WAITING: Final = 64
# How many lines of an answer are read. The thread shares Python's lock with the event loop.
_MOST_LINES: Final = 8

_thread: Final = ThreadPoolExecutor(1, "answer-language")
_places: Final = BoundedSemaphore(WAITING)


def note_answer_language(record: RequestRecord) -> None:
    """Have the thread count the languages of a request that is over, if its answer was sampled and is complete."""
    if record.sample is None or not record.sample.text or record.outcome != "ok":
        return
    if _places.acquire(blocking=False):
        _thread.submit(_count, record)
    else:
        count_dropped_answer()


def _count(record: RequestRecord) -> None:
    try:
        assert record.sample is not None
        count_answer(record, label(answer_language(record.sample.text, _MOST_LINES)))
    finally:
        _places.release()


def label(language: str | None) -> str:
    """The metrics' label for an answer's ``language``. There are few labels, whatever a model writes."""
    if language is None:
        return UNDETERMINED
    return language if language in SERVED_LANGUAGES else OTHER

"""What the connection did, in the answers to clients that ask for it with ``"cc_details": true``.

In a streamed answer, the details are in the event that has the usage. If the client asks for no usage, they are in an
event of their own before the last one. They must not come after the usage, which clients take from the last event.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from cc_serve.api.middleware.held_answer import HeldAnswer
from cc_serve.api.telemetry.record import RequestRecord
from cc_serve.payloads import ANSWER_FIELD

# At the start of a line: within an event, JSON has no line breaks.
_LAST_EVENT: Final = re.compile(rb"^data: \[DONE\]", re.MULTILINE)
_USAGE_EVENT: Final = re.compile(rb'^data: (\{.*"choices":\[\].*"usage":\{.*\})$', re.MULTILINE)
_OF_EVERY_EVENT: Final = ("id", "object", "created", "model")


def describe(record: RequestRecord) -> dict[str, Any]:
    """The details of a request whose answer is complete; ``prompts`` has what the engine reports of each."""
    connection = record.route.connection if record.route else None
    held_out = {} if record.holdout is None else {"holdout": record.holdout}
    return {"language": record.language, "connection": connection, **held_out, "prompts": record.connections}


def with_details(send: Send, record: RequestRecord) -> Send:
    """Add the details to a successful answer, streamed or not; anything else that is sent passes unchanged."""
    held: HeldAnswer | None = None
    streamed = False
    common: dict[str, Any] | None = None
    told = False

    async def detailing(message: Message) -> None:
        nonlocal held, streamed, common, told
        if message["type"] == "http.response.start":
            kind = MutableHeaders(scope=message).get("content-type", "")
            streamed = kind.startswith("text/event-stream")
            if message["status"] == 200 and kind.startswith("application/json"):
                held = HeldAnswer(message, lambda body: _with_field(body, record))
            else:
                await send(message)
        elif held is not None:
            await held.add(message, send)
        elif streamed:
            chunk = message.get("body", b"")
            common = common or _first_event(chunk)
            if usage := _USAGE_EVENT.search(chunk):
                event = {**json.loads(usage[1]), ANSWER_FIELD: describe(record)}
                chunk = chunk[: usage.start(1)] + json.dumps(event).encode() + chunk[usage.end(1) :]
                told = True
            elif common and not told and (last := _LAST_EVENT.search(chunk)):
                event = {**common, "choices": [], ANSWER_FIELD: describe(record)}
                before, after = chunk[: last.start()], chunk[last.start() :]
                chunk = b"%sdata: %s\n\n%s" % (before, json.dumps(event).encode(), after)
            await send({**message, "body": chunk})
        else:
            await send(message)

    return detailing


def _with_field(body: bytes, record: RequestRecord) -> bytes:
    return json.dumps({**json.loads(body), ANSWER_FIELD: describe(record)}).encode()


def _first_event(chunk: bytes) -> dict[str, Any] | None:
    """The fields that all events of a stream share, from its first event; None for an event of another kind."""
    data = chunk.partition(b"data: ")[2].partition(b"\n")[0]
    try:
        event = json.loads(data)
        return {field: event[field] for field in _OF_EVERY_EVENT}
    except (ValueError, KeyError, TypeError):
        return None

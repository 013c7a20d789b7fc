"""What both soaks send, and what they read from servers: `loadtests.soak` from one, `loadtests.fleet_soak` from two."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Any, Final

import aiohttp
import psutil

from tests.support.server import MODEL

TEXTS: Final = (
    "Where is the train station, please?",
    "Wo ist der Bahnhof, bitte?",
    "Comment allez-vous aujourd'hui ?",
    "Kituo cha treni kiko wapi?",
    "Где ближайший вокзал?",
    "一番近い駅はどこですか。",
    "123",
    "",
)
# A small KV cache, which is soon full: memory grows while its pages are used for the first time, and that is no leak.
FLAGS: Final = ("--disable-uvicorn-access-log", "--num-gpu-blocks-override", "64")
CHAT: Final = "/v1/chat/completions"
SETTLE_SECONDS: Final = 5.0

_WRONG: Final[tuple[dict[str, Any], ...]] = (
    {"temperature": -1},
    {"cc_connection": "xx"},
    {"model": "other"},
    {"messages": [{"role": "user", "content": "a" * 2000}]},
    {"vllm_xargs": {"cc_connection": "de"}},
    {"messages": 5},
)
#: The statuses with which wrong requests are refused.
WRONG_STATUSES: Final = (400, 404)


class Kind(StrEnum):
    """For a whole answer, for a stream, for a stream that its client leaves, and wrong."""

    WHOLE = "whole"
    STREAM = "stream"
    LEAVE = "leave"
    WRONG = "wrong"


def body_of(kind: Kind, random: Random) -> dict[str, Any]:
    """The body of a chat request."""
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{random.choice(TEXTS)} {random.randrange(1000)}"}],
        "max_tokens": random.randrange(1, 60),
        "ignore_eos": True,
    }
    if kind in (Kind.STREAM, Kind.LEAVE):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if kind == Kind.LEAVE:
        body["max_tokens"] = 400
    if kind == Kind.WRONG:
        body |= random.choice(_WRONG)
    return body


def open_session() -> aiohttp.ClientSession:
    """A session with a new connection for each request: one on a kept connection is lost if the server closes it."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120), connector=connector)


def memory(process: psutil.Process) -> int:
    """Bytes that the server's processes have for themselves."""
    return sum(each.memory_full_info().uss for each in (process, *process.children(recursive=True)))


async def metrics(session: aiohttp.ClientSession, address: str) -> dict[str, float]:
    """The value of every sample of ``/metrics``, by its name and labels."""
    async with session.get(address + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#") if name
    }


def outcomes(samples: Mapping[str, float]) -> Counter[str]:
    """How many requests had each outcome, by a server's `metrics`."""
    found: Counter[str] = Counter()
    for name, value in samples.items():
        if match := re.match(r'cc:requests_total\{.*outcome="(\w+)"', name):
            found[match[1]] += int(value)
    return found


def stuck(samples: Mapping[str, float]) -> int:
    """How many requests run or wait in the engine, by a server's `metrics`."""
    return int(sum(v for name, v in samples.items() if re.match(r"vllm:num_requests_(running|waiting)\{", name)))

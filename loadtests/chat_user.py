"""A chat user for locust: it asks, reads the streamed answer, checks where it was routed, and thinks.

Locust has a row for the requests of each language. Each answer adds to three more: time to first token, time between
tokens, and tokens a second, for its language and connection and for all answers together. The size of a response is its
number of tokens, as in locust's client for the OpenAI API.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import gevent
import gevent.pool
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import FastHttpUser, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.env import Environment
from locust.exception import StopTest

from loadtests.questions import Conversation, Traffic, packaged_questions
from loadtests.streaming import Answer, read_answer

CHAT: Final = "/v1/chat/completions"
FIRST_TOKEN: Final = "first token, ms"
BETWEEN_TOKENS: Final = "between tokens, ms"
TOKENS_PER_SECOND: Final = "tokens/s"
ALL: Final = "all"
#: How the failure of a misrouted answer begins, and the failure of a request that the server's limits refused.
MISROUTED: Final = "routed as"
REFUSED: Final = "refused with"
_REFUSALS: Final = (429, 503)
_OPEN_LOOP_CONNECTIONS: Final = 4096


@dataclass(frozen=True)
class Served:
    """The model that a server serves, and the connection of each language."""

    model: str
    connections: dict[str, str]


class ChatUser(FastHttpUser):
    """One user. Class attributes say what all users do; `loadtests/locustfile.py` sets them from the command line.

    In a closed loop, a user holds one conversation after the other, and thinks before each question. In an open loop
    (``arrivals_per_second``), conversations begin at random times, however long answers take, so that a slow server
    gets as many of them. Several users together are one stream with the sum of their rates.
    """

    abstract = True
    traffic: ClassVar[Traffic]
    api_key: ClassVar[str] = ""
    think_seconds: ClassVar[float] = 0.0
    arrivals_per_second: ClassVar[float | None] = None
    seed: ClassVar[int | None] = None
    concurrency = _OPEN_LOOP_CONNECTIONS
    network_timeout = 300.0
    numbers: ClassVar[Iterator[int]] = itertools.count()
    begun: ClassVar[int] = 0
    _questions: ClassVar = packaged_questions()
    _served: ClassVar[dict[str | None, Served]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        number = next(self.numbers)
        self._chance = random.Random(None if self.seed is None else self.seed + number)
        self._running = gevent.pool.Group()
        self._headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def on_start(self) -> None:
        """Ask the server what it serves; the first user does so for all."""
        if self.host not in self._served:
            try:
                model = self._get("/v1/models")["data"][0]["id"]
                languages = self._get("/v1/languages")["data"]
            except (LookupError, TypeError, ValueError) as error:
                raise StopTest(f"{self.host} is no cc-serve that is ready: {error!r}") from error
            connections = {entry["language"]: entry["connection"] for entry in languages}
            self._served[self.host] = Served(model, connections)
        self.served = self._served[self.host]

    def on_stop(self) -> None:
        """Abandon the conversations that an open loop has begun."""
        self._running.kill()

    def wait_time(self) -> float:
        """Seconds until the next conversation begins. In a closed loop, thinking is part of the conversation."""
        if self.arrivals_per_second is None:
            return 0.0
        return self._chance.expovariate(self.arrivals_per_second)

    @task
    def talk(self) -> None:
        """Hold a conversation to its end; in an open loop, only begin one."""
        conversation = self.traffic.conversation(self._questions, self.served.model, self._chance)
        if self.arrivals_per_second is None:
            self._hold(conversation)
        else:
            type(self).begun += 1
            self._running.start(gevent.Greenlet(self._hold, conversation))

    def _hold(self, conversation: Conversation) -> None:
        first = self.arrivals_per_second is not None
        while (body := conversation.next_request()) is not None:
            if self.think_seconds and not first:
                gevent.sleep(self._chance.expovariate(1 / self.think_seconds))
            first = False
            answer = self._ask(body, conversation.language)
            if answer.failure:
                break
            conversation.answered(answer.text)

    def _ask(self, body: dict[str, Any], language: str) -> Answer:
        sent = time.perf_counter()
        context: dict[str, Any] = {}
        with self.client.post(
            CHAT,
            json=body,
            name=f"{CHAT} {language}",
            headers=self._headers,
            stream=True,
            catch_response=True,
            context=context,
        ) as response:
            answer = self._read(response, sent) if response.status_code == 200 else Answer(failure=_refusal(response))
            connection = _header(response, "X-CC-Connection")
            if answer.failure is None:
                held_out = _header(response, "X-CC-Holdout") == "plain"
                answer.failure = self._misrouting(language, _header(response, "X-CC-Language"), connection, held_out)
            response.request_meta["response_time"] = 1000 * (time.perf_counter() - sent)
            response.request_meta["response_length"] = answer.tokens
            response.request_meta["context"]["answer"] = answer
            if answer.failure:
                response.failure(answer.failure)
            else:
                response.success()
                self._record(answer, f"{language} {connection}")
        return answer

    def _read(self, response: ResponseContextManager, sent: float) -> Answer:
        stream = response._response
        assert stream is not None
        lines = iter(lambda: stream.readline(b"\n"), b"")
        try:
            return read_answer(lines, sent)
        except (OSError, HTTPConnectionClosed, HTTPParseError) as error:
            return Answer(failure=f"the stream broke: {error}")

    def _misrouting(self, language: str, routed: str | None, connection: str | None, held_out: bool) -> str | None:
        asked = self.traffic.connection
        chosen = "off" if held_out else self.served.connections.get(language, "off")
        expected = chosen if asked == "auto" else asked
        if (routed, connection) == (language, expected):
            return None
        return f"{MISROUTED} {routed}, {connection}; expected {language}, {expected}"

    def _record(self, answer: Answer, name: str) -> None:
        # Directly, since locust's own function would count these in its total, which is of requests.
        entries = self.environment.stats.get
        for row in (name, ALL):
            if answer.first_token_seconds is not None:
                entries(row, FIRST_TOKEN).log(1000 * answer.first_token_seconds, answer.tokens)
            for gap in answer.gaps:
                entries(row, BETWEEN_TOKENS).log(1000 * gap, 0)
            if answer.tokens_per_second is not None:
                entries(row, TOKENS_PER_SECOND).log(answer.tokens_per_second, answer.tokens)

    def _get(self, path: str) -> Any:
        with self.client.get(path, headers=self._headers, name=path, catch_response=True) as response:
            return response.json()


def _header(response: ResponseContextManager, name: str) -> str | None:
    value = response.headers.get(name) if response.headers else None
    assert not isinstance(value, list), f"{name} came more than once"
    return value


def _refusal(response: ResponseContextManager) -> str:
    if response.status_code in _REFUSALS:
        return f"{REFUSED} {response.status_code}"
    return f"status {response.status_code}: {(response.text or '')[:200]}"

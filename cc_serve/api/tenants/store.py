"""The connection to the store that several servers share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError

from cc_core.terminal.text import one_line
from cc_serve.api.tenants.names import probe_key
from cc_serve.api.tenants.scripts import PROBE
from cc_serve.config import store as section

logger = logging.getLogger(__name__)

# How many calls go into one pipeline at most. Between two pipelines, the store serves others.
_BATCH: Final = 256
_PROBE_SECONDS: Final = 0.05, 1.0  # the first pause, and the longest
# How many different refusals of the store are logged.
_TOLD: Final = 20
# A timer that fires later than this shows that the event loop stood still.
_LATE_SECONDS: Final = 0.01
_CONSEQUENCES: Final = {"allow": "requests are let in without the limits of keys", "refuse": "requests are refused"}

Argument = str | int | float


class StoreError(Exception):
    """The store did not do what it was asked; the message says why."""


class LostError(StoreError):
    """The store may have done what it was asked: the answer did not come."""


class _Call(NamedTuple):
    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]
    answer: asyncio.Future[Any]


class Credentials(CredentialProvider):
    """User and password, read anew for each connection, so that a password may change.

    Args:
        store: the section that has them.
    """

    def __init__(self, store: section.Store) -> None:
        self._store = store

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The credentials for one connection; raises OSError if the password's file cannot be read."""
        user, password = self._store.username, self._store.password() or ""
        return (user, password) if user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same. The file is small, so that reading it does not hold up the event loop."""
        return self.get_credentials()


def make_client(store: section.Store) -> Redis:
    """redis-py's client. It connects when it is first used, and repeats nothing: `Store` decides what to repeat."""
    where: dict[str, Any] = {"unix_socket_path": store.socket} if store.socket else {}
    if store.tls:
        where = {
            "ssl": True,
            "ssl_ca_certs": store.ca_file and str(store.ca_file),
            "ssl_certfile": store.cert_file and str(store.cert_file),
            "ssl_keyfile": store.key_file and str(store.key_file),
        }
    secret = store.password_file is not None or store.password() is not None
    return Redis(
        host=store.host,
        port=store.port,
        db=store.database,
        credential_provider=Credentials(store) if secret else None,
        decode_responses=True,
        encoding_errors="backslashreplace",  # the names of foreign keys may be any bytes
        socket_timeout=None,  # whoever uses the client limits the time of all that it does
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        client_name="cc-serve",
        **where,
    )


class Store:
    """Runs scripts, one pipeline at a time. Calls that come while the store is busy go together, in order.

    While the store cannot be reached, every call fails at once, and a task tries until the store is back.

    Args:
        store: the section that names the store, and says what happens without it.
    """

    def __init__(self, store: section.Store) -> None:
        self.section = store
        #: Called when the store can be asked again.
        self.when_back: list[Callable[[], object]] = []
        self._address = store.address
        self._consequence = _CONSEQUENCES[store.on_error]
        # One connection of its own: the client's pool, retries and statistics cost more than the store itself.
        self._connection = make_client(store).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout = store.timeout_seconds
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        self._down: str | None = None
        self._told: set[str] = set()

    @property
    def is_lost(self) -> bool:
        """Whether the store cannot be reached now; `when_back` will be called."""
        return self._down is not None

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run ``script``, and return its result.

        Raises:
            StoreError: the store refused, or could not be asked.
            LostError: the connection broke; the store may have run the script.
        """
        if self._down is not None:
            raise StoreError(self._down)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, keys, arguments, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """Wait for the calls that are under way, and disconnect."""
        if self._worker is not None:
            await self._worker
        if self._probe is not None:
            self._probe.cancel()
        await self._connection.disconnect()

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            results: list[Any]
            if self._down is not None:
                results = [StoreError(self._down) for _ in calls]
            else:
                commands = [("EVAL", call.script, len(call.keys), *call.keys, *call.arguments) for call in calls]
                try:
                    results = await self._execute(commands)
                except Exception as error:  # of any kind: every call that waits needs an answer
                    self._lose(error)
                    results = [LostError(self._down) for _ in calls]
            for call, result in zip(calls, results, strict=True):
                self._answer(call, result)

    async def _execute(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """The answers to ``commands``, some of which may be a ResponseError.

        Raises:
            RedisError, OSError: the connection broke, or it leads to a replica; the next call makes a new one.
        """
        exchange = asyncio.create_task(self._exchange(commands))
        clock = asyncio.get_running_loop().time
        try:
            for _ in range(2):
                begin = clock()
                await asyncio.wait({exchange}, timeout=self._timeout)
                # If the timer fired late, the event loop stood still, and has not looked for the answer yet.
                if exchange.done() or clock() - begin < self._timeout + _LATE_SECONDS:
                    break
            if not exchange.done():
                raise OSError(f"no answer within {self._timeout:g} s")
            return exchange.result()
        except BaseException:
            exchange.cancel()
            await self._connection.disconnect(nowait=True)
            raise

    async def _exchange(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        connection = self._connection
        if connection.is_connected and await connection.can_read():  # the store has closed it
            await connection.disconnect(nowait=True)
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [await self._read() for _ in commands]

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            # A replica has answered. In Redis 6, READONLY is inside of a script's error. The next connection may lead
            # to the primary.
            if isinstance(error, ReadOnlyError | MasterDownError) or "READONLY" in str(error):
                raise
            return error

    def _answer(self, call: _Call, result: Any) -> None:
        if isinstance(result, RedisError):
            self._tell(result)
            result = StoreError(one_line(result))
        if call.answer.done():  # the caller has gone
            return
        if isinstance(result, StoreError):
            call.answer.set_exception(result)
        else:
            call.answer.set_result(result)

    def _lose(self, error: Exception) -> None:
        self._down = one_line(error)
        logger.error("limits.store at %s cannot be asked (%s): %s", self._address, self._down, self._consequence)
        self._probe = asyncio.create_task(self._look_for_it())

    def _tell(self, error: RedisError) -> None:
        # Each message once: a store that is full refuses every request.
        told = one_line(error)
        if told not in self._told and len(self._told) < _TOLD:
            self._told.add(told)
            logger.error("limits.store at %s refuses (%s): %s", self._address, told, self._consequence)

    async def _look_for_it(self) -> None:
        pause, longest = _PROBE_SECONDS
        while self._down is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            try:
                await self._execute([("EVAL", PROBE, 1, probe_key(self.section.prefix))])
            except Exception:
                continue
            self._down = None
        self._told.clear()
        logger.warning("limits.store at %s can be asked again: the limits of keys hold", self._address)
        for tell in self.when_back:
            tell()

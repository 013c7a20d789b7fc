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

# What goes into one pipeline at most; the store serves others between two of them.
_BATCH: Final = 256
_PROBE_SECONDS: Final = 0.05, 1.0  # the first pause, and the longest
_TOLD: Final = 20
# A timer that comes later than this shows that the event loop stood still.
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
    """User and password as they are when a connection is made, so that a password may change.

    Args:
        store: says where they are.
    """

    def __init__(self, store: section.Store) -> None:
        self._store = store

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """For one connection; raises OSError if the password's file cannot be read."""
        user, password = self._store.username, self._store.password() or ""
        return (user, password) if user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: a small file."""
        return self.get_credentials()


def make_client(store: section.Store) -> Redis:
    """redis-py's client, which connects when it is first used, and tries nothing twice: `Store` sees to that."""
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
        encoding_errors="backslashreplace",  # names of keys that are not ours may be any bytes
        socket_timeout=None,  # whoever uses the client bounds all that it does together
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        client_name="cc-serve",
        **where,
    )


class Store:
    """Runs scripts, one pipeline at a time: calls that come while the store is busy go together, in order.

    While the store cannot be reached, every call fails at once, and a task tries until the store is back.

    Args:
        store: where it is, and what happens without it.
    """

    def __init__(self, store: section.Store) -> None:
        self.section = store
        #: Called when it can be asked again.
        self.when_back: list[Callable[[], object]] = []
        self._address = store.address
        self._consequence = _CONSEQUENCES[store.on_error]
        # Its own connection: the client's pool, retries and statistics cost more than the store does.
        self._connection = make_client(store).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._timeout = store.timeout_seconds
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None
        self._down: str | None = None
        self._told: set[str] = set()

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be reached at the moment; `when_back` will be called."""
        return self._down is not None

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """What ``script`` returns.

        Raises:
            StoreError: it cannot be reached, or refuses.
            LostError: it cannot be reached any more.
        """
        if self._down is not None:
            raise StoreError(self._down)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, keys, arguments, answer))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """Ask no more."""
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
                except Exception as error:  # of whatever kind: those who wait have to be told
                    self._lose(error)
                    results = [LostError(self._down) for _ in calls]
            for call, result in zip(calls, results, strict=True):
                self._answer(call, result)

    async def _execute(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """The answers to ``commands``, of which some may be a ResponseError.

        Raises:
            RedisError, OSError: there is no connection any more, or it leads to a replica; the next call makes one.
        """
        exchange = asyncio.create_task(self._exchange(commands))
        clock = asyncio.get_running_loop().time
        try:
            for _ in range(2):
                begin = clock()
                await asyncio.wait({exchange}, timeout=self._timeout)
                # An event loop that stood still for so long has not looked for the answer.
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
        if connection.is_connected and await connection.can_read():  # it was closed on the other side
            await connection.disconnect(nowait=True)
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        return [await self._read() for _ in commands]

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            # A replica's; Redis 6 has READONLY within a script's error. The next connection may lead to the primary.
            if isinstance(error, ReadOnlyError | MasterDownError) or "READONLY" in str(error):
                raise
            return error

    def _answer(self, call: _Call, result: Any) -> None:
        if isinstance(result, RedisError):
            self._tell(result)
            result = StoreError(one_line(result))
        if call.answer.done():  # whoever asked has gone
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
        # Of the same key and kind once; a store that is full says it for each request.
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

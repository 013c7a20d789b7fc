"""Checks the store before the server starts."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, InvalidResponse, RedisError, ResponseError

from cc_core.terminal.text import one_line
from cc_serve.api.tenants.names import is_ours, kinds, probe_key
from cc_serve.api.tenants.periods import utc_now
from cc_serve.api.tenants.scripts import PROBE
from cc_serve.api.tenants.store import make_client
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.store import Store

logger = logging.getLogger(__name__)

# How many keys of a large store are searched for foreign ones. The keys that this server will use are always checked.
_LOOKED_AT: Final = 10_000
# How many times `timeout_seconds` the check may take: a machine's name may be slow to resolve, and keys may be many.
_PATIENCE: Final = 10
_REFUSED_LOGIN: Final = re.compile(r"WRONGPASS|NOAUTH|invalid password|invalid username|without any password|AUTH")


def check_store(store: Store | None, names: Iterable[str | None]) -> None:
    """Do with the store what a running server does with it.

    Args:
        store: the section of the configuration; None without a store.
        names: the names of the keys, and None for requests without a key.

    Raises:
        ConfigurationError: the store does not let this server do its work; or it cannot be reached, and the
            configuration refuses requests meanwhile. The message names the field.
    """
    if store is None:
        return
    _check_file("password_file", store.password_file, store.password)
    for field in ("ca_file", "cert_file", "key_file"):
        path: Path | None = getattr(store, field)
        _check_file(field, path, path.read_bytes if path else None)
    try:
        asyncio.run(_ask(store, list(names)))
    except (RedisError, OSError) as error:  # TimeoutError is one
        problem = f"limits.store.{explain(error, store)}"
        if not _is_absence(error) or store.on_error == "refuse":
            raise ConfigurationError(problem) from error
        logger.warning("%s: until it can be, requests are let in without the limits of keys", problem)


def explain(error: Exception, store: Store) -> str:
    """The field to correct and what is wrong with it, for a message."""
    message = one_line(error).rstrip(".")
    login = "password_file" if store.password_file is not None else "url"
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return f"{'ca_file' if store.ca_file else 'url'}: no TLS with {store.address} ({message})"
    if isinstance(error, AuthenticationError | AuthorizationError) or _REFUSED_LOGIN.search(message):
        return f"{login}: {store.address} does not accept user and password ({message})"
    if isinstance(error, InvalidResponse):
        return f"url: {store.address} is no Redis or Valkey ({message[:80]})"
    if isinstance(error, ResponseError):
        return f"url: {store.address} refuses what the limits need ({message})"
    if isinstance(error, TimeoutError):
        message = f"no answer within {_PATIENCE * store.timeout_seconds:g} s"
    return f"url: {store.address} cannot be reached ({message})"


async def _ask(store: Store, names: list[str | None]) -> None:
    client = make_client(store)
    try:
        async with asyncio.timeout(_PATIENCE * store.timeout_seconds):
            await client.ping()
            await _check_keys(client, store, names)
            await client.eval(PROBE, 1, probe_key(store.prefix))
    finally:
        await client.aclose()


async def _check_keys(client: Redis, store: Store, names: list[str | None]) -> None:
    now = utc_now()
    expected = {key: kind for name in names for key, kind in kinds(store.prefix, name, now).items()}
    async with client.pipeline(transaction=False) as asking:  # there may be thousands, on a store that is far away
        for key in expected:
            asking.type(key)
        found = zip(expected, await asking.execute(), strict=True)
    strange = [key for key, kind in found if kind not in ("none", expected[key])]
    cursor, seen = 0, 0
    while not strange and seen < _LOOKED_AT:
        cursor, keys = await client.scan(cursor, match=f"{store.prefix}:*", count=1000)
        strange += [str(key) for key in keys if not is_ours(str(key), store.prefix)]
        seen += 1000
        if cursor == 0:
            break
    if strange:
        raise ConfigurationError(
            f"limits.store.prefix: another program uses {store.prefix!r} at {store.address}: {strange[0][:80]!r} is no "
            "key of this server; choose another prefix"
        )


def _check_file(field: str, path: Path | None, read: Callable[[], object] | None) -> None:
    try:
        if path is not None and read is not None:
            read()
    except OSError as error:
        raise ConfigurationError(f"limits.store.{field}: {path} cannot be read ({error.strerror})") from error


def _is_absence(error: Exception) -> bool:
    """Whether the store is only out of reach, and may come back without a correction."""
    wrong = AuthenticationError | AuthorizationError | InvalidResponse | ResponseError | ssl.SSLError
    return not any(isinstance(cause, wrong) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

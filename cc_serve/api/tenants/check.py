"""What can be found wrong with the store before the server starts."""

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

# Of a large store only so many keys are looked at for strange ones; those that are going to be used always are.
_LOOKED_AT: Final = 10_000
# The names of machines may take their time, and there are many keys to look at.
_PATIENCE: Final = 10
_REFUSED_LOGIN: Final = re.compile(r"WRONGPASS|NOAUTH|invalid password|invalid username|without any password|AUTH")


def check_store(store: Store | None, names: Iterable[str | None]) -> None:
    """Ask the store once what a running server asks it all the time.

    Args:
        store: the section; None is no store.
        names: of the keys, and None for requests without one.

    Raises:
        ConfigurationError: it cannot be reached, and the configuration refuses requests without it; or it can, but it
            does not let this server do its work. The message names the field.
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
        logger.warning("%s: requests are let in without the limits of keys until it can be", problem)


def explain(error: Exception, store: Store) -> str:
    """The field to correct, and what is wrong."""
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
        return f"url: {store.address} does not do what limits need ({message})"
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
    async with client.pipeline(transaction=False) as asking:  # at once: there may be thousands, and a long way there
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
            f"limits.store.prefix: something else uses {store.prefix!r} at {store.address}: {strange[0][:80]!r} is not "
            "this server's; choose another prefix"
        )


def _check_file(field: str, path: Path | None, read: Callable[[], object] | None) -> None:
    try:
        if path is not None and read is not None:
            read()
    except OSError as error:
        raise ConfigurationError(f"limits.store.{field}: {path} cannot be read ({error.strerror})") from error


def _is_absence(error: Exception) -> bool:
    """Whether the store may come back by itself, so that nobody has to correct anything."""
    wrong = AuthenticationError | AuthorizationError | InvalidResponse | ResponseError | ssl.SSLError
    return not any(isinstance(cause, wrong) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""The usage of keys in the store that several servers share."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from redis.exceptions import RedisError

from cc_core.terminal.text import one_line
from cc_serve.api.tenants.names import batch_key, usage_key
from cc_serve.api.tenants.scripts import ADD_USAGE
from cc_serve.api.tenants.store import Argument, Store, StoreError, make_client
from cc_serve.api.tenants.usage import Amounts, Heading, Usage, UsageError

logger = logging.getLogger(__name__)

_DAY_SECONDS: Final = 86400
# How many seconds a report may take, and how many of its fields the store reads at once.
_PATIENCE: Final = 30.0
_BATCH: Final = 1000
_AMOUNTS: Final = ("requests", "prompt_tokens", "answer_tokens")
_PARTS: Final = 4  # of a field's name
_DIGITS: Final = 19  # of the largest number that the store adds up


class UsageInStore:
    """An archive: a hash for each day, with a field for each number.

    A field's name has the key, the language and the connection in it, none of which can have a ``|``.

    Args:
        store: the connection.
        keep_days: how long a day is kept after its last request.
    """

    def __init__(self, store: Store, keep_days: int) -> None:
        self._store = store
        self._prefix = store.section.prefix
        self._keep_days = keep_days

    async def add(self, batch: str, usage: Usage) -> None:
        """See `Archive`."""
        days = sorted({heading.day for heading in usage})
        keys = [batch_key(self._prefix, batch), *(usage_key(self._prefix, day) for day in days)]
        arguments: list[Argument] = [self._keep_days * _DAY_SECONDS]
        for heading, amounts in usage.items():
            place = 2 + days.index(heading.day)
            field = f"{heading.key or ''}|{heading.language}|{heading.connection}"
            for name in _AMOUNTS:
                arguments += (place, f"{field}|{name}", getattr(amounts, name))
        try:
            lost = await self._store.run(ADD_USAGE, keys, arguments)
        except StoreError as error:
            raise UsageError(str(error)) from error
        if lost:
            logger.error(
                "usage: %d numbers are lost, since another program wrote to their fields in the store, such as %.80r",
                len(lost),
                lost[0],
            )

    async def read(self, days: Sequence[str]) -> Usage:
        """See `Archive`. It reads over a connection of its own and in parts, so that no request waits for a report."""
        usage: defaultdict[Heading, Amounts] = defaultdict(Amounts)
        foreign: list[str] = []
        client = make_client(self._store.section)
        try:
            async with asyncio.timeout(_PATIENCE):
                for day in days:
                    # The store may give a field twice; the second time changes nothing.
                    async for field, value in client.hscan_iter(usage_key(self._prefix, day), count=_BATCH):
                        if (found := _parsed(field, value)) is None:
                            foreign.append(f"{day} {field}")
                            continue
                        key, language, connection, name, amount = found
                        setattr(usage[Heading(key or None, day, language, connection)], name, amount)
        except TimeoutError as error:
            raise UsageError(f"the store did not answer within {_PATIENCE:g} s") from error
        except (RedisError, OSError) as error:
            raise UsageError(one_line(error)) from error
        finally:
            await client.aclose()
        if foreign:
            logger.error(
                "usage: %d fields in the store are not this server's, such as %.80r; the report leaves them out",
                len(foreign),
                foreign[0],
            )
        return dict(usage)


def _parsed(field: str, value: str) -> tuple[str, str, str, str, int] | None:
    """Key, language, connection, what is counted, and its number; None if another program wrote the field."""
    parts = field.split("|")
    number = value.isascii() and value.isdecimal() and len(value) <= _DIGITS
    if len(parts) != _PARTS or parts[-1] not in _AMOUNTS or not number:
        return None
    key, language, connection, name = parts
    return key, language, connection, name, int(value)

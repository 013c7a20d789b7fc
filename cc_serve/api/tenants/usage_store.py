"""Usage in the store that several servers share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cc_serve.api.tenants.names import batch_key, usage_key
from cc_serve.api.tenants.scripts import ADD_USAGE, READ
from cc_serve.api.tenants.store import Argument, Store, StoreError
from cc_serve.api.tenants.usage import Amounts, Heading, Usage, UsageError

_DAY_SECONDS: Final = 86400
_AMOUNTS: Final = ("requests", "prompt_tokens", "answer_tokens")


class UsageInStore:
    """An archive: a hash for each day, with a field for each number.

    Its name is made of key, language and connection, none of which can have a ``|``.

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
            await self._store.run(ADD_USAGE, keys, arguments)
        except StoreError as error:
            raise UsageError(str(error)) from error

    async def read(self, days: Sequence[str]) -> Usage:
        """See `Archive`."""
        usage: defaultdict[Heading, Amounts] = defaultdict(Amounts)
        for day in days:
            try:
                found = await self._store.run(READ, [usage_key(self._prefix, day)], [])
            except StoreError as error:
                raise UsageError(str(error)) from error
            for field, value in zip(found[::2], found[1::2], strict=True):
                key, language, connection, name = field.split("|")
                setattr(usage[Heading(key or None, day, language, connection)], name, int(value))
        return dict(usage)

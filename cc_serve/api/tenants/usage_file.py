"""The usage of keys in an SQLite file of this server."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from cc_serve.api.tenants.periods import periods, utc_now
from cc_serve.api.tenants.usage import Amounts, Heading, Usage, UsageError
from cc_serve.config.configuration import ConfigurationError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS usage (
    key TEXT NOT NULL, day TEXT NOT NULL, language TEXT NOT NULL, connection TEXT NOT NULL,
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL,
    PRIMARY KEY (day, key, language, connection)
) WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens, answer_tokens = answer_tokens + excluded.answer_tokens
"""


class UsageFile:
    """An archive. A batch is one transaction: all of it is added, or nothing.

    Args:
        path: the file, which is made if there is none.
        keep_days: how many days are kept. Those of this month are kept at least until the month ends.

    Raises:
        ConfigurationError: the file cannot be used.
    """

    def __init__(self, path: Path, keep_days: int) -> None:
        self._keep_days = keep_days
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(_SCHEMA)
            self._database.execute("SELECT answer_tokens FROM usage LIMIT 1")
        except sqlite3.Error as error:
            raise ConfigurationError(f"usage.file: {path} cannot be used ({error})") from error

    async def add(self, batch: str, usage: Usage) -> None:
        """See `Archive`."""
        rows = [(h.key or "", *h[1:], a.requests, a.prompt_tokens, a.answer_tokens) for h, a in usage.items()]
        last_month = periods(utc_now().replace(day=1) - timedelta(days=1))["day"]
        # After a restart, the file tells how much of a month's budgets is spent.
        gone = min(periods(utc_now() - timedelta(days=self._keep_days))["day"], last_month)

        def write() -> None:
            with self._lock, self._database:
                self._database.executemany(_ADD, rows)
                self._database.execute("DELETE FROM usage WHERE day <= ?", [gone])

        try:
            await asyncio.to_thread(write)
        except sqlite3.Error as error:
            raise UsageError(str(error)) from error

    async def read(self, days: Sequence[str]) -> Usage:
        """See `Archive`."""

        def select() -> Usage:
            with self._lock:
                found = self._database.execute("SELECT * FROM usage WHERE day BETWEEN ? AND ?", [days[0], days[-1]])
                rows = found.fetchall()
            return {Heading(row[0] or None, *row[1:4]): Amounts(*row[4:]) for row in rows}

        try:
            return await asyncio.to_thread(select)
        except sqlite3.Error as error:
            raise UsageError(str(error)) from error

    def spent(self) -> Mapping[tuple[str, str | None], Mapping[str, int]]:
        """What keys have used of their budgets in this day and this month, by period and the key's name."""
        current = periods(utc_now())
        sums: defaultdict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
        with closing(self._database.execute("SELECT * FROM usage WHERE day >= ?", [current["month"]])) as rows:
            for key, day, _, _, requests, prompt, answer in rows:
                for period in {day, day[: len(current["month"])]} & set(current.values()):
                    sums[period, key or None].update(requests=requests, tokens=prompt + answer)
        return sums

    def close(self) -> None:
        """Close the file."""
        self._database.close()

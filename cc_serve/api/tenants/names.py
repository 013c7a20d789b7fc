"""The names of what is kept in the store. All that belongs to one key of the API shares a hash tag."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from cc_serve.api.tenants.periods import periods

#: Where requests without a key are counted. No key has this name: theirs begin with a letter or digit.
ANONYMOUS: Final = "-"
_USAGE: Final = "-usage"
_OURS: Final = re.compile(
    r"\{[^{}]+\}:(rates|running|probe|unanswered:[0-9a-f]+|spent:[0-9-]+)|\{-usage\}:(batch:[0-9a-f]+|[0-9-]+)"
)


def tag_of(name: str | None) -> str:
    """What stands in the store for the key called ``name``; None is everybody without a key."""
    return ANONYMOUS if name is None else name


def keys_of(prefix: str, tag: str, server: str, moment: datetime) -> tuple[str, ...]:
    """What the scripts work on: ``rates``, ``running``, one server's ``unanswered``, and ``spent`` of day and month."""
    common = f"{prefix}:{{{tag}}}"
    spent = [f"{common}:spent:{period}" for period in periods(moment).values()]
    return f"{common}:rates", f"{common}:running", f"{common}:unanswered:{server}", *spent


def usage_key(prefix: str, day: str) -> str:
    """A hash: what all keys have used on a day."""
    return f"{prefix}:{{{_USAGE}}}:{day}"


def batch_key(prefix: str, batch: str) -> str:
    """A string: a part of the usage that has been added already."""
    return f"{prefix}:{{{_USAGE}}}:batch:{batch}"


def probe_key(prefix: str) -> str:
    """A key that nobody uses: it shows that scripts run, and may write."""
    return f"{prefix}:{{{ANONYMOUS}}}:probe"


def kinds(prefix: str, name: str | None, moment: datetime) -> dict[str, str]:
    """What is kept for a key, and of the day's usage for all: the store's types by their names."""
    rates, running, _, *spent = keys_of(prefix, tag_of(name), "", moment)
    hashes = (rates, *spent, usage_key(prefix, periods(moment)["day"]))
    return {running: "zset", **dict.fromkeys(hashes, "hash")}


def is_ours(key: str, prefix: str) -> bool:
    """Whether this server may have made ``key``."""
    return bool(_OURS.fullmatch(key.removeprefix(f"{prefix}:")))

"""The names of the store's keys. Those that belong to the same API key share a hash tag."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from cc_serve.api.tenants.periods import periods

#: The tag of requests without a key. No key has this name, since names begin with a letter or digit.
ANONYMOUS: Final = "-"
_USAGE: Final = "-usage"
_OURS: Final = re.compile(
    r"\{[^{}]+\}:(rates|running|probe|unanswered:[0-9a-f]+|spent:[0-9-]+)|\{-usage\}:(batch:[0-9a-f]+|[0-9-]+)"
)


def tag_of(name: str | None) -> str:
    """The tag of the key called ``name``; None stands for all requests without a key."""
    return ANONYMOUS if name is None else name


def keys_of(prefix: str, tag: str, server: str, moment: datetime) -> tuple[str, ...]:
    """The keys that the scripts use: ``rates``, ``running``, a server's ``unanswered``, ``spent`` of day and month."""
    common = f"{prefix}:{{{tag}}}"
    spent = [f"{common}:spent:{period}" for period in periods(moment).values()]
    return f"{common}:rates", f"{common}:running", f"{common}:unanswered:{server}", *spent


def usage_key(prefix: str, day: str) -> str:
    """The key of a hash with the usage of all API keys on a day."""
    return f"{prefix}:{{{_USAGE}}}:{day}"


def batch_key(prefix: str, batch: str) -> str:
    """The key of a string that marks a batch of the usage as added."""
    return f"{prefix}:{{{_USAGE}}}:batch:{batch}"


def probe_key(prefix: str) -> str:
    """A key that has no other use than to show that scripts run, and may write."""
    return f"{prefix}:{{{ANONYMOUS}}}:probe"


def kinds(prefix: str, name: str | None, moment: datetime) -> dict[str, str]:
    """The store's type of each key that belongs to an API key, and of the day's usage; by name."""
    rates, running, _, *spent = keys_of(prefix, tag_of(name), "", moment)
    hashes = (rates, *spent, usage_key(prefix, periods(moment)["day"]))
    return {running: "zset", **dict.fromkeys(hashes, "hash")}


def is_ours(key: str, prefix: str) -> bool:
    """Whether this server may have made ``key``."""
    return bool(_OURS.fullmatch(key.removeprefix(f"{prefix}:")))

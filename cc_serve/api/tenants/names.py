"""The names of what is kept in the store. All that belongs to one key of the API shares a hash tag."""

from __future__ import annotations

import re
from typing import Final

#: Where requests without a key are counted. No key has this name: theirs begin with a letter or digit.
ANONYMOUS: Final = "-"
_KINDS: Final = {"rates": "hash", "running": "zset"}
_OURS: Final = re.compile(r"\{[^{}]+\}:(rates|running|probe|unanswered:[0-9a-f]+)")


def tag_of(name: str | None) -> str:
    """What stands in the store for the key called ``name``; None is everybody without a key."""
    return ANONYMOUS if name is None else name


def keys_of(prefix: str, tag: str, server: str) -> tuple[str, str, str]:
    """What the scripts work on: ``rates``, ``running``, and one server's ``unanswered``."""
    common = f"{prefix}:{{{tag}}}"
    return f"{common}:rates", f"{common}:running", f"{common}:unanswered:{server}"


def kinds(prefix: str, name: str | None) -> dict[str, str]:
    """What is kept for a key: the store's types by their names."""
    return {f"{prefix}:{{{tag_of(name)}}}:{suffix}": kind for suffix, kind in _KINDS.items()}


def is_ours(key: str, prefix: str) -> bool:
    """Whether this server may have made ``key``."""
    return bool(_OURS.fullmatch(key.removeprefix(f"{prefix}:")))

"""API keys: how they are made, hashed and taken from the environment. Only hashes are kept; limits use a key's name."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import MutableMapping
from typing import Final

#: Plain keys, ``NAME=KEY`` separated by commas.
ENVIRONMENT: Final = "CC_SERVE_API_KEYS"
#: vLLM's own variable: one plain key.
VLLM_ENVIRONMENT: Final = "VLLM_API_KEY"

KEY_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"

_RANDOM_BYTES: Final = 32


class KeyProblemError(ValueError):
    """The keys of the environment cannot be used. The message never has a key in it."""


def new_key() -> str:
    """A new key of 256 random bits. Nobody can guess it, so that a plain SHA-256 is enough to protect it."""
    return f"cc-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def hash_key(key: str) -> str:
    """The SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).hexdigest()


def take_environment_keys(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Take the plain keys out of the environment, so that no child inherits them, and return their hashes by name.

    Raises:
        KeyProblemError: a key has no name, or a name has two keys.
    """
    hashes: dict[str, str] = {}
    entries = [entry.strip() for entry in environment.pop(ENVIRONMENT, "").split(",")]
    for position, entry in enumerate(filter(None, entries), start=1):
        name, separator, key = entry.partition("=")
        if not separator or not key or not re.fullmatch(KEY_NAME, name):
            raise KeyProblemError(f"{ENVIRONMENT}: entry {position} is not NAME=KEY; separate the entries by commas")
        if name in hashes:
            raise KeyProblemError(f"{ENVIRONMENT}: {name!r} is there twice; give each key a name of its own")
        hashes[name] = hash_key(key)
    return hashes

"""The share of requests that is held out of the connection, by which an operator sees what it is worth.

Whoever compares connected answers with plain ones compares languages, unless chance alone decides who gets which.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

# As many as a float holds exactly.
_DIGEST_BYTES: Final = 6


class Side(StrEnum):
    """The side of the comparison that a request is on. Only requests that routing would connect are on one."""

    PLAIN = "plain"
    CONNECTED = "connected"


def side_of(subject: str, share: float) -> Side:
    """The side of a subject: a user, or else a single request.

    It rests on nothing else, so all replicas agree, before a restart and after it. Whoever is held out stays so while
    the share grows.

    Args:
        subject: its name.
        share: of the subjects that are held out, 0 to 1.
    """
    # A server explains requests with lone surrogates, too.
    digest = blake2b(subject.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return Side.PLAIN if int.from_bytes(digest) / (1 << 8 * _DIGEST_BYTES) < share else Side.CONNECTED

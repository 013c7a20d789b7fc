"""The share of requests that is held out of the connection, so that an operator can measure what the connection gains.

Connected and plain answers can be compared only if chance alone decides which requests are connected. Otherwise, the
comparison is one of languages.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

# A float holds an integer of this size exactly.
_DIGEST_BYTES: Final = 6


class Side(StrEnum):
    """The side of the comparison that a request is on. Requests that routing would not connect are on none."""

    PLAIN = "plain"
    CONNECTED = "connected"


def side_of(subject: str, share: float) -> Side:
    """The side of a subject: of a user, or of a single request.

    It depends on the arguments alone, so that all replicas agree, also after a restart. A subject that is held out
    stays held out while the share grows.

    Args:
        subject: the user's name, or the request's id.
        share: the share of subjects that is held out, 0 to 1.
    """
    # A name may have lone surrogates: `POST /v1/route` answers such requests.
    digest = blake2b(subject.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
    return Side.PLAIN if int.from_bytes(digest) / (1 << 8 * _DIGEST_BYTES) < share else Side.CONNECTED

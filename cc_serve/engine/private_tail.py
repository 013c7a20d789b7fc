"""Private hashes for the blocks from the anchor on: they hold connected KV, which no other request may read."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from vllm.v1.core.kv_cache_utils import BlockHash
from vllm.v1.request import Request

#: Of a request's ``kv_transfer_params``: how many of its first tokens vLLM's offloading may store.
_MAX_STORED: Final = "max_offload_tokens"


@dataclass(frozen=True)
class PrivateTail:
    """Takes the place of a request's block hasher: it salts the hash of every block from ``first_block`` on.

    Other requests still share the blocks before.
    """

    hasher: Any
    first_block: int
    salt: bytes = field(repr=False)

    def __call__(self, request: Request) -> list[BlockHash]:
        start = len(request.block_hashes)
        return [
            BlockHash(hashlib.sha256(self.salt + block_hash).digest()) if index >= self.first_block else block_hash
            for index, block_hash in enumerate(self.hasher(request), start)
        ]


class PrivateTails:
    """Makes requests' tails private, each time with a new salt.

    Args:
        block_size: how many tokens a block with a hash has.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        # At random, since a store of KV may outlive this process, and other engines may share it.
        self._secret = secrets.token_bytes(16)
        self._numbers = count()

    def make_private(self, request: Request, anchor: int) -> None:
        """Salt the hashes of ``request``'s blocks, from the one with its ``anchor`` on."""
        hasher = request._block_hasher
        if hasher is None:  # prefix caching is off
            return
        if isinstance(hasher, PrivateTail):
            hasher = hasher.hasher
        first_block = anchor // self._block_size
        salt = self._secret + next(self._numbers).to_bytes(8, "big")
        request._block_hasher = PrivateTail(hasher, first_block, salt)
        del request.block_hashes[first_block:]
        request.update_block_hashes()

    def keep_from_store(self, request: Request, anchor: int) -> None:
        """Keep vLLM's offloading from storing these blocks.

        No request could find them, and they would take the place of others. If the request itself is preempted, the
        connector would look for them by the hashes that they had before.
        """
        parameters = request.kv_transfer_params or {}
        limit, given = anchor // self._block_size * self._block_size, parameters.get(_MAX_STORED)
        if type(given) is int and given >= 0:
            limit = min(limit, given)
        request.kv_transfer_params = {**parameters, _MAX_STORED: limit}

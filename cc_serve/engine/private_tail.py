"""Blocks from the anchor on hold connected KV, which no other request may read: their hashes are private."""

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
    """Stands for a request's block hasher and salts the hash of every block from ``first_block`` on.

    The blocks before them stay shared.
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
        block_size: tokens of a block that has a hash.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        # At random: a store of KV may outlive this process, and other engines may share it.
        self._secret = secrets.token_bytes(16)
        self._numbers = count()

    def make_private(self, request: Request, anchor: int) -> None:
        """Salt the blocks of ``request`` from its ``anchor``'s on."""
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

        Nobody could find them, and they would drive others out. If the request itself is preempted, the connector
        would still look for the hashes that it had before.
        """
        parameters = request.kv_transfer_params or {}
        limit, given = anchor // self._block_size * self._block_size, parameters.get(_MAX_STORED)
        if type(given) is int and given >= 0:
            limit = min(limit, given)
        request.kv_transfer_params = {**parameters, _MAX_STORED: limit}

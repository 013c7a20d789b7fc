"""Private blocks by vLLM's own hashes, and what a KV connector is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from vllm import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.request import Request

from cc_serve.engine.private_tail import PrivateTails
from cc_serve.engine.scheduler import ConnectedRequest
from tests.cc_serve.engine.conftest import prompt

BLOCK = 4


def request(length: int, **transfer: Any) -> Request:
    """A plain request, with the connector's parameters."""
    init_none_hash(sha256)
    arguments = {"kv_transfer_params": transfer} if transfer else None
    return Request(
        request_id="same",
        prompt_token_ids=list(prompt(1, length)),
        sampling_params=SamplingParams(extra_args=arguments),
        pooling_params=None,
        block_hasher=get_request_block_hasher(BLOCK, sha256),
    )


@pytest.mark.parametrize(("anchor", "shared"), [(12, 3), (11, 2), (8, 2), (3, 0)])
def test_blocks_before_the_anchors_are_shared(anchor: int, shared: int) -> None:
    plain, connected = request(13), request(13)
    PrivateTails(BLOCK).make_private(connected, anchor)
    assert connected.block_hashes[:shared] == plain.block_hashes[:shared]
    assert not set(connected.block_hashes[shared:]) & set(plain.block_hashes)
    assert len(connected.block_hashes) == len(plain.block_hashes)


def test_no_two_tails_are_alike() -> None:
    """Not of one request that starts over, nor in another engine that has a request of the same name."""
    one, another = PrivateTails(BLOCK), PrivateTails(BLOCK)
    first, second = request(13), request(13)
    seen = []
    for tails, each in ((one, first), (one, first), (another, second)):
        tails.make_private(each, 5)
        seen += each.block_hashes[1:]
        each.append_output_token_ids([3, 4, 5, 6])
        seen.append(each.block_hashes[-1])
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("given", "stored"), [({}, 8), ({"max_offload_tokens": 4}, 4), ({"max_offload_tokens": "x"}, 8)]
)
def test_the_tail_is_kept_from_the_store(given: dict[str, Any], stored: int) -> None:
    connected = request(13, do_remote_prefill=False, **given)
    PrivateTails(BLOCK).keep_from_store(connected, 11)
    assert connected.kv_transfer_params == {"do_remote_prefill": False, "max_offload_tokens": stored}


def test_the_report_stands_beside_what_a_connector_says() -> None:
    connected = ConnectedRequest("sw", 3, "digest")
    report = {"name": "sw", "layer": None, "captures": 0}
    assert connected.report_beside(None) == {"cc_connection": report}
    assert connected.report_beside({"remote_port": 1}) == {"remote_port": 1, "cc_connection": report}

"""Which request ids are kept, and that one reaches the application whatever was sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_serve.api.middleware.request_id import with_request_id


def named(*values: bytes) -> tuple[list[bytes], str]:
    """The ids that reach the application, and the id of the request."""
    headers = [(b"host", b"h"), *((b"x-request-id", value) for value in values)]
    scope: Any = {"type": "http", "headers": headers}
    changed, request_id = with_request_id(scope)
    assert scope["headers"] == headers, "the server's own scope stays as it is"
    assert (b"host", b"h") in changed["headers"]
    return [value for name, value in changed["headers"] if name == b"x-request-id"], request_id


@pytest.mark.parametrize("sent", [b"a", b"trace-1/2:3=4+5@6_7.8", b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", b"x" * 128])
def test_a_usable_id_is_kept(sent: bytes) -> None:
    assert named(sent) == ([sent], sent.decode())


@pytest.mark.parametrize("sent", [b"", b"x" * 129, b"a b", b"a\r\nSet-Cookie: b", b"\x1b[31m", b"-a", b"\xff", b"a\n"])
def test_any_other_is_replaced(sent: bytes) -> None:
    (received,), request_id = named(sent)
    assert received.decode() == request_id != sent.decode("latin-1")


def test_without_one_every_request_gets_its_own() -> None:
    assert named()[1] != named()[1]


def test_several_are_as_good_as_none() -> None:
    (received,), request_id = named(b"a", b"b")
    assert received.decode() == request_id
    assert request_id not in "ab"


@given(st.lists(st.binary(), max_size=3))
def test_exactly_one_safe_id_reaches_the_application(sent: list[bytes]) -> None:
    (received,), request_id = named(*sent)
    assert received.decode() == request_id
    assert 1 <= len(request_id) <= 128
    assert request_id.isprintable()
    assert request_id.isascii()

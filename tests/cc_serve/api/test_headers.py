"""Reading one header, of a request or a response."""

from __future__ import annotations

import pytest

from cc_serve.api.headers import header

HEADERS = [(b"host", b"h"), (b"x-name", b"f\xfcr"), (b"x-name", b"second"), (b"x-empty", b"")]


@pytest.mark.parametrize(
    ("name", "value"), [(b"host", "h"), (b"x-name", "für"), (b"x-empty", ""), (b"x-nam", None), (b"X-Name", None)]
)
def test_the_first_of_that_name(name: bytes, value: str | None) -> None:
    assert header({"headers": HEADERS}, name) == value

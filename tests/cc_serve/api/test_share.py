"""What processes share: the numbers of keys. The pool of places has tests of its own, beside the limits of keys."""

from __future__ import annotations

from cc_serve.api.share import Share


def test_a_key_has_one_number_in_all_processes_of_a_server() -> None:
    secret = bytes(16)
    names = [f"key-{index}" for index in range(1000)]
    numbers = [Share(secret=secret).number_of(name) for name in names]
    assert numbers == [Share(2, secret=secret).number_of(name) for name in names]
    assert len(set(numbers)) == len(names)
    assert all(float(number) == number < 1 << 48 for number in numbers)
    assert Share().number_of("key-0") != Share().number_of("key-0"), "logs of two starts do not tell who is who"

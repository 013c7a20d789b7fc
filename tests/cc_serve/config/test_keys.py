"""API keys: made unguessable, hashed at once, found by their hashes."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from cc_serve.commands.main import main
from cc_serve.config.keys import ENVIRONMENT, KeyProblemError, hash_key, new_key, take_environment_keys


def test_a_hash_is_the_keys_sha256() -> None:
    assert hash_key("schlüssel") == hashlib.sha256("schlüssel".encode()).hexdigest()


def test_new_keys_are_long_and_differ() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) >= 43 for key in keys)


def test_keys_leave_the_environment_as_hashes() -> None:
    environment = {ENVIRONMENT: "alice=k1, bob=k=2,", "OTHER": "x"}
    assert take_environment_keys(environment) == {"alice": hash_key("k1"), "bob": hash_key("k=2")}
    assert environment == {"OTHER": "x"}
    assert take_environment_keys(environment) == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("secret", "entry 1 is not NAME=KEY"),
        ("a=1,=secret", "entry 2 is not NAME=KEY"),
        ("a=", "entry 1 is not NAME=KEY"),
        ("a b=secret", "entry 1 is not NAME=KEY"),
        ("a=secret,a=other", "'a' is there twice"),
    ],
)
def test_a_bad_entry_is_refused_without_showing_the_key(value: str, message: str) -> None:
    with pytest.raises(KeyProblemError, match=message) as caught:
        take_environment_keys({ENVIRONMENT: value})
    assert "secret" not in str(caught.value)


def test_the_command_prints_what_the_file_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "alice"]) == 0
    output = capsys.readouterr().out
    key = output.splitlines()[0].rsplit(" ", 1)[1]
    assert yaml.safe_load(output) == {"keys": {"alice": {"sha256": hash_key(key)}}}


def test_the_command_refuses_a_bad_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "a b"]) == 2
    assert "'a b' cannot name a key" in capsys.readouterr().err

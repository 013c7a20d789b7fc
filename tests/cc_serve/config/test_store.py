"""The section ``limits.store``: its URL's forms, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cc_serve.config.configuration import ConfigurationError, load_configuration
from cc_serve.config.store import Store


def test_a_url_alone_is_a_section() -> None:
    store = Store.model_validate("redis://localhost")
    assert (store.host, store.port, store.database, store.tls) == ("localhost", 6379, 0, False)
    assert (store.on_error, store.username, store.password(), store.socket) == ("allow", None, None, None)


def test_what_a_url_says() -> None:
    store = Store(url="valkeys://me:p%40ss@[::1]:1234/7")
    assert (store.host, store.port, store.database, store.tls) == ("::1", 1234, 7, True)
    assert (store.username, store.password(), store.address) == ("me", "p@ss", "::1:1234")
    assert Store(url="unix:///run/store.sock").socket == "/run/store.sock"


def test_a_password_may_change(tmp_path: Path) -> None:
    file = tmp_path / "password"
    store = Store(url="redis://localhost", password_file=file)
    for password in ("one", "two"):
        file.write_text(f"{password}\n")
        assert store.password() == password


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("localhost:6379", "limits.store.url: is not of the form redis://"),
        ("http://localhost", "limits.store.url: is not of the form redis://"),
        ("redis://", "limits.store.url: is not of the form redis://"),
        ("redis://:secret@localhost:70000", "limits.store.url: is not of the form redis://"),
        ("redis://localhost:0", "limits.store.url: is not of the form redis://"),
        ("redis://localhost/two", "limits.store.url: is not of the form redis://"),
        ("redis://:secret@[::1", "limits.store.url: is not of the form redis://"),
        ("unix://run/store.sock", "limits.store.url: is not of the form redis://"),
        ("redis://localhost?ssl_cert_reqs=none", "limits.store.url: options after ? are not read"),
        ("{url: redis://localhost, on_eror: allow}", "limits.store.on_eror: unknown field; did you mean on_error?"),
        ("{url: redis://localhost, on_error: ignore}", "limits.store.on_error: should be 'allow' or 'refuse'"),
        ("{url: redis://localhost, prefix: 'a:{b}'}", "limits.store.prefix: String should match"),
        ("{url: redis://localhost, lease_seconds: 0.5}", "limits.store.lease_seconds: should be greater than or equal"),
        ("{url: redis://localhost, timeout_seconds: 0}", "limits.store.timeout_seconds: should be greater than 0"),
        ("{url: redis://localhost, ca_file: ca.pem}", "limits.store: ca_file: is for TLS"),
        ("{url: rediss://localhost, key_file: key.pem}", "limits.store: key_file: needs cert_file"),
        ("{url: redis://:secret@localhost, password_file: p}", "limits.store: password_file: the URL has a password"),
        ("{on_error: allow}", "limits.store.url: Field required"),
        ("3", "limits.store: should be"),
    ],
)
def test_a_mistake_is_named_and_no_password_shown(tmp_path: Path, store: str, message: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(f"limits:\n  store: {store}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "secret" not in str(caught.value)


def test_it_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Store(url="redis://localhost").prefix = "other"  # type: ignore[misc]

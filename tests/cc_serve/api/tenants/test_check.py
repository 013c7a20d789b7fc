"""What a start says of a store that cannot be used: one line, which names the field."""

from __future__ import annotations

import datetime
import ipaddress
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cc_serve.api.tenants.check import check_store
from cc_serve.api.tenants.periods import periods, utc_now
from cc_serve.config.configuration import ConfigurationError
from cc_serve.config.store import Store
from tests.support.ports import free_port
from tests.support.store import StoreServer, running_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    users = "--user default on >secret ~* &* +@all --user little on >little ~* &* +@read"
    with running_store(tmp_path_factory.mktemp("store"), *users.split()) as store:
        yield store


def check(url: str, *names: str | None, **options: Any) -> None:
    # A busy machine's store may not answer for seconds; the check waits ten times as long as a request does.
    check_store(Store.model_validate({"url": url, "timeout_seconds": 6, **options}), names or (None,))


def complaint(url: str, *names: str | None, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(url, *names, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "inc0rrect" not in message, "no password is shown"
    return message


def url_of(server: StoreServer, login: str = ":secret", path: str = "") -> str:
    return f"redis://{login}@127.0.0.1:{server.port}{path}"


def test_no_store_needs_no_check() -> None:
    check_store(None, (None,))


@pytest.mark.parametrize("action", ["allow", "refuse"])
def test_wrong_credentials_are_always_refused(server: StoreServer, tmp_path: Path, action: str) -> None:
    for login in (":inc0rrect", "nobody:inc0rrect", "default:inc0rrect"):
        message = complaint(url_of(server, login), on_error=action)
        assert message.startswith(f"limits.store.url: 127.0.0.1:{server.port} does not accept user and password")
    message = complaint(server.url, on_error=action)
    assert message.startswith(f"limits.store.url: 127.0.0.1:{server.port} does not accept user and password")
    file = tmp_path / "password"
    file.write_text("inc0rrect\n")
    message = complaint(server.url, password_file=file, on_error=action)
    assert message.startswith("limits.store.password_file: ")
    file.write_text("secret\n")
    check(server.url, password_file=file, on_error=action)
    file.write_bytes(b"inc0rrect\xff")
    message = complaint(server.url, password_file=file, on_error=action)
    assert message == f"limits.store.password_file: {file} cannot be read (it is not UTF-8)"
    file.unlink()
    message = complaint(server.url, password_file=file, on_error=action)
    assert message == f"limits.store.password_file: {file} cannot be read (No such file or directory)"


def test_a_store_that_is_not_there(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_serve.api.tenants.check.logger.parent.propagate", True, raising=False)
    port = free_port()
    message = complaint(f"redis://127.0.0.1:{port}", on_error="refuse")
    assert message.startswith(f"limits.store.url: 127.0.0.1:{port} cannot be reached")
    assert complaint("redis://no-such-host.invalid", on_error="refuse").startswith(
        "limits.store.url: no-such-host.invalid:6379 cannot be reached"
    )
    check(f"redis://127.0.0.1:{port}", on_error="allow")


def test_a_store_that_does_not_answer(server: StoreServer) -> None:
    server.suspend()
    try:
        message = complaint(url_of(server), on_error="refuse", timeout_seconds=0.2)
        assert message.startswith(f"limits.store.url: 127.0.0.1:{server.port} cannot be reached (no answer within 2 s)")
    finally:
        server.resume()


class _Web(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_something_else_listens_there() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _Web) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{web.server_address[1]}"
        message = complaint(f"redis://{address}")
        web.shutdown()
    assert message.startswith(f"limits.store.url: {address} is no Redis or Valkey")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        *[("{alice}:rates", "string"), ("{-}:running", "string"), ("sessions", "string"), ("{alice}:basket", "list")],
        *[("{alice}:spent:DAY", "string"), ("{-}:spent:MONTH", "list"), ("{-usage}:DAY", "string")],
    ],
)
def test_keys_of_somebody_else(server: StoreServer, key: str, kind: str) -> None:
    client = server.client(password="secret")
    client.flushall()
    day, month = periods(utc_now()).values()
    name = f"cc-serve:{key}".replace("DAY", day).replace("MONTH", month)
    if kind == "string":
        client.set(name, "x")
    else:
        client.rpush(name, "x")
    message = complaint(url_of(server), "alice", None)
    assert message.startswith(
        f"limits.store.prefix: another program uses 'cc-serve' at 127.0.0.1:{server.port}: '{name}'"
    )
    check(url_of(server), "alice", None, prefix="ours")
    check(url_of(server, path="/1"), "alice", None)
    client.flushall()
    check(url_of(server), "alice", None)
    assert client.dbsize() == 0, "the check leaves nothing behind"


def test_the_names_of_many_keys_are_looked_at_at_once(server: StoreServer) -> None:
    client = server.client(password="secret")
    client.flushall()
    names = [f"key{number}" for number in range(3000)]
    before = client.info("stats")["total_reads_processed"]
    check(url_of(server), *names)
    assert client.info("stats")["total_reads_processed"] - before < 600, "reads of many commands each"
    client.rpush("cc-serve:{key2999}:rates", "x")
    assert "'cc-serve:{key2999}:rates' is no key of this server" in complaint(url_of(server), *names)
    client.flushall()


def test_a_key_of_somebody_else_that_is_no_text(server: StoreServer) -> None:
    client = server.client(password="secret")
    client.flushall()
    client.set(b"cc-serve:\xff", "x")
    try:
        assert r"'cc-serve:\\xff' is no key of this server" in complaint(url_of(server))
    finally:
        client.flushall()


def test_a_store_that_does_not_let_us_work(server: StoreServer) -> None:
    message = complaint(url_of(server, "little:little"))
    assert message.startswith(f"limits.store.url: 127.0.0.1:{server.port} refuses what the limits need")
    message = complaint(url_of(server, path="/99"))
    assert "DB index is out of range" in message
    client = server.client(password="secret")
    client.replicaof("127.0.0.1", str(free_port()))
    try:
        assert "read only replica" in complaint(url_of(server))
    finally:
        client.replicaof("NO", "ONE")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that has signed itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls(server: StoreServer, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = map(str, certificate)
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
    with running_store(tmp_path, *options, "--tls-auth-clients", "optional", scheme="rediss", port=port) as encrypted:
        check(encrypted.url, ca_file=cert, on_error="refuse")
        check(encrypted.url.replace("rediss", "valkeys"), ca_file=cert, cert_file=cert, key_file=key)
        assert complaint(encrypted.url).startswith(f"limits.store.url: no TLS with 127.0.0.1:{port}")
        assert complaint(encrypted.url, ca_file=key).startswith("limits.store.ca_file: no TLS with")
        plain = complaint(f"redis://127.0.0.1:{port}", on_error="refuse", timeout_seconds=0.5)
        assert plain.startswith(f"limits.store.url: 127.0.0.1:{port}")
    encrypted_to_plain = complaint(f"rediss://:secret@127.0.0.1:{server.port}", on_error="refuse")
    assert encrypted_to_plain.startswith(f"limits.store.url: 127.0.0.1:{server.port} cannot be reached")
    assert complaint("rediss://127.0.0.1", ca_file=tmp_path / "none") == (
        f"limits.store.ca_file: {tmp_path / 'none'} cannot be read (No such file or directory)"
    )


def test_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "store.sock"
    with running_store(tmp_path, "--unixsocket", str(path)):
        check(f"unix://{path}", on_error="refuse")
    assert complaint(f"unix://{path}", on_error="refuse").startswith(f"limits.store.url: {path} cannot be reached")

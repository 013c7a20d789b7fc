"""The section ``limits.store``: where several servers keep what keys use together."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from cc_serve.config.section import Seconds, Section

_PORT: Final = 6379
_TLS: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SHAPE: Final = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS, or unix:///PATH"


class Store(Section):
    """A Redis or Valkey server. Instead of the section's fields, its URL alone may be given."""

    url: str = Field(description=f"`{_SHAPE}`. `valkey://` and `valkeys://` are the same.")
    password_file: Path | None = Field(
        default=None, description="The file with the password; read at each new connection."
    )
    ca_file: Path | None = Field(
        default=None, description="For TLS: the certificates to trust, in PEM; unset: those that the machine trusts."
    )
    cert_file: Path | None = Field(default=None, description="For TLS: this server's own certificate, in PEM.")
    key_file: Path | None = Field(default=None, description="For TLS: the certificate's key.")
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        default="cc-serve", description="The beginning of every name that this server uses in the store."
    )
    on_error: Literal["allow", "refuse"] = Field(
        default="allow", description="What happens to requests while the store cannot be asked."
    )
    timeout_seconds: Seconds = Field(
        default=0.5, description="How long to wait for an answer of the store, a new connection included."
    )
    lease_seconds: Annotated[Seconds, Field(ge=1)] = Field(
        default=30.0, description="How long the requests of a server that was killed count as running."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _well_formed(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its message may hold a part of the password
            raise ValueError(f"is not of the form {_SHAPE}") from None
        if parts.scheme == "unix":
            well = bool(parts.path) and not parts.hostname
        else:
            well = parts.scheme in _TLS and bool(parts.hostname) and port != 0 and _database(parts).isdecimal()
        if not well:
            raise ValueError(f"is not of the form {_SHAPE}")
        if parts.query or parts.fragment:
            raise ValueError("options after ? are not read; use the fields of `limits.store`")
        return url

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_file is not None and self._parts.password is not None:
            raise ValueError("password_file: the URL has a password, too; leave one of them out")
        if not self.tls and (given := [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name)]):
            raise ValueError(f"{given[0]}: is for TLS; begin the URL with rediss://, or leave it out")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file: needs cert_file, too")
        return self

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return _TLS.get(self._parts.scheme, False)

    @property
    def socket(self) -> str | None:
        """The path of a Unix socket; None for a host."""
        return self._parts.path if self._parts.scheme == "unix" else None

    @property
    def host(self) -> str:
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        return self._parts.port or _PORT

    @property
    def database(self) -> int:
        return 0 if self.socket else int(_database(self._parts))

    @property
    def username(self) -> str | None:
        return unquote(self._parts.username) if self._parts.username else None

    @property
    def address(self) -> str:
        """The store's address without user and password, for messages."""
        return self.socket or f"{self.host}:{self.port}"

    def password(self) -> str | None:
        """The password, read anew.

        Raises:
            OSError: the file cannot be read, or is not UTF-8.
        """
        if self.password_file is not None:
            try:
                return self.password_file.read_text("utf-8").strip()
            except UnicodeDecodeError:  # its message has a part of the password
                raise OSError(errno.EILSEQ, "it is not UTF-8", str(self.password_file)) from None
        return unquote(self._parts.password) if self._parts.password else None


def _database(parts: SplitResult) -> str:
    return parts.path.removeprefix("/") or "0"

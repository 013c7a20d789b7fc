"""Finds wrong flags before the engine's process starts. Each message is one line and names the flag.

A supervisor restarts a server that has failed, but not one whose flags are wrong (exit code 2).
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from huggingface_hub.errors import LocalEntryNotFoundError
from pydantic import ValidationError

from cc_core.terminal.text import one_line
from cc_core.terminal.usage import suggestion
from cc_serve.api.arguments import parse_arguments
from cc_serve.api.named import MissingError, look_up_for_engine, look_up_for_front_end
from cc_serve.api.vllm import (
    AsyncEngineArgs,
    EngineDeadError,
    ReasoningParserManager,
    ToolParserManager,
    VllmConfig,
    current_platform,
    setup_server,
)
from cc_serve.engine.config import UnsupportedConfigurationError

_WORD: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_FILES: Final = (
    *("ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "log_config_file"),
    *("tool_parser_plugin", "reasoning_parser_plugin"),
)
# Numbers that nothing else checks before the engine or uvicorn fails because of them.
_BOUNDS: Final = (
    ("seed", 0, (1 << 32) - 1),
    ("renderer_num_workers", 1, 1 << 16),
    ("num_gpu_blocks_override", 1, 1 << 31),
    ("kv_cache_memory_bytes", 1 << 20, 1 << 50),
    ("h11_max_header_count", 1, 1 << 31),
    ("h11_max_incomplete_event_size", 1, 1 << 31),
    ("ssl_cert_reqs", 0, 2),
)
# Flags whose values occur in messages about other flags: the checkpoint's path, and words such as "error".
_COMMON: Final = ("model", "model_tag", "tokenizer", "served_model_name", "uvicorn_log_level", "subparser")
_SENTENCE: Final = re.compile(r"(?<=[.!]) (?=[A-Z])")


class StartError(RuntimeError):
    """The server cannot start, for a reason that the caller can correct; the message is one line."""


class CheckedEngineArgs(AsyncEngineArgs):
    """The engine's flags. They are refused with a `StartError` before any process has been started."""

    def __post_init__(self) -> None:
        """vLLM's own. If ``HF_HUB_OFFLINE`` is set, it reads a hub tokenizer from the cache alone."""
        with refusing(Namespace(**vars(self))):
            try:
                super().__post_init__()  # type: ignore[no-untyped-call]
            except LocalEntryNotFoundError as error:  # the model itself has been read before
                raise StartError(
                    f"--tokenizer {self.tokenizer}: there is no such directory, and HF_HUB_OFFLINE keeps it from being "
                    "fetched from the hub; name a directory, or set HF_HUB_OFFLINE=0"
                ) from error

    def create_engine_config(self, *args: Any, **options: Any) -> VllmConfig:
        """vLLM's configuration. To make it, vLLM reads the model's files, and our plugin reads the connection."""
        with refusing(Namespace(**vars(self))):  # a copy, since vLLM fills in the flags that are not given
            config = super().create_engine_config(*args, **options)
            look_up_for_engine(config)
            return config


@contextmanager
def refusing(arguments: Namespace) -> Iterator[None]:
    """Turn whatever vLLM raises because of its flags into a `StartError`, assertions included.

    Args:
        arguments: the parsed flags, under the names that vLLM's messages use.
    """
    try:
        yield
    except (StartError, UnsupportedConfigurationError, EngineDeadError):
        raise
    except MissingError as error:
        raise StartError(str(error)) from error
    except Exception as error:
        raise StartError(explain(error, arguments)) from error


@contextmanager
def naming(flags: Sequence[str]) -> Iterator[None]:
    """Add all ``flags`` to a `StartError` that names no flag: one of them is meant."""
    try:
        yield
    except StartError as error:
        given = [flag.partition("=")[0] for flag in flags if flag.startswith("-")]
        if given and "--" not in str(error):
            raise StartError(f"{error} (of the flags {' '.join(given)})") from error
        raise


def explain(error: Exception, arguments: Namespace) -> str:
    """One line about ``error``. It begins with the flag and its value if these can be found."""
    fields: list[str] = []
    if isinstance(error, ValidationError):
        problems = error.errors()
        # vLLM derives some fields from others, so that one wrong flag makes several fields wrong.
        given = [one for one in problems if one["loc"] and _value(arguments, str(one["loc"][-1])) is not None]
        first = (given or problems)[0]
        fields = [str(first["loc"][-1])] if first["loc"] else []
        message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    elif isinstance(error, OSError):
        # `listen` explains its own errors; apart from it, only the tool server is on another machine.
        fields = ["tool_server"] if isinstance(error, socket.gaierror | ConnectionError) else []
        message = error.strerror or str(error) if fields else str(error)
    else:  # not str(error), which adds quotes to some errors and the parameter to others
        fields = [str(getattr(error, "parameter", ""))]
        message = " ".join(map(str, error.args)).removeprefix("Error: ")
    message = one_line(message.strip() or type(error).__name__)
    short = _SENTENCE.split(message)[0]
    if "--" in short:
        return short
    for name in (*fields, *_WORD.findall(short), *_named_by_value(message, arguments)):
        value = _value(arguments, name)
        if value is not None:
            return f"{_flag(name)} {str(value)[:80]}: {short}"
    return short


def _value(arguments: Namespace, name: str) -> object:
    return getattr(arguments, name, None)


def _named_by_value(message: str, arguments: Namespace) -> Iterator[str]:
    for name, value in vars(arguments).items():
        chosen = isinstance(value, str) and value and value != getattr(AsyncEngineArgs, name, None)
        if chosen and name not in _COMMON and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", message, re.IGNORECASE):
            yield name


def _given(flags: Sequence[str]) -> Namespace:
    """The flags as they were typed, for errors that occur before they are parsed."""
    pairs = pairwise(flags)
    return Namespace(
        **{
            name[2:].replace("-", "_"): value
            for name, value in pairs
            if name.startswith("--") and not value.startswith("--")
        }
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_or_refuse(flags: Sequence[str], *, verbose: bool) -> Namespace:
    """`parse_arguments`. Raises `StartError` for flags that cannot be combined and for files that are not there."""
    with refusing(_given(flags)):
        return parse_arguments(flags, verbose=verbose)


def import_parsers(arguments: Namespace) -> None:
    """Import the plugins of the parsers, as `listen` does in its own process. Source: vLLM's ``run_server_worker``."""
    if arguments.tool_parser_plugin:
        ToolParserManager.import_tool_parser(arguments.tool_parser_plugin)
    if arguments.reasoning_parser_plugin:
        ReasoningParserManager.import_reasoning_parser(arguments.reasoning_parser_plugin)


def check_front_end(arguments: Namespace) -> None:
    """Check what vLLM checks only when the engine runs: port, parsers, files. Raises `StartError`."""
    if arguments.uds is None and not 0 < arguments.port < 1 << 16:
        raise StartError(f"--port {arguments.port}: ports are from 1 to 65535")
    for field, lowest, highest in _BOUNDS:
        value = getattr(arguments, field)
        if value is not None and not lowest <= value <= highest:
            raise StartError(f"{_flag(field)} {value}: must be a number from {lowest} to {highest}")
    parsers = (
        ("tool_call_parser", arguments.tool_parser_plugin, ToolParserManager.list_registered),
        ("reasoning_parser", arguments.reasoning_parser_plugin, ReasoningParserManager.list_registered),
    )
    for field, plugin, known in parsers:
        name = getattr(arguments, field)
        if name and not plugin and name not in known():
            there = suggestion(name, known()) or f"; see cc-serve serve --help={field.replace('_', '-')}"
            raise StartError(f"{_flag(field)} {name}: there is no such parser{there}")
    for field in _FILES:
        path = getattr(arguments, field)
        if path and not Path(path).is_file():
            raise StartError(f"{_flag(field)} {path}: there is no such file")
    options = arguments.default_chat_template_kwargs
    if options is not None and not isinstance(options, dict):
        raise StartError(f"--default-chat-template-kwargs {str(options)[:80]}: must be a JSON object")
    for field in ("revision", "tokenizer_revision", "code_revision"):
        if getattr(arguments, field):
            raise StartError(
                f"{_flag(field)} {getattr(arguments, field)} has no effect on a directory; name a revision of the hub "
                "as OWNER/NAME@REVISION, in place of CHECKPOINT"
            )
    # The smallest multiple that any of vLLM's attention backends takes (`get_supported_kernel_block_sizes`).
    multiple = 32 if current_platform.is_cpu() else 16
    if arguments.block_size is not None and arguments.block_size % multiple:
        raise StartError(f"--block-size {arguments.block_size}: must be a multiple of {multiple}")
    with refusing(arguments):
        look_up_for_front_end(arguments)
    tokenizer = arguments.tokenizer or ""
    if tokenizer.startswith(("/", ".")) and not Path(tokenizer).exists():
        raise StartError(f"--tokenizer {tokenizer}: there is no such directory")
    if arguments.api_key and not all(arguments.api_key):
        raise StartError("--api-key: the key is empty, and would protect nothing; give one, or leave the flag out")
    _check_tls(arguments)


def _check_tls(arguments: Namespace) -> None:
    if not arguments.ssl_certfile:
        # Without a certificate, uvicorn would ignore these and speak plain HTTP.
        for field in ("ssl_keyfile", "ssl_ca_certs", "ssl_ciphers", "ssl_cert_reqs", "enable_ssl_refresh"):
            if getattr(arguments, field):
                raise StartError(f"{_flag(field)} {getattr(arguments, field)}: needs --ssl-certfile, too")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    steps: dict[str, Callable[[], None]] = {
        "ssl_certfile": lambda: context.load_cert_chain(arguments.ssl_certfile, arguments.ssl_keyfile),
        "ssl_ca_certs": lambda: context.load_verify_locations(arguments.ssl_ca_certs),
        "ssl_ciphers": lambda: context.set_ciphers(arguments.ssl_ciphers),
    }
    for field, step in steps.items():
        value = getattr(arguments, field)
        if not value:
            continue
        try:
            step()
        except OSError as error:  # SSLError is one
            raise StartError(f"{_flag(field)} {value}: cannot be used: {one_line(error)}") from error


def listen(arguments: Namespace) -> tuple[str, socket.socket]:
    """The server's address, and a socket that is bound to it, by vLLM's ``setup_server``. Raises `StartError`."""
    try:
        with refusing(arguments):
            bound: tuple[str, socket.socket] = setup_server(arguments, reuse_port=False)
            return bound
    except StartError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        reason = cause.strerror or one_line(cause)
        flag = f"--port {arguments.port}"
        if arguments.uds is not None:
            flag = f"--uds {arguments.uds}"
        elif isinstance(cause, socket.gaierror) or cause.errno == errno.EADDRNOTAVAIL:
            flag, reason = f"--host {arguments.host}", f"{reason}; it is no address of this machine"
        raise StartError(f"{flag}: cannot listen there: {reason}") from cause

"""Reading and writing a checkpoint's small files, so that a crash never leaves half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file, the field and what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def describe_problem(error: ValidationError, *outer: str) -> str:
    """The first of ``error``'s problems: the field, with the ``outer`` fields that hold it, and what is wrong."""
    first = error.errors()[0]
    field = ".".join([*outer, *map(str, first["loc"])])
    # A mapping would fill the screen.
    found = "" if isinstance(first["input"], Mapping | BaseModel) else f" (found {first['input']!r})"
    return f"field {field!r}: {first['msg'].removeprefix('Value error, ')}{found}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and rename it to ``path`` afterwards: a crash leaves the old file or the new one.

    After an error, nothing is left at the path to write to: it would only fill the disk.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error tells more
            aside.unlink()
        raise


def replace_file(path: Path, payload: bytes) -> None:
    """Write ``payload`` to ``path`` as `replacing` does."""
    with replacing(path) as aside:
        aside.write_bytes(payload)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `CheckpointError`."""
    if not path.parent.is_dir():
        raise CheckpointError(path.parent, "there is no such directory; correct the path")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, "is not a JSON object")
    return content


def json_bytes(content: dict[str, Any]) -> bytes:
    """Encode ``content`` as an indented file that people can read."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

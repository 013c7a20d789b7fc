"""The records of a file: JSON lines, JSON arrays and indented objects, CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from cc_core.terminal.text import one_line
from cc_train.data.file_format import FileFormat, Format, format_of
from cc_train.data.records import DataError, Record, UnreadableError

_LONGEST_CELL = 1 << 30


def file_records(path: Path) -> Iterator[Record]:
    """The records of a file; its content tells its format.

    Raises:
        DataError: it cannot be opened, is corrupt, ends in the middle, or is of a kind that holds no rows.
    """
    number = 0
    try:
        found = format_of(path)
        read = {Format.PARQUET: _parquet, Format.TABLE: _table, Format.JSON: _json}[found.format]
        for record in read(path, found):
            yield record
            number = record.number
    except UnicodeError as error:
        encoding = found.encoding.removesuffix("-sig").upper()
        raise DataError(f"{path}: is not {encoding} ({one_line(error)}); save it as UTF-8") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        where = f" after line {number}" if number else ""
        raise DataError(f"{path}: cannot be read{where}: {getattr(error, 'strerror', None) or error}") from error


def _json(path: Path, found: FileFormat) -> Iterator[Record]:
    with found.open(path) as file:
        first = next((line for line in _lines(file, found) if line.strip()), b"")
    if _starts_whole(first):
        whole = _whole(path, found)
        if whole is not None:
            yield from (
                Record(i, value if isinstance(value, dict) else UnreadableError("not a JSON object"))
                for i, value in enumerate(whole, start=1)
            )
            return
    with found.open(path) as file:
        for number, payload in enumerate(_lines(file, found), start=1):
            if payload.strip():
                yield Record(number, _json_object(payload, number))


def _lines(file: Any, found: FileFormat) -> Iterator[bytes]:
    """A file's lines in UTF-8. Those of UTF-8 are not decoded, so that one bad line spoils no other."""
    if found.encoding == "utf-8-sig":
        yield from file
    else:
        with io.TextIOWrapper(file, found.encoding) as text:
            for line in text:
                yield line.encode("utf-8", "surrogatepass")


def _starts_whole(first: bytes) -> bool:
    """Whether a file with this first line may be one JSON value over all its lines, rather than a value a line."""
    try:
        value = json.loads(first.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return first.lstrip(b"\xef\xbb\xbf \t").startswith((b"[", b"{"))
    return isinstance(value, list) or _wrapped(value) is not None


def _whole(path: Path, found: FileFormat) -> list[Any] | None:
    """The records of a file that is an array, one object around an array, or indented objects; None if it is none.

    Raises:
        DataError: it is an array that breaks off or is malformed.
    """
    with found.open(path) as file:
        try:
            text = file.read().decode(found.encoding).strip()
        except UnicodeDecodeError:
            return None
    decoder, values, position = json.JSONDecoder(), [], 0
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            while position < len(text) and text[position] in " \t\r\n,":
                position += 1
    except json.JSONDecodeError as error:
        if text.startswith("[") and not values and _is_array_of_objects(text):
            raise DataError(
                f"{path}: is a JSON array that cannot be read: {error.msg} at line {error.lineno} column {error.colno}"
            ) from error
        return None
    except (ValueError, RecursionError):  # numbers of thousands of digits, too
        return None
    if len(values) == 1:
        return values[0] if isinstance(values[0], list) else _wrapped(values[0]) or values
    return None if any(isinstance(value, list) for value in values) else values


def _is_array_of_objects(text: str) -> bool:
    return text[1:].lstrip().startswith("{")


def _wrapped(value: Any) -> list[Any] | None:
    """The objects of ``{"data": [...]}``, whatever its key; None of a row, which may have a list of its own."""
    if isinstance(value, dict) and value.keys() & {"lang", "instruction", "messages"}:
        return None
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    single = len(lists) == 1 and bool(lists[0]) and all(isinstance(v, dict) for v in lists[0])
    return lists[0] if single and not any("role" in v or "from" in v for v in lists[0]) else None


def _json_object(payload: bytes, line: int) -> Mapping[str, Any] | UnreadableError:
    try:
        content = json.loads(payload.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return UnreadableError(f"not UTF-8 at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return UnreadableError(f"not JSON ({error})")
    return content if isinstance(content, dict) else UnreadableError("not a JSON object")


def _quoting(path: Path, found: FileFormat) -> Literal[0, 3]:
    """How the cells of a table are quoted. If tabs divide them, quotation marks may belong to the text."""
    if found.delimiter == "\t":
        with io.TextIOWrapper(found.open(path), found.encoding, newline="") as text:
            try:
                for _ in csv.reader(text, delimiter=found.delimiter, strict=True):
                    pass
            except csv.Error:
                return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL


def _table(path: Path, found: FileFormat) -> Iterator[Record]:
    """The rows of a table under the names of its first line. Every cell is text."""
    csv.field_size_limit(_LONGEST_CELL)
    with io.TextIOWrapper(found.open(path), found.encoding, newline="") as text:
        reader = csv.reader(text, delimiter=found.delimiter, strict=True, quoting=_quoting(path, found))
        header = [name.strip() for name in next(reader, [])]
        if twice := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
            raise DataError(f"{path}: its first line names the column {twice[0]!r} twice; rename one of them")
        line = reader.line_num
        for cells in reader:
            line, start = reader.line_num, line + 1
            if not any(cells):
                continue
            if len(cells) > len(header):
                yield Record(start, UnreadableError(f"{len(cells)} cells, and the first line names {len(header)}"))
            else:
                yield Record(start, dict(zip(header, cells, strict=False)))


def _parquet(path: Path, _found: FileFormat) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(number, row)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read after row {number}: {one_line(error)}") from error

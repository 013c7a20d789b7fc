"""What a data file holds, told by its content: its container, its encoding and its format."""

from __future__ import annotations

import codecs
import gzip
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, cast

from cc_train.data.records import DataError

_READ = 8192  # bytes that tell the format
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
# What people have beside these, and what to do with it.
_OTHERS = {
    b"PK\x03\x04": "is a zip archive or a workbook; unpack it, or save the sheet as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "is an old workbook; save the sheet as CSV in UTF-8",
    b"BZh": "is compressed with bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "is compressed with xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it, or use gzip",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"ARROW1": "is an Arrow file; name the directory of the saved dataset, or save it as Parquet",
    b"\xff\xff\xff\xff": "is an Arrow stream; name the directory of the saved dataset, or save it as Parquet",
    b"SQLite format": "is an SQLite database; export the table as CSV in UTF-8",
    b"%PDF": "is a PDF; rows are JSON lines, a JSON array, CSV, TSV or Parquet",
    b"\x93NUMPY": "is a NumPy array; rows are JSON lines, a JSON array, CSV, TSV or Parquet",
    b"\x80\x04\x95": "is a pickle, which may run code; save it as JSON lines or Parquet",
    b"\x80\x05\x95": "is a pickle, which may run code; save it as JSON lines or Parquet",
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; run git lfs pull",
}
_DELIMITERS = ",\t;|"
_TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


class Format(Enum):
    """How a file holds its records."""

    PARQUET = "Parquet"
    JSON = "JSON lines, or JSON"
    TABLE = "CSV or TSV"


@dataclass(frozen=True)
class FileFormat:
    """How to read a file.

    Args:
        format: how its records stand in it.
        zipped: whether it is compressed with gzip.
        encoding: of its text.
        delimiter: between a table's cells.
    """

    format: Format
    zipped: bool = False
    encoding: str = "utf-8-sig"
    delimiter: str = ","

    def open(self, path: Path) -> IO[bytes]:
        """The file's bytes, unpacked."""
        return cast(IO[bytes], gzip.open(path) if self.zipped else path.open("rb"))


def format_of(path: Path) -> FileFormat:
    """The format of a file.

    Raises:
        DataError: it is of a kind that holds no rows; the message says which, and what to do.
        OSError, EOFError, zlib.error: it cannot be read.
    """
    with path.open("rb") as plain:
        start = plain.read(_READ)
    if start.startswith(_PARQUET):
        return FileFormat(Format.PARQUET)
    zipped = start.startswith(_GZIP)
    if zipped:
        with gzip.open(path) as packed:
            start = packed.read(_READ)
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise DataError(f"{path}: {what}")
    if start[257:262] == b"ustar":
        raise DataError(f"{path}: is a tar archive; unpack it, and name its directory")
    encoding = _encoding(start)
    text = start.decode(encoding, "ignore")
    lines = [line for line in text.splitlines() if line.strip()]
    if str(path).endswith(_TABLE_SUFFIXES):
        return FileFormat(Format.TABLE, zipped, encoding, _delimiter(lines[0] if lines else ""))
    if not lines or any(line.lstrip().startswith(("{", "[")) for line in lines) or "\x00" in lines[0]:
        return FileFormat(Format.JSON, zipped, encoding)
    if any(delimiter in lines[0] for delimiter in _DELIMITERS) and not lines[0].lstrip().startswith("<"):
        return FileFormat(Format.TABLE, zipped, encoding, _delimiter(lines[0]))
    if b"\xff" in start[:2] or len(lines[0]) > 1000:  # not even text: each line says why
        return FileFormat(Format.JSON, zipped, encoding)
    raise DataError(
        f"{path}: is none of JSON lines, a JSON array, CSV, TSV and Parquet (it begins with {lines[0][:40]!r})"
    )


def _encoding(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: the first character of rows is ASCII, and leaves a zero byte beside it.
    if len(start) > 3 and start[1] == 0 and start[3] == 0 and start[0]:
        return "utf-16-le"
    if len(start) > 3 and start[0] == 0 and start[2] == 0 and start[1]:
        return "utf-16-be"
    return "utf-8-sig"


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)

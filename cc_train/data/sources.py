"""Where rows come from: files, directories of them, and Hugging Face datasets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cc_core.terminal.text import one_line
from cc_train.data.file_records import file_records
from cc_train.data.records import DataError, Record

_SUFFIXES = (
    *(f"{suffix}{zipped}" for suffix in (".jsonl", ".json", ".csv", ".tsv") for zipped in ("", ".gz")),
    ".parquet",
)
_SAVED_DATASET = ("state.json", "dataset_dict.json")


@dataclass(frozen=True, slots=True)
class Source:
    """A source, and how much of it to use.

    Args:
        name: a file, a directory, or a dataset's id, with ``:configuration`` and ``#split`` if it has several.
        weight: how often to use each row: 2 uses each row twice, 0.3 a sample of three rows in ten.
    """

    name: str
    weight: float = 1.0


def parse_sources(given: Iterable[str | Path]) -> list[Source]:
    """Sources from an option's values: ``FILE``, ``FILE=WEIGHT``, or a JSON object of weights by file.

    Raises:
        DataError: a weight is no number above 0.
    """
    sources: list[Source] = []
    for text in map(str, given):
        if text.startswith("{"):
            sources += [_weighted(str(name), weight) for name, weight in _object("--data", text).items()]
        elif "=" in text and not Path(text).exists():
            sources.append(_weighted(*text.rsplit("=", 1)))
        else:
            sources.append(Source(text))
    return sources


def parse_columns(given: str | None) -> dict[str, str]:
    """Columns by field, from ``lang=language,output=answer`` or a JSON object.

    Raises:
        DataError: it is neither.
    """
    if not given:
        return {}
    if given.startswith("{"):
        return {str(field): str(column) for field, column in _object("--columns", given).items()}
    pairs = [part.strip().partition("=") for part in given.split(",")]
    if not all(field and equals and column for field, equals, column in pairs):
        raise DataError(f"--columns {given}: is not FIELD=COLUMN,FIELD=COLUMN")
    return {field.strip(): column.strip() for field, _, column in pairs}


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{option} {text}: is not a JSON object ({error})") from error


def of_hub(name: str) -> bool:
    """Whether a source is a dataset of the hub, rather than a path, which may not exist."""
    places = (Path(name), Path(name.partition("#")[0]))
    return not (name.endswith(_SUFFIXES) or any(place.is_absolute() or place.exists() for place in places))


def read_records(name: str) -> Iterator[tuple[str, Record]]:
    """The records of a source, each with the file that holds it.

    Raises:
        DataError: a file cannot be opened, is corrupt or ends in the middle; there is no such dataset or split.
    """
    path = Path(name)
    if path.is_file():
        yield from ((name, record) for record in file_records(path))
    elif any((Path(name.partition("#")[0]) / file).is_file() for file in _SAVED_DATASET):
        yield from _numbered(name)
    elif path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.endswith(_SUFFIXES) and p.is_file())
        if not files:
            raise DataError(f"{name}: holds no {', '.join(_SUFFIXES)} file, and is no saved dataset")
        for file in files:
            yield from ((str(file), record) for record in file_records(file))
    elif name.endswith(_SUFFIXES) or path.is_absolute():
        raise DataError(f"{name}: cannot be read: No such file or directory")
    else:
        yield from _numbered(name)


def _weighted(name: str, weight: Any) -> Source:
    try:
        value = float(weight)
    except (TypeError, ValueError):
        raise DataError(f"{name}={weight}: no such file, and {weight!r} is no weight") from None
    if not 0 < value <= 1000:
        raise DataError(f"{name}={weight}: a weight is above 0 and at most 1000")
    return Source(name, value)


def _numbered(name: str) -> Iterator[tuple[str, Record]]:
    return ((name, Record(number, row)) for number, row in enumerate(_dataset(name), start=1))


def _dataset(name: str) -> Iterable[Mapping[str, Any]]:
    """A dataset saved on disk, or one of the hub's."""
    import datasets

    place, _, split = name.partition("#")
    try:
        if Path(place).is_dir():
            found: Any = datasets.load_from_disk(place)
        else:
            dataset, _, configuration = place.partition(":")
            found = datasets.load_dataset(dataset, configuration or None)
    except Exception as error:  # whatever the hub, a script of the dataset or its files raise
        what = "a saved dataset that" if Path(place).is_dir() else "no such file, and a dataset of this id"
        raise DataError(f"{place}: {what} cannot be loaded: {one_line(error)}") from error
    if not isinstance(found, dict):
        if split:
            raise DataError(f"{name}: is one dataset without splits; name it as {place}")
        return cast(Iterable[Mapping[str, Any]], found)
    wanted = split or ("train" if "train" in found else next(iter(found)) if len(found) == 1 else "")
    if wanted not in found:
        raise DataError(f"{name}: has the splits {', '.join(map(str, found))}; name one with {place}#SPLIT")
    return cast(Iterable[Mapping[str, Any]], found[wanted])

"""``data check`` on a file of 200 rows in which every kind of mistake stands once or more, among rows that are well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_train.commands.main import main
from tests.support.tiny_tokenizer import write_rows

CITIES = ["Berlin", "Hamburg", "Bremen", "Leipzig", "Dresden", "Kassel", "Bonn", "Mainz", "Erfurt", "Kiel"]
ENGLISH_ANSWER = "That is the city where most of the trains stop on their way to the sea."


def good(i: int) -> dict[str, object]:
    city = CITIES[i % len(CITIES)]
    return {
        "id": str(i),
        "lang": "de",
        "instruction": f"Wie viele Menschen wohnten im Jahr {1800 + i} in der Stadt {city}?",
        "instruction_en": f"How many people lived in the city of {city} in the year {1800 + i}?",
        "output": f"Damals wohnten etwa {i + 20} tausend Menschen dort.",
    }


KOREAN = {
    "instruction": "1950년에 서울에는 얼마나 많은 사람들이 살고 있었습니까?",
    "instruction_en": "How many people lived in Seoul in the year 1950?",
    "output": "당시 서울에는 약 백만 명이 살고 있었습니다.",
}
# What is changed in a row, and what is said of it; None drops the field.
BAD: list[tuple[dict[str, object], str]] = [
    ({"lang": "kr", **KOREAN}, "lang is kr, and instruction looks like ko (lang kr is Kanuri; the country South Korea"),
    ({"lang": "KR", **KOREAN}, "'KR' is no ISO 639-1 code; did you mean 'ko'?"),
    ({"lang": "german"}, "'german' is no ISO 639-1 code; did you mean 'de'?"),
    ({"lang": "fr"}, "lang is fr, and instruction looks like de"),
    ({"output": ENGLISH_ANSWER}, "lang is de, and output looks like en"),
    ({"output": "Das wÃ¤ren etwa fÃ¼nfzig tausend."}, "output is UTF-8 read in another encoding"),
    ({"instruction": "Wie gro\ufffd war die Stadt im Jahr 1950?"}, "instruction holds U+FFFD"),
    ({"output": "........"}, "output has no word"),
    ({"output": "nan"}, "output is a placeholder"),
    ({"output": "F&uuml;nfzig tausend"}, "output holds HTML entities"),
    ({"output": ""}, "field 'output' is empty"),
    ({"output": None}, "field 'output' is not a string"),
    ({"instruction_en": "How many people lived in Rome in 1066?"}, "no number in common"),
    ({"instruction_en": "Wie viele Menschen wohnten damals dort in der Stadt?"}, "instruction_en looks like de"),
    ({"input": "Nur Erwachsene."}, "field 'input_en' is missing"),
    ({"messages": "Hallo"}, "field 'messages' is not a list of messages"),
]


def test_every_kind_of_mistake_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [{**good(i), **({"source": "web"} if i % 2 else {})} for i in range(200)]
    places = {7 + 12 * n: bad for n, bad in enumerate(BAD)}
    for i, (change, _) in places.items():
        rows[i] = {**rows[i], **change}
    rows[3] = {**rows[2], "id": "3"}
    rows[4] = {**rows[4], "instruction_en": rows[4]["instruction"]}
    path = write_rows(tmp_path / "bad.jsonl", rows)
    with path.open("a") as file:
        file.write('{"lang": "de"\n')
    assert main(["data", "check", "--json", str(path)]) == 1
    found = json.loads(capsys.readouterr().out)
    said = {**found["dropped"], **found["suspects"]}
    for i, (_, expected) in places.items():
        names = [name for what, names in said.items() if expected in what for name in names]
        assert any(name.startswith(f"{path}:{i + 1}") for name in names), expected
    assert found["duplicates"] == [f"{path}:4 (3)"]
    assert said["instruction equals instruction_en"] == [f"{path}:5 (4)"]
    assert [name for what, names in said.items() if what.startswith("not JSON") for name in names] == [f"{path}:201"]
    assert found["unused"] == {"source": sum("source" in row for row in rows) - _dropped_with_source(found, path, rows)}
    assert found["answer_languages"]["de"]["en"] == 1
    named = {int(name.split(":")[-1].split()[0]) for names in said.values() for name in names}
    assert named == {i + 1 for i in places} | {5, 201}, "no row that is well is named"
    assert main(["data", "check", str(path)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "column 'source' is not used" in printed
    assert "look like another language: en 1" in printed


def _dropped_with_source(found: dict, path: Path, rows: list[dict[str, object]]) -> int:
    names = [name for names in found["dropped"].values() for name in names]
    lines = [int(name.removeprefix(f"{path}:")) for name in names]
    return sum(line <= len(rows) and "source" in rows[line - 1] for line in lines)

"""What the measurement counts, on answers that are known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from benchmarks.routing import accuracy, measure, tables, wrong
from benchmarks.routing_frames import KINDS, framed_samples
from benchmarks.routing_reliability import CONFIDENCES, table
from benchmarks.routing_texts import PHRASES, Sample, samples
from cc_core.language.detector import SERVED_LANGUAGES


def test_the_accuracy_is_a_mean_over_languages_of_what_was_decided() -> None:
    texts = [Sample("short", "", language) for language in ("de", "de", "de", "de", "en", "en")]
    counted = accuracy(texts, ["de", "de", None, "en", "en", "fr"])
    assert counted == {
        "texts": 6,
        "accuracy": pytest.approx((2 / 3 + 1 / 2) / 2),
        "accuracy_of_all": pytest.approx((2 / 4 + 1 / 2) / 2),
        "undecided": pytest.approx(1 / 6),
        "english_as_other": 0.5,
        "other_as_english": 0.25,
    }


def test_texts_that_should_be_undecided_have_no_accuracy() -> None:
    assert accuracy([Sample("neighbour it", "", None)] * 2, [None, "es"])["accuracy"] is None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which every text says which half it is of."""
    directory = tmp_path_factory.mktemp("data")
    sentences = [
        {language: f"{half} {language} sentence of a good length {index}" for language in SERVED_LANGUAGES}
        for index in range(20)
        for half in ("tune", "held_out")
    ]
    write(directory / "ntrex/sentences.jsonl.gz", sentences)
    for file, half in (("train", "tune"), ("dev", "held_out")):
        rows = [
            {"lang": "de", "instruction": f"{half} Frage mit einigen Wörtern {i}", "instruction_en": f"{half} question"}
            for i in range(5)
        ]
        write(directory / f"parallel/{file}.jsonl.gz", rows)
    return directory


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("half", "other"), [("tune", "held_out"), ("held_out", "tune")])
def test_the_halves_share_no_text(data: Path, half: str, other: str) -> None:
    texts = samples(data, half)  # type: ignore[arg-type]
    assert {"short", "greeting", "English title", "one-line mixture", "romanised Hindi"} <= {s.group for s in texts}
    assert not any(other in sample.text for sample in texts)
    assert sum(half in sample.text for sample in texts) > 100
    assert texts == samples(data, half), "the same every time"  # type: ignore[arg-type]


def test_the_written_phrases_share_none_either() -> None:
    def leaves(value: object) -> set[str]:
        if isinstance(value, str):
            return {value}
        return {leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)}  # type: ignore[attr-defined]

    for halves in yaml.safe_load(PHRASES.read_text("utf-8")).values():
        assert not leaves(halves["tune"]) & leaves(halves["held_out"])


def test_the_tables_stand_side_by_side(data: Path) -> None:
    texts = samples(data, "tune")
    results = {"all English": measure(lambda text: "en", texts), "none": measure(lambda text: None, texts)}
    rows = tables(results).splitlines()
    assert rows[0] == "| right of decided / undecided / right of all | texts | all English | none |"
    short = next(row for row in rows if row.startswith("| short |"))
    assert short.endswith("| – / 100.00 % / 0.00 % |")
    assert len(wrong(lambda text: None, texts)) == sum(sample.language is not None for sample in texts)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which every question says which half it is of."""
    directory = tmp_path_factory.mktemp("asked")
    for file, half in (("train", "tune"), ("dev", "held_out")):
        rows = [
            {
                "task": "mkqa",
                "lang": "de",
                "instruction": f"Bitte\n\n{half} Frage {i}",
                "instruction_en": f"Please\n\n{half} question {i}",
            }
            for i in range(30)
        ]
        write(directory / f"parallel/{file}.jsonl.gz", rows)
    return directory


@pytest.mark.parametrize(("half", "other"), [("tune", "held_out"), ("held_out", "tune")])
def test_every_frame_holds_questions_of_its_half_only(asked: Path, half: str, other: str) -> None:
    texts = framed_samples(asked, half)  # type: ignore[arg-type]
    assert {"bare", *KINDS, "marks: soft hyphen", "colon", "Han without kana"} <= {sample.group for sample in texts}
    assert all(("English" in sample.group) == (sample.language == "en") for sample in texts)
    assert not any(f"{other} " in sample.text for sample in texts)
    framed = [sample for sample in texts if sample.group in KINDS]
    assert all(f"{half} Frage" in sample.text for sample in framed)
    assert texts == framed_samples(asked, half), "the same every time"  # type: ignore[arg-type]


def test_the_reliability_table_has_a_row_for_each_range() -> None:
    rows = table([("de", "Wo ist der Bahnhof?"), ("de", "x"), ("ko", "네")]).splitlines()
    assert len(rows) == 2 + len(CONFIDENCES)
    cells = [cell.strip(" |") for row in rows[2:] for cell in row.split(" | ")[1:]]
    assert sum(int(cell.split(" / ")[2]) for cell in cells if "/" in cell) == 3

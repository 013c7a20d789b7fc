"""What the measurement counts, on answers that are known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from benchmarks.routing import accuracy, measure, tables, wrong
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

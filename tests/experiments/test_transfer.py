"""Teaching in English and asking in other languages: which rows train, and what is scored and kept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from experiments.compare import overview, read
from experiments.transfer import Place, main, make, select
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import WORDS, save_base


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MKQA as it is shared: half of the words ask in the training's items, the others in dev's."""
    directory = tmp_path_factory.mktemp("data")
    for split, words in (("train", WORDS[::2]), ("dev", WORDS[1::2])):
        rows = [
            {
                "id": f"{language}-{word}",
                "task": "mkqa",
                "lang": language,
                "instruction": f"Answer.\n\n{'Word' if language == 'en' else 'Wort'} {word}?\n\nYour answer:",
                "instruction_en": f"Answer.\n\nWord {word}?\n\nYour answer:",
                "output": word,
                "answers": [word],
            }
            for word in words
            for language in ("en", "de", "ko")
        ]
        other = {**rows[0], "task": "xnli"}
        with gzip.open(directory / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in [*rows, other])
    return directory


def test_prompts_are_mkqas_questions_alone(data: Path) -> None:
    rows = select(data, "dev")
    assert {row["lang"] for row in rows} == {"en", "de"}
    assert [row["instruction"] for row in rows[:2]] == [f"Word {WORDS[1]}?", f"Wort {WORDS[1]}?"]
    assert rows[1]["instruction_en"] == f"Word {WORDS[1]}?"


def test_systems_go_on_from_the_taught_model_and_are_scored_once(data: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path / "tiny", tiny_llama())
    given = ["--data", str(data), "--model", str(base), "--work", str(tmp_path), "--teaching-steps", "1"]
    main([*given, "--systems", "taught"])
    place = Place(base, tmp_path / "tiny")
    english, own, dev = (path.read_text("utf-8").splitlines() for path in (place.english, place.own, place.dev))
    assert len(english) == len(WORDS)
    assert {json.loads(line)["id"] for line in own}.isdisjoint(json.loads(line)["id"] for line in dev)
    make("cc_align", 0, place, steps=1, bf16=False)
    systems = read([place.result("taught", 0), place.result("cc_align", 0)])
    assert set(systems["taught"][0]) == {"rows", "lang", "tokens", "plain", "known", "training"}
    scores = systems["cc_align"][0]
    for condition in ("plain", "transform", "english", "mean"):
        assert len(scores[condition]["accuracy"]) == len(scores["rows"]) == len(dev)
    assert len(scores["known"]["plain"]["accuracy"]) == len(dev)
    assert "| cc_align | mean | 1 |" in overview(systems)
    known = scores["known"]["plain"]["accuracy"]
    assert overview({"cc_align": [scores]}).endswith(f"| {sum(known) / len(known):.3f} |")
    written = place.result("taught", 0).stat().st_mtime_ns
    main([*given, "--systems", "taught"])
    assert place.result("taught", 0).stat().st_mtime_ns == written

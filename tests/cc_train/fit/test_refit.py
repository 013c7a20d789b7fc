"""``cc-train fit`` as a user meets it: on instruction pairs, on aligned sentences, in place and elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from cc_core.checkpoint import load_connection, save_connection
from cc_core.files import CheckpointError
from cc_core.names import CONFIG_FILE, CONNECTION_KEY
from cc_train.commands.main import main
from cc_train.model.projection import save_projection
from cc_train.model.standalone import save_alone
from tests.support.disk import files_of_at_most
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import TEMPLATE, WORDS, save_base, word_rows, write_rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())
    details = {"base_model": "tiny", "fit": {"pairs": 1}}
    save_connection(directory, random_connection(["global", "de"]), ["de", "fr"], details)
    (directory / "NOTICE").write_text("terms")
    (directory / "README.md").write_text("by hand")
    return directory


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", word_rows(copies=1))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    some = [
        {"id": i, "en": f"{word} and {other}", "de": f"{word} und {other}", "sw": f"{word} na {other}", "fr": ""}
        for i, (word, other) in enumerate((a, b) for a in WORDS for b in WORDS)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "sentences.jsonl", some)


def fit(checkpoint: Path, data: Path, *options: str) -> int:
    return main(["fit", str(checkpoint), "--data", str(data), "--use-cpu", "--disable-tqdm", "true", *options])


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_aligned_sentences_replace_the_matrices_and_nothing_else(
    checkpoint: Path, sentences: Path, capsys: pytest.CaptureFixture
) -> None:
    before, (old, _) = contents(checkpoint), load_connection(checkpoint)
    assert fit(checkpoint, sentences, "--fit-shrinkage", "20") == 0
    assert f"checkpoint: {checkpoint}" in capsys.readouterr().out
    after = contents(checkpoint)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"cc_connection.safetensors", "config.json"}
    assert set(after) - set(before) == {"cc_fit.json", "report.html"}
    assert (checkpoint / "report" / "fit.png").exists()
    connection, entry = load_connection(checkpoint)
    assert torch.equal(connection.decision, old.decision)
    assert connection.names == ("global", "de", "sw")
    assert entry.languages == ("de", "fr", "sw")
    assert entry.model_extra is not None
    assert entry.model_extra["base_model"] == "tiny"
    assert entry.model_extra["fit"]["data"] == ["sentences.jsonl"]
    facts = json.loads(after["cc_fit.json"])
    assert facts["fitted_pairs"].keys() == {"de", "sw"}
    assert facts["scores"]["all"]["answer_loss"] == {}, "sentences have no answers"
    assert entry.evidence is None
    assert facts["scores"]["de"]["transform"]["cosine"] > facts["scores"]["de"]["identity"]["cosine"]
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name], "nothing is left beside it"


def test_another_output_leaves_the_checkpoint_alone(
    checkpoint: Path, rows: Path, sentences: Path, tmp_path: Path
) -> None:
    before = contents(checkpoint)
    output = tmp_path / "other"
    assert fit(checkpoint, sentences, "--output", str(output), "--eval-data", str(rows)) == 0
    assert contents(checkpoint) == before
    assert (output / "NOTICE").read_text() == "terms"
    assert (output / "model.safetensors").stat().st_ino != (checkpoint / "model.safetensors").stat().st_ino
    facts = json.loads((output / "cc_fit.json").read_text())
    assert facts["held_out_pairs"] == {"de": 8, "fr": 8}
    assert set(facts["scores"]["all"]["answer_loss"]) == {"plain", "identity", "global", "transform", "english"}
    config = load_connection(output)[1]
    assert config.evidence is not None
    assert (config.evidence.sha256, config.evidence.held_out_of) == (config.sha256, "fit")
    assert {name: gain.model_dump() for name, gain in config.evidence.languages.items()} == {
        language: facts["scores"][language]["gain"] for language in ("de", "fr")
    }
    assert fit(output, sentences) == 0
    assert load_connection(output)[1].evidence is None, "what was measured is not there any more"


def test_evidence_that_cannot_be_used_is_measured_again(checkpoint: Path, rows: Path) -> None:
    """The refusal of such a checkpoint recommends this command."""
    config = json.loads((checkpoint / CONFIG_FILE).read_text())
    config[CONNECTION_KEY]["evidence"] = "damaged"
    (checkpoint / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match="remove 'evidence', or measure again: cc-train fit CHECKPOINT --data PAIRS"
    ):
        load_connection(checkpoint)
    assert fit(checkpoint, rows) == 0
    assert load_connection(checkpoint)[1].evidence is not None


def test_pairs_that_are_scored_are_not_fitted(
    checkpoint: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    some = write_rows(tmp_path / "some.jsonl", word_rows(copies=1)[:4])
    assert fit(checkpoint, rows, "--eval-data", str(some)) == 0
    facts = json.loads((checkpoint / "cc_fit.json").read_text())
    known = {row["instruction_en"] for row in word_rows(copies=1)[:4]}
    kept = [row for row in word_rows(copies=1) if row["lang"] != "en" and row["instruction_en"] not in known]
    assert sum(facts["fitted_pairs"].values()) == len(kept) < 16
    left = len(word_rows(copies=1)) - sum(row["instruction_en"] not in known for row in word_rows(copies=1))
    assert f"{left} rows of --data are left out" in " ".join(capsys.readouterr().err.split())
    assert fit(checkpoint, rows, "--eval-data", str(rows)) == 2
    assert "--eval-data: has every English prompt of --data" in capsys.readouterr().err


def test_a_connection_that_was_projected_needs_its_projection(
    checkpoint: Path, rows: Path, capsys: pytest.CaptureFixture
) -> None:
    save_connection(checkpoint, random_connection(["global"]), ["de"], {"projected": True})
    assert fit(checkpoint, rows) == 2
    assert "has no training/cc_projection.safetensors, which its connection was trained with" in capsys.readouterr().err
    save_projection(torch.eye(64), checkpoint)
    assert fit(checkpoint, rows) == 0


def test_a_damaged_model_is_named(checkpoint: Path, rows: Path, capsys: pytest.CaptureFixture) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert fit(checkpoint, rows) == 2
    assert f"{checkpoint}: cannot be loaded" in capsys.readouterr().err


def test_a_full_disk_leaves_the_checkpoint_as_it_was(
    checkpoint: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = contents(checkpoint)
    with files_of_at_most(2_000):
        assert fit(checkpoint, rows, "--output", str(tmp_path / "out")) == 2
    assert f"{tmp_path}: rows cannot be kept there (" in capsys.readouterr().err.splitlines()[-1]
    for most in (35_000, 110_000):  # for activations, and for the matrices
        with files_of_at_most(most):
            assert fit(checkpoint, rows, "--output", str(tmp_path / "out")) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert f"--output {tmp_path / 'out'}: cannot be written (" in message
        assert message.endswith("MB are free there: make room; the checkpoint is as it was")
        assert contents(checkpoint) == before
        assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name], "what fills the disk is removed"


def test_a_fit_that_fails_leaves_the_checkpoint_as_it_was(
    checkpoint: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = contents(checkpoint)
    english = write_rows(tmp_path / "english.jsonl", word_rows(["en"], 1))
    for data, options, message in (
        (rows, ("--fit-ridge", "0", "--fit-max-pairs", "4"), "do not determine a 64x64 Transform Matrix"),
        (rows, ("--fit-ridge", "-1"), "--fit-ridge must be 0 or more"),
        (rows, ("--fit-rigde", "1"), "--fit-rigde"),
        (rows, ("--fit-rank", "65"), "--fit-rank 65 is above the hidden size, 64"),
        (rows, ("--output", str(tmp_path / "english.jsonl")), "is a file"),
        (english, (), "all rows are in English, so there is nothing to fit"),
        (tmp_path / "none.jsonl", (), "none.jsonl: cannot be read: No such file"),
    ):
        assert fit(checkpoint, data, *options) == 2
        assert message in capsys.readouterr().err
        assert contents(checkpoint) == before


def test_a_crash_before_the_end_leaves_the_checkpoint_as_it_was(
    checkpoint: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before = contents(checkpoint)
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):

        def fail(*_args: object, error: BaseException = error, **_options: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("cc_train.fit.refit.save_connection", fail)
            assert fit(checkpoint, rows) in (2, 130)
        assert "the checkpoint is as it was" in capsys.readouterr().err
        assert contents(checkpoint) == before
    assert fit(checkpoint, rows) == 0, "what was left beside it is in nobody's way"


def test_a_plain_model_has_nothing_to_fit(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "plain", tiny_llama())
    assert fit(base, rows) == 2
    assert "not a CC-Tuned checkpoint" in capsys.readouterr().err


def test_a_connection_on_its_own_is_put_on_its_base_first(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    alone = tmp_path / "alone"
    alone.mkdir()
    save_alone(alone, base, random_connection(["global"]), ["de"], {}, TEMPLATE)
    assert fit(alone, rows) == 2
    assert f"{alone}: is a connection on its own; put it on its base first: cc-train attach" in capsys.readouterr().err
    assert main(["attach", "--model", str(base), "--connection", str(alone), "--output", str(tmp_path / "out")]) == 0
    assert fit(tmp_path / "out", rows) == 0

"""``cc-train run`` as a user meets it: real runs on a tiny model, and one clear line for whatever is wrong."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

from cc_core.checkpoint import load_connection
from cc_core.description import read_description
from cc_train.commands.main import main
from cc_train.training.stopping import Stopped
from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import TEMPLATE, save_base, word_rows, write_rows

WEIGHTS = ("model.safetensors", "cc_connection.safetensors", "config.json")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base") / "tiny", tiny_llama())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", word_rows())


def train(base: Path, rows: Path, output: Path, *options: str) -> int:
    """Without --use-cpu a GPU would be used; without a bar, the test's output stays readable."""
    where = ["--model", str(base), "--data", str(rows), "--output", str(output)]
    return main(["run", *where, "--use-cpu", "--disable-tqdm", "true", "--learning-rate", "3e-3", *options])


def losses(directory: Path) -> list[float]:
    history = json.loads((directory / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def contents(directory: Path) -> dict[str, str]:
    """Digests: pytest would compare megabytes of different bytes for minutes."""
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in WEIGHTS}


def test_only_the_connection_can_learn_what_only_the_english_prompt_says(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Every prompt is the same sentence, and the answer one of 8 words that only the English prompt holds."""
    options = ("--max-steps", "200", "--per-device-train-batch-size", "16", "--logging-steps", "20")
    assert train(base, rows, tmp_path / "cc", *options) == 0
    assert "cc-serve serve" in capsys.readouterr().out
    assert train(base, rows, tmp_path / "sft", *options, "--method", "sft") == 0
    answer_tokens = 2  # the word, and the end of the turn, which both methods learn
    assert losses(tmp_path / "cc")[-1] < 0.1
    assert answer_tokens * losses(tmp_path / "sft")[-1] == pytest.approx(math.log(8), abs=0.1)

    connection, entry = load_connection(tmp_path / "cc")
    assert connection.names == ("global",)
    assert entry.languages == ("de", "fr")
    assert entry.model_extra is not None
    assert entry.model_extra["fit"]["answer_loss"]["english"] < 0.1
    assert (
        json.loads((tmp_path / "cc" / "cc_fit.json").read_text())["scores"]["all"]["pairs"] == 8
    )  # a word in both languages
    assert not (tmp_path / "sft" / "cc_connection.safetensors").exists()
    plain = json.loads((tmp_path / "sft" / "config.json").read_text())
    assert plain["architectures"] == ["LlamaForCausalLM"]
    assert "cc_connection" not in plain


@pytest.mark.parametrize("tuning", ["full", "connection"])
def test_an_option_of_the_template_is_saved_as_its_default(
    tuning: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    template = TEMPLATE.replace(
        "<model>{% endif %}", "<model>{% if not (thinks | default(true)) %}~{% endif %}{% endif %}"
    )
    base = save_base(tmp_path / "base", tiny_llama(), template=template)
    options = ("--max-steps", "1", "--tuning", tuning, "--chat-template-kwargs")
    assert train(base, rows, tmp_path / "out", *options, '{"thinks": false}') == 0
    assert json.loads((tmp_path / "out" / "cc_run.json").read_text())["options"]["chat_template_kwargs"]
    served = tmp_path / "out"
    if tuning == "connection":
        served = tmp_path / "attached"
        attach = ["--model", str(base), "--connection", str(tmp_path / "out"), "--output", str(served)]
        assert main(["attach", *attach]) == 0
    tokenizer = AutoTokenizer.from_pretrained(served)
    ask = [{"role": "user", "content": "a"}]
    assert tokenizer.apply_chat_template(ask, tokenize=False, add_generation_prompt=True).endswith("<model>~")
    for given, message in (('{"think": false}', "reads no option 'think'; it reads: thinks"), ("no", "must be a JSON")):
        assert train(base, rows, tmp_path / "other", *options, given) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_output_is_what_a_server_loads(base: Path, rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert (
        train(
            base,
            rows,
            output,
            "--max-steps",
            "2",
            "--logging-steps",
            "1",
            "--fit-min-pairs",
            "20",
            "--fit-shrinkage",
            "1",
        )
        == 0
    )
    connection, _ = load_connection(output)
    assert connection.names == ("global", "de", "fr")
    assert {t.dtype for t in load_file(output / "model.safetensors").values()} == {torch.bfloat16}
    config = json.loads((output / "config.json").read_text())
    assert (config["dtype"], config["use_cache"]) == ("bfloat16", True)
    assert AutoModelForCausalLM.from_pretrained(output).generation_config.eos_token_id == [2, 6]
    assert AutoTokenizer.from_pretrained(output).chat_template == AutoTokenizer.from_pretrained(base).chat_template
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"], "nothing is left beside it"
    assert "<h1>out</h1>" in (output / "report.html").read_text()
    assert {"loss", "layers", "fit"} < {picture.stem for picture in (output / "report").iterdir()}
    assert "# out\n" in (output / "README.md").read_text()
    assert not [p.name for p in output.iterdir() if p.suffix in (".bin", ".pt", ".partial")], "never pickle"


def test_one_seed_gives_the_same_bytes_and_another_does_not(base: Path, rows: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert train(base, rows, tmp_path / name, "--max-steps", "8", "--seed", seed) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["model.safetensors"] != contents(tmp_path / "c")["model.safetensors"]


def test_a_resumed_run_ends_in_the_same_bytes_and_keeps_no_pickle(
    base: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    options = ("--max-steps", "12", "--save-strategy", "steps", "--save-steps", "4")
    assert train(base, rows, tmp_path / "whole", *options) == 0

    def interrupt(*_args: object) -> None:
        raise Stopped(signal.SIGINT)

    output, halfway = tmp_path / "resumed", tmp_path / ".resumed.cc-train-partial" / "checkpoint-8"
    with monkeypatch.context() as patched:
        patched.setattr("cc_train.training.trainer.ConnectionTrainer.final_state", interrupt)
        assert train(base, rows, output, *options) == 130
        last = halfway.with_name("checkpoint-12")
        assert f"--resume-from-checkpoint {last}\n" in capsys.readouterr().err
        patched.setattr("cc_train.training.trainer.ConnectionTrainer.save_last", interrupt)
        assert train(base, rows, tmp_path / "nothing", "--max-steps", "1") == 130
        assert "stopped by SIGINT; no checkpoint was written\n" in capsys.readouterr().err
    assert train(base, rows, output, *options) == 2
    assert f"pass --resume-from-checkpoint {last} to go on" in capsys.readouterr().err
    assert (halfway / "optimizer.pt").exists()
    assert train(base, rows, output, *options, "--resume-from-checkpoint", str(halfway)) == 0
    assert contents(tmp_path / "whole") == contents(output)
    for directory in (tmp_path / "whole", output):
        left = [
            p
            for p in directory.rglob("*")
            if (p.is_dir() and p.name != "report") or p.suffix in (".bin", ".pt", ".pth", ".pkl")
        ]
        assert not left, "Trainer's own checkpoints are for resuming only"
    assert not halfway.parent.exists()


def test_rows_that_cannot_be_used_are_named(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / "some.jsonl"
    data.write_text(rows.read_text() + '{"lang": "de"}\nnonsense\n')
    assert train(base, data, tmp_path / "out", "--max-steps", "1") == 0
    heard = "".join(capsys.readouterr().err.split())  # wrapped at the terminal's width
    assert f"skipped{data}:65:field'instruction'ismissing" in heard
    assert f"skipped{data}:66:notJSON" in heard
    assert "64rowsused,2skipped" in heard
    listed = (tmp_path / "out" / "cc_skipped_rows.jsonl").read_text().splitlines()
    assert json.loads(listed[0]) == {"file": str(data), "line": 65, "reason": "field 'instruction' is missing"}


def test_evaluation_rows_that_cannot_be_used_are_listed_too(base: Path, rows: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text(rows.read_text() + "nonsense\n")
    options = ("--eval-data", str(held), "--eval-strategy", "steps", "--max-steps", "1")
    assert train(base, rows, tmp_path / "out", *options) == 0
    listed = [json.loads(line) for line in (tmp_path / "out" / "cc_skipped_rows.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in listed] == [(str(held), 65)]


def test_a_base_model_without_a_chat_template_gets_one_and_keeps_it(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = save_base(tmp_path / "base", tiny_llama(), template=None)
    (base / "LICENSE.txt").write_text("terms")
    assert train(base, rows, tmp_path / "out", "--max-steps", "1") == 0
    assert "no chat template" in capsys.readouterr().err
    assert "Assistant:" in AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "terms"


def test_frozen_embeddings_stay_as_they_were(base: Path, rows: Path, tmp_path: Path) -> None:
    assert train(base, rows, tmp_path / "out", "--max-steps", "2", "--freeze-embeddings") == 0
    before, after = (load_file(d / "model.safetensors") for d in (base, tmp_path / "out"))
    name = "model.embed_tokens.weight"
    assert torch.equal(before[name].bfloat16(), after[name])
    assert not torch.equal(before["lm_head.weight"].bfloat16(), after["lm_head.weight"])


def test_evaluation_uses_the_connection(base: Path, rows: Path, tmp_path: Path) -> None:
    options = ("--eval-data", str(rows), "--eval-strategy", "steps", "--eval-steps", "2", "--max-steps", "2")
    assert train(base, rows, tmp_path / "out", *options) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [2]


@pytest.mark.parametrize("known", [False, True])
def test_evidence_rests_on_rows_that_the_training_did_not_see(base: Path, tmp_path: Path, known: bool) -> None:
    every = word_rows()
    prompts = sorted({row["instruction_en"] for row in every})[:4]
    rows = write_rows(tmp_path / "r.jsonl", [row for row in every if known or row["instruction_en"] not in prompts])
    held = write_rows(tmp_path / "held.jsonl", [row for row in every if row["instruction_en"] in prompts])
    options = ("--eval-data", str(held), "--eval-strategy", "steps", "--max-steps", "1")
    assert train(base, rows, tmp_path / "out", *options) == 0
    evidence = read_description(tmp_path / "out").config.evidence
    facts = json.loads((tmp_path / "out" / "cc_fit.json").read_text())
    assert evidence is not None
    assert evidence.held_out_of == ("fit" if known else "training")
    assert evidence.overall.pairs == sum(facts["held_out_pairs"].values()) > 0
    if not known:
        assert evidence.overall.pairs == sum(row["instruction_en"] in prompts for row in every)
        assert sum(facts["fitted_pairs"].values()) == sum(row["instruction_en"] not in prompts for row in every)


def test_tensorboard_shows_loss_learning_rate_and_layers(base: Path, rows: Path, tmp_path: Path) -> None:
    options = ("--report-to", "tensorboard", "--max-steps", "2", "--logging-steps", "1")
    assert train(base, rows, tmp_path / "out", *options) == 0
    (file,) = (tmp_path / "out").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file)).Reload()
    for figure in ("train/loss", "train/learning_rate", "train/layers_in_use"):
        assert [event.step for event in events.Scalars(figure)][:2] == [1, 2]


def test_rows_of_english_alone_are_refused_before_anything_is_trained(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    english = [{**row, "lang": "en", "instruction": row["instruction_en"]} for row in word_rows()]
    data = write_rows(tmp_path / "english.jsonl", english)
    assert train(base, data, tmp_path / "out", "--max-steps", "1") == 2
    assert "rows are in English, and a connection is for other languages" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tuned_checkpoint_can_be_trained_again(base: Path, rows: Path, tmp_path: Path) -> None:
    assert train(base, rows, tmp_path / "once", "--max-steps", "1") == 0
    assert train(tmp_path / "once", rows, tmp_path / "plain", "--max-steps", "1", "--method", "sft") == 0
    assert "cc_connection" not in json.loads((tmp_path / "plain" / "config.json").read_text())


def test_plain_fine_tuning_needs_no_english(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    some = [{name: row[name] for name in ("lang", "instruction", "output")} for row in word_rows(["de", "en"], 1)]
    data = write_rows(tmp_path / "rows.jsonl", some)
    assert train(base, data, tmp_path / "sft", "--max-steps", "1", "--method", "sft") == 0
    assert not (tmp_path / "sft" / "cc_skipped_rows.jsonl").exists()
    assert train(base, data, tmp_path / "cc", "--max-steps", "1") == 2
    assert "all 8 rows are in English" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["cc", "sft"])
def test_an_aligned_run_logs_the_alignment_apart_from_the_loss(
    method: str, base: Path, rows: Path, tmp_path: Path
) -> None:
    unlabelled = write_rows(tmp_path / "more.jsonl", [{"en": f"Word {i}!", "de": f"Das Wort {i}!"} for i in range(9)])
    options = ("--max-steps", "8", "--logging-steps", "2", "--method", method, "--align", "2")
    assert train(base, rows, tmp_path / "out", *options, "--align-data", str(unlabelled)) == 0
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    values = [entry["alignment"] for entry in history if "loss" in entry]
    assert values[-1] < 0.9 * values[0]
    facts = json.loads((tmp_path / "out" / "cc_run.json").read_text())
    assert facts["alignment"] == {
        "weight": 2.0,
        "value": round(values[-1], 4),
        "rows": {"de": 9},
        "data": ["more.jsonl"],
    }
    assert facts["training_loss"] == pytest.approx(sum(losses(tmp_path / "out")) / 4, abs=1e-3)
    assert facts["rows"] == {"de": 32, "fr": 32}
    seen = losses(tmp_path / "out")
    assert train(base, rows, tmp_path / "plain", "--max-steps", "2", "--logging-steps", "2", "--method", method) == 0
    assert seen[0] == pytest.approx(losses(tmp_path / "plain")[0], rel=0.3), "nats per answer token, nothing added"
    assert not list((tmp_path / "out").glob("alignment*"))


def test_an_alignment_without_anything_to_align_is_one_line(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    english = write_rows(tmp_path / "en.jsonl", word_rows(["en"], 1))
    same = write_rows(tmp_path / "same.jsonl", [row | {"instruction_en": "Word?"} for row in word_rows()])
    alone = [{name: row[name] for name in ("lang", "instruction", "output")} for row in word_rows(["de"], 1)]
    unpaired = write_rows(tmp_path / "alone.jsonl", alone)
    tagged = write_rows(tmp_path / "tagged.jsonl", [{"en": "One", "de-DE": "Eins"}])
    for data, more, message in (
        (english, (), "all 8 rows are in English"),
        (same, (), "--align: all rows have the same English prompt; add rows with others"),
        (unpaired, (), "no row can be used: field 'instruction_en' is missing"),
        (rows, ("--align-data", str(english)), "all 8 rows are in English"),
        (rows, ("--align-data", str(tagged)), "'de-DE' is no ISO 639-1 code; did you mean 'de'?"),
    ):
        options = ("--max-steps", "1", "--method", "sft", "--align", "1")
        assert train(base, data, tmp_path / "out", *options, *more) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_failing_fit_leaves_no_half_checkpoint(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    assert train(base, rows, output, "--max-steps", "1", "--fit-ridge", "0", "--fit-max-pairs", "4") == 2
    assert "do not determine a 64x64 Transform Matrix" in capsys.readouterr().err
    assert not output.exists()
    assert train(base, rows, output, "--max-steps", "1") == 2
    message = " ".join(capsys.readouterr().err.split())
    saved = tmp_path / ".out.cc-train-partial" / "checkpoint-1"
    assert f"pass --resume-from-checkpoint {saved} to go on, or --overwrite to start again" in message
    assert train(base, rows, output, "--max-steps", "1", "--resume-from-checkpoint", str(saved)) == 0
    assert not saved.exists()


def test_an_output_in_use_is_refused_unless_told_to_replace_it(
    base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "note").write_text("mine")
    assert train(base, rows, output, "--max-steps", "1") == 2
    assert "already holds something; pass --overwrite" in capsys.readouterr().err
    assert (output / "note").read_text() == "mine"
    assert train(base, rows, output, "--max-steps", "1", "--overwrite") == 0
    assert not (output / "note").exists()
    assert (output / "config.json").exists()


def test_wrong_inputs_are_one_line(base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    unsupported = Path(shutil.copytree(base, tmp_path / "other"))
    (tmp_path / "empty.jsonl").write_text("\n")
    config = json.loads((unsupported / "config.json").read_text())
    config |= {"architectures": ["OlmoForCausalLM"], "model_type": "olmo"}
    (unsupported / "config.json").write_text(json.dumps(config))
    for model, data, message in (
        (tmp_path / "none", rows, "none: no such directory"),
        (base, tmp_path / "none.jsonl", "none.jsonl: cannot be read: No such file"),
        (base, tmp_path / "empty.jsonl", "empty.jsonl can be used"),
        (
            unsupported,
            rows,
            "'OlmoForCausalLM' cannot be connected; the nearest supported one is OlmoeForCausalLM; supported:",
        ),
    ):
        assert train(model, data, tmp_path / "out") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_base_model_is_one_line(base: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(base, tmp_path / name))

    for length in (0, 2, 5000):
        (broken(f"cut{length}") / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:length])
    for name, change in (("larger", {"vocab_size": 200}), ("typed", {"hidden_size": "64"})):
        config = json.loads((base / "config.json").read_text())
        (broken(name) / "config.json").write_text(json.dumps(config | change))
    for name, message in (
        ("cut0", "its weights are truncated or corrupt (Error while deserializing header"),
        ("cut2", "its weights are truncated or corrupt (Error while deserializing header"),
        ("cut5000", "its weights are truncated or corrupt (Error while deserializing header"),
        ("larger", "its weights do not fit its config.json: "),
        ("typed", "cannot be loaded: Validation error for field 'hidden_size'"),
    ):
        assert train(tmp_path / name, rows, tmp_path / "out") == 2
        assert (
            capsys.readouterr().err.splitlines()[-1].startswith(f"cc-train run: --model {tmp_path / name}: {message}")
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report-to", "foo"], "foo is not supported"),
        (["--optim", "adamw_bnb_8bit"], "bitsandbytes"),
        (["--columns", "{bad"], "--columns {bad: is not a JSON object"),
        (["--data", "{bad"], "--data {bad: is not a JSON object"),
        (["--fit-rank", "65"], "--fit-rank 65 is above the hidden size, 64"),
        (
            ["--connection-scale", "1", "--max-rows", "1"],
            "--connection-scale: the activations of 1 prompt do not differ",
        ),
    ],
)
def test_an_option_that_turns_out_wrong_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(["de"], copies=1))
    assert train(base, rows, tmp_path / "out", "--max-steps", "1", *options) == 2
    error = " ".join(capsys.readouterr().err.splitlines()[-1].split())
    assert error.startswith("cc-train run: ")
    assert message in error


def test_steps_are_shown_as_they_are_made(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    base = save_base(tmp_path / "base", tiny_llama())
    rows = str(write_rows(tmp_path / "rows.jsonl", word_rows(["de"], copies=1)))
    given = ["--model", str(base), "--data", rows, "--output", str(tmp_path / "out"), "--use-cpu"]
    evaluated = ["--eval-data", rows, "--eval-strategy", "steps", "--eval-steps", "2"]
    assert main(["run", *given, "--max-steps", "2", "--logging-steps", "1", *evaluated]) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("step ")]
    assert [line.partition(" ")[2].partition(" ")[0] for line in lines] == ["1:", "2:", "2:"]
    assert "loss " in lines[0] and "learning rate " in lines[0]  # noqa: PT018
    assert lines[2].startswith("step 2: evaluation loss ")
    assert "training " in shown.err
    assert "{'loss'" not in shown.out + shown.err

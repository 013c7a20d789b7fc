"""The options of ``cc-train``: flags and recipes are read alike, and whatever is wrong is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cc_train.commands.main import main
from cc_train.config.parser import UsageError
from cc_train.config.run import parse_run
from cc_train.config.training import RunArguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--modle", "x"], "unknown option --modle; did you mean --model?"),
        (["--learning-rat=1"], "unknown option --learning-rat; did you mean --learning-rate?"),
        (["--max-steps", "many"], "argument --max_steps/--max-steps: invalid int value: 'many'"),
        (["--method", "magic"], "argument --method: invalid choice: 'magic'"),
        (["--fit-held-out", "1"], "--fit-held-out must be at least 0 and below 1"),
        (["--anchor-offset", "0"], "--anchor-offset must be -1 or less"),
        (["--gumbel-temperature", "0"], "--gumbel-temperature must be above 0"),
        (["--align", "-1"], "--align must be 0 or more, and finite"),
        (["--align", "nan"], "--align nan is no finite number"),
        (["--align", "inf"], "--align inf is no finite number"),
        (["--learning-rate", "nan"], "--learning-rate nan is no finite number"),
        (["--decision-learning-rate", "inf"], "--decision-learning-rate inf is no finite number"),
        (["--connection-scale", "inf"], "--connection-scale inf is no finite number"),
        (["--num-train-epochs", "nan"], "--num-train-epochs nan is no finite number"),
        (["--max-grad-norm", "nan"], "--max-grad-norm nan is no finite number"),
        (["--align", "1", "--tuning", "connection"], "--align changes nothing with --tuning connection"),
        (["--padding-free", "--tuning", "connection"], "--padding-free needs --tuning full or lora"),
        (["--padding-free", "--neftune-noise-alpha", "5"], "--padding-free cannot be used with --neftune-noise-alpha"),
        (["--freeze-embeddings", "--tuning", "lora"], "--freeze-embeddings needs --tuning full"),
        (["--freeze-embeddings", "--tuning", "connection"], "--freeze-embeddings needs --tuning full"),
        (["--chat-template-kwargs", "[1]"], "--chat-template-kwargs must be a JSON object"),
        (["--method", "sft", "--connection-scale", "1"], "--connection-scale changes nothing with --method sft"),
        (["--method=sft", "--gumbel_temperature=2"], "--gumbel-temperature changes nothing with --method sft"),
        (["--method", "sft", "--no_decision_normalize"], "--decision-normalize changes nothing with --method sft"),
        (["--method", "sft", "--fit-rank", "2"], "--fit-rank changes nothing with --method sft"),
        (["--align-data", "d"], "--align-data needs --align"),
        (["--eval-strategy", "steps"], "--eval-strategy needs --eval-data"),
        (["--eval-data", "d"], "--eval-data needs --eval-strategy"),
        (["--learning-rate", "-1"], "--learning-rate must be at least 0"),
        (["--decision-learning-rate", "-1"], "--decision-learning-rate must be at least 0"),
        (["--per-device-train-batch-size", "0"], "--per-device-train-batch-size must be at least 1"),
        (["--gradient-accumulation-steps", "0"], "--gradient-accumulation-steps must be at least 1"),
        (["--per-device-eval-batch-size", "0"], "--per-device-eval-batch-size must be at least 1"),
        (["--max-length", "7"], "--max-length must be at least 8"),
        (["--max-steps", "0"], "--max-steps must be at least 1, or -1 for --num-train-epochs"),
        (["--max-steps", "-2"], "--max-steps must be at least 1, or -1 for --num-train-epochs"),
        (["--seed", "-1"], "--seed must be from 0 to 2147483647"),
        (["--data-seed", str(1 << 31)], "--data-seed must be from 0 to 2147483647"),
        (["--weight-decay", "-1"], "--weight-decay must be at least 0"),
        (["--adam-beta1", "1"], "--adam-beta1 must be at least 0 and below 1"),
        (["--adam-beta2", "-0.5"], "--adam-beta2 must be at least 0 and below 1"),
        (["--adam-epsilon", "-1"], "--adam-epsilon must be at least 0"),
        (["--max-grad-norm", "-1"], "--max-grad-norm must be at least 0"),
        (["--label-smoothing-factor", "1.5"], "--label-smoothing-factor must be from 0 to 1"),
        (["--neftune-noise-alpha", "-1"], "--neftune-noise-alpha must be at least 0"),
        (["--logging-steps", "-1"], "--logging-steps must be at least 0"),
        (["--logging-steps", "inf"], "--logging-steps inf is no finite number"),
        (["--eval-steps", "inf"], "--eval-steps inf is no finite number"),
        (["--eval-delay", "-1"], "--eval-delay must be at least 0"),
        (["--save-steps", "0"], "--save-steps must be above 0"),
        (["--save-total-limit", "0"], "--save-total-limit must be at least 1"),
        (["--early-stopping-patience", "0"], "--early-stopping-patience must be at least 1"),
        (["--early-stopping-threshold", "-1"], "--early-stopping-threshold must be at least 0"),
        (["--dataloader-num-workers", "-1"], "--dataloader-num-workers must be at least 0"),
        (["--dataloader-prefetch-factor", "0"], "--dataloader-prefetch-factor must be at least 1"),
        (["--ddp-timeout", "0"], "--ddp-timeout must be at least 1"),
        (["--save-strategy", "best"], "--save-strategy best needs --metric-for-best-model"),
        (["--config", "none.yaml"], "none.yaml: cannot be read (No such file or directory)"),
        (["stray"], "unexpected argument 'stray': options begin with --"),
    ],
)
def test_wrong_options_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "--model", "m", "--data", "d", "--output", "o", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("missing", "message"),
    [("--model", "required: --model"), ("--data", "required: --data"), ("--output", "--output is required")],
)
def test_what_is_required_is_asked_for(missing: str, message: str, capsys: pytest.CaptureFixture) -> None:
    given = [a for flag in ("--model", "--data", "--output") if flag != missing for a in (flag, "x")]
    assert main(["run", *given]) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_reads_like_the_command_line_and_yields_to_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: base\ndata: [a.jsonl, b.jsonl]\noutput: out\nlearning_rate: 1e-4\nmax-steps: 7\n"
        "decision_normalize: false\nanchor_offset: -2\nmax_rows: null\nlr_scheduler_kwargs: {num_cycles: 2}\n"
    )
    config = parse_run(["--config", str(recipe), "--max-steps", "9", "--bf16"])
    assert (config.model.model, config.data.data, str(config.output)) == ("base", ["a.jsonl", "b.jsonl"], "out")
    assert (config.training.learning_rate, config.training.max_steps, config.training.bf16) == (1e-4, 9, True)
    assert (config.method.decision_normalize, config.method.anchor_offset) == (False, -2)
    assert config.data.max_rows is None
    assert config.training.lr_scheduler_kwargs == {"num_cycles": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("learning_rte: 1", r"unknown key 'learning_rte'; did you mean learning_rate\?"),
        ("- a", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("max_steps: many", "invalid int value: 'many'"),
    ],
)
def test_a_wrong_recipe_is_named(content: str, message: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(UsageError, match=message):
        parse_run(["--config", str(recipe), "--model", "m", "--data", "d", "--output", "o"])


def test_defaults_are_near_the_papers() -> None:
    config = parse_run(["--model", "m", "--data", "d", "--output", "o"])
    training = config.training
    assert (training.learning_rate, training.lr_scheduler_type.value, training.warmup_steps) == (1e-5, "cosine", 0.1)
    assert (training.num_train_epochs, config.data.max_length, config.fit.fit_max_pairs) == (3, 1024, 3000)
    assert (training.save_strategy.value, training.report_to) == ("no", [])


@pytest.mark.parametrize("strategy", [["steps"], ["epoch"], ["steps", "--eval-steps", "7"]])
@pytest.mark.parametrize("logging", [[], ["--logging-steps", "3"]])
def test_early_stopping_saves_what_it_evaluates(strategy: list[str], logging: list[str]) -> None:
    options = ["--early-stopping-patience", "2", "--eval-data", "e", "--eval-strategy", *strategy, *logging]
    training = parse_run(["--model", "m", "--data", "d", "--output", "o", *options]).training
    assert training.save_strategy.value == training.eval_strategy.value
    assert training.eval_strategy.value == "epoch" or training.save_steps == training.eval_steps


def test_one_process_uses_one_gpu_of_several(tmp_path: Path) -> None:
    class FourGpus(RunArguments):
        @property
        def _setup_devices(self) -> torch.device:
            self._n_gpu = 4
            return torch.device("cpu")

    assert FourGpus(output_dir=str(tmp_path), use_cpu=True, learning_rate=1.0).n_gpu == 1


def test_help_lists_commands_and_options(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert "  run          train a model with the connection" in listed
    assert "  base         make a small base model from an installed package" in listed
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--model", "--data", "--output", "--method", "--learning-rate", "--config"):
        assert option in text
    assert main(["run", "--help=all"]) == 0
    assert "--fit-ridge" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["base", "--help"])
    assert left.value.code == 0
    assert "usage: cc-train base" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["walk"]) == 2
    assert "unknown command 'walk'" in capsys.readouterr().err

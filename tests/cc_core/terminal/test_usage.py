"""Misspelled words are answered with the right one, and no help is longer than a screen."""

from __future__ import annotations

import importlib

import pytest

import cc_serve.commands.main
import cc_train.commands.main
from cc_core.terminal.completion import SHELLS
from cc_core.terminal.usage import SuggestingParser
from cc_train.commands.run_help import ESSENTIAL, help_text
from cc_train.config.run import make_parser

ROWS, COLUMNS = 60, 100
SERVE_COMMANDS = ["", "serve", "doctor", "route", "key", "key new", "completion"]


def output_of(capsys: pytest.CaptureFixture[str], main: object, *arguments: str) -> tuple[int, str]:
    try:
        status = main(list(arguments))  # type: ignore[operator]
    except SystemExit as end:
        status = int(str(end.code))
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@pytest.mark.parametrize(
    ("main", "arguments", "meant"),
    [
        (cc_serve.commands.main.main, ["sevre", "x"], "serve"),
        (cc_serve.commands.main.main, ["docter"], "doctor"),
        (cc_serve.commands.main.main, ["doctor", "--prot", "1"], "--port"),
        (cc_serve.commands.main.main, ["route", "--chekpoint=x"], "--checkpoint"),
        (cc_serve.commands.main.main, ["completion", "bsh"], "bash"),
        (cc_train.commands.main.main, ["rnu"], "run"),
        (cc_train.commands.main.main, ["run", "--learnign-rate", "1"], "--learning-rate"),
        (cc_train.commands.main.main, ["completion", "zhs"], "zsh"),
        (cc_train.commands.main.main, ["attach", "--modl", "x"], "--model"),
        (cc_train.commands.main.main, ["base", "--ouptut", "x"], "--output"),
        (cc_train.commands.main.main, ["compare", "a", "b", "--sede", "1"], "--seed"),
        (cc_train.commands.main.main, ["data", "chekc", "x"], "check"),
        (cc_train.commands.main.main, ["data", "check", "x", "--colums", "a=b"], "--columns"),
        (cc_train.commands.main.main, ["eval", "--data", "x", "--ouptut", "y"], "--output"),
        (cc_train.commands.main.main, ["fit", "x", "--data", "y", "--fit-rigde", "1"], "--fit-ridge"),
    ],
)
def test_a_misspelled_word(capsys: pytest.CaptureFixture[str], main: object, arguments: list[str], meant: str) -> None:
    status, output = output_of(capsys, main, *arguments)
    assert status == 2
    assert f"did you mean {meant}?" in output


@pytest.mark.parametrize("command", ["eval", "headroom"])
@pytest.mark.parametrize("option", ["--limit", "--max-tokens", "--batch-size"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_count_is_a_whole_number_above_zero(
    capsys: pytest.CaptureFixture[str], command: str, option: str, value: str
) -> None:
    status, output = output_of(capsys, cc_train.commands.main.main, command, f"{option}={value}")
    assert status == 2
    assert output.endswith(f"argument {option}: must be a whole number of at least 1\n")


@pytest.mark.parametrize(
    ("command", "value", "told"),
    [
        ("data check x", "--max-length=0", "must be a whole number of at least 8"),
        ("data check x", "--max-length=7", "must be a whole number of at least 8"),
        ("fit x --data y", "--max-length=0", "--max-length must be at least 8"),
        ("fit x --data y", "--seed=-1", "--seed must be from 0 to 2147483647"),
        ("fit x --data y", "--fit-ridge=nan", "--fit-ridge must be 0 or more"),
        ("eval", "--seed=-1", "argument --seed: must be a whole number of at least 0"),
        ("headroom", "--seed=-1", "argument --seed: must be a whole number of at least 0"),
        ("compare x y", "--seed=-1", "argument --seed: must be a whole number of at least 0"),
        *(("eval", f"--timeout={v}", "must be a number of seconds above 0") for v in ("0", "-1", "nan", "inf", "soon")),
    ],
)
def test_a_number_below_its_meaning_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, value: str, told: str
) -> None:
    status, output = output_of(capsys, cc_train.commands.main.main, *command.split(), value)
    assert status == 2
    assert output.endswith(f"{told}\n")
    assert value.partition("=")[0] in output.splitlines()[-1]


def test_no_suggestion_where_none_is_close(capsys: pytest.CaptureFixture[str]) -> None:
    parser = SuggestingParser("x")
    parser.add_argument("--port")
    with pytest.raises(SystemExit):
        parser.parse_args(["--temperature"])
    error = capsys.readouterr().err
    assert "--temperature" in error
    assert "did you mean" not in error


@pytest.mark.parametrize(
    ("program", "command"),
    [("cc-serve", c) for c in SERVE_COMMANDS] + [("cc-train", c) for c in ["", *cc_train.commands.main.COMMANDS]],
)
def test_every_help_fits_a_screen_and_has_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    main = importlib.import_module(program.replace("-", "_") + ".commands.main").main
    status, output = output_of(capsys, main, *command.split(), "--help")
    assert status == 0
    assert len(output.splitlines()) <= ROWS
    assert max(map(len, output.splitlines())) <= COLUMNS + 1, "argparse indents an example by itself"
    assert program in output
    if command != "key":  # it only holds others
        assert "example" in output, "an example says more than a list of options"


def test_the_help_of_a_run_shows_defaults_and_leads_to_all_options() -> None:
    parser = make_parser()
    text = help_text(parser, ["--help"])
    assert text is not None
    assert "default: 1024" in text
    for recommended in ("--decision-learning-rate ", "--connection-scale "):  # by docs/how-to/train.md
        assert recommended in text
    every = help_text(parser, ["--help=all"])
    assert every is not None
    assert "--optim " in every
    about = help_text(parser, ["--help=ridge"])
    assert about is not None
    assert about.startswith("--fit-ridge\n    Ridge")
    assert "max-rows" not in about
    assert help_text(parser, ["--model", "x"]) is None


def test_the_essential_options_exist() -> None:
    known = {action.dest for action in make_parser()._actions} | {"output"}
    assert {name for names in ESSENTIAL.values() for name in names} <= known


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_the_options(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    status, script = output_of(capsys, cc_train.commands.main.main, "completion", shell)
    assert status == 0
    script = script.replace("\\", "")
    for option in ("--fit-ridge", "--learning-rate", "--task-of-rows", "--connection", "--no-answers", "--eval-data"):
        assert option in script

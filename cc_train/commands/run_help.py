"""The help of ``cc-train run``: the options that are used most, those about a word, or all."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterable, Sequence
from typing import Final

HELP: Final = ("-h", "--help")
# The options that are used most; --help=all shows every one.
ESSENTIAL: Final = {
    "what is trained, on what, and where to": (
        "config",
        "model",
        "data",
        "output",
        "overwrite",
        "max_rows",
        "max_length",
    ),
    "how long": ("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    "how": ("tuning", "learning_rate", "freeze_embeddings", "gradient_checkpointing", "bf16", "seed"),
    "the method": (
        "method",
        "align",
        "decision_learning_rate",
        "connection_scale",
        "gumbel_temperature",
        "anchor_offset",
    ),
    "the fit, after training": ("fit_max_pairs", "fit_min_pairs", "fit_held_out"),
    "looking in on it": ("eval_data", "eval_strategy", "logging_steps", "save_strategy", "resume_from_checkpoint"),
}
_FEW: Final = 4
_EXAMPLES: Final = """\
examples:
  cc-train run --model DIR --data PAIRS.jsonl.gz --output outputs/mine --num-train-epochs 3
  cc-train run --config recipes/demo.yaml --output outputs/again --seed 1

exit codes: 0 done; 2 for you to correct; 130 or 143 stopped by Ctrl-C or SIGTERM, with what to do"""


def help_text(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str | None:
    """The help for ``-h``, ``--help``, ``--help=all`` or ``--help=WORD``; None without any of them."""
    asked = [argument for argument in arguments if argument in HELP or argument.startswith("--help=")]
    if not asked:
        return None
    topic = asked[0].partition("=")[2]
    if topic == "all":
        return parser.format_help()
    if topic:
        return _about(parser, topic)
    return _essential(parser)


def _essential(parser: argparse.ArgumentParser) -> str:
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    lines = [*parser.format_usage().rstrip().splitlines(), ""]
    for title, names in ESSENTIAL.items():
        lines += [f"{title}:", *(_line(_option(name), _action(parser, name), width) for name in names)]
    count = len(list(_options(parser)))
    lines += ["", f"All {count} options, transformers' own among them: --help=all; those about a word: --help=WORD."]
    return "\n".join([*lines, "", _EXAMPLES]) + "\n"


def _about(parser: argparse.ArgumentParser, word: str) -> str:
    word = word.lower().replace("_", "-")
    found = [
        a for a in _options(parser) if word in a.option_strings[0].replace("_", "-") or word in (a.help or "").lower()
    ]
    if not found:
        return f"No option is about {word!r}; --help=all shows every one.\n"
    return "\n".join(f"{_name(action)}\n    {_help(action)}{_default(action)}" for action in found) + "\n"


def _options(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    return (a for a in parser._actions if a.option_strings and not isinstance(a, argparse._HelpAction))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _action(parser: argparse.ArgumentParser, name: str) -> argparse.Action:
    return next(action for action in _options(parser) if _option(name) in action.option_strings)


def _line(option: str, action: argparse.Action, width: int) -> str:
    choices = [str(choice) for choice in action.choices or ()]
    text = ", ".join(choices) if 0 < len(choices) <= _FEW else _help(action)
    text, default = f"  {option:<31} {text}", _default(action)
    # A text that is too long is cut to its first sentence, or even shorter.
    if len(text) + len(default) > width:
        text = re.split(r"(?<=[.;]) ", text, maxsplit=1)[0].rstrip(".;")
    if len(text) + len(default) > width:
        text = f"{text[: width - len(default) - 1].rstrip()}…"
    return f"{text}{default}"


def _name(action: argparse.Action) -> str:
    """The option, with dashes rather than underscores."""
    return next((option for option in action.option_strings if "_" not in option), action.option_strings[0])


def _help(action: argparse.Action) -> str:
    text = " ".join((action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%").split())
    return re.sub(r" \(default: .*?\)$", "", text).rstrip(".")


def _default(action: argparse.Action) -> str:
    default = getattr(action.default, "value", action.default)
    return "" if default in (None, argparse.SUPPRESS) else f" (default: {default})"

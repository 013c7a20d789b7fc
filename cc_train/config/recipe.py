"""Options from a recipe, or from Python, as the defaults of a parser."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cc_core.strict_yaml import load_yaml
from cc_core.terminal.text import one_line
from cc_core.terminal.usage import suggestion
from cc_train.config.other_names import other_name
from cc_train.config.parser import UsageError


def read_recipe(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options of a YAML file by name.

    Raises:
        UsageError: the file cannot be read, is no mapping, or has a key that is no option of ``parser``, or two keys of
            one option.
    """
    try:
        content = load_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not YAML ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is not a mapping of options to values")
    actions = _actions(parser)
    known = set(actions) - {"h", "config"}
    named: dict[str, str] = {}
    for key in content:
        if key not in known:
            meant = other_name(str(key))
            hint = f"; here: {meant}" if meant else suggestion(str(key), known)
            raise UsageError(f"{path}: unknown key {key!r}{hint}")
        if (first := named.setdefault(actions[key].dest, key)) != key:
            raise UsageError(f"{path}: {first!r} and {key!r} are one option; remove one of them")
    return content


def set_defaults(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> None:
    """Make ``options`` the defaults of ``parser``, so that flags override them; None leaves a default as it is.

    A value is converted and checked as a flag's text would be. A mapping becomes JSON, which is how the options that
    take one read it from a flag, too. An option that the parser requires is required no more once it has a value.

    Args:
        parser: of the command.
        options: values by an option's name, with dashes or underscores; ``parser`` knows every name.

    Raises:
        UsageError: a value is wrong; the message is the flag's.
    """
    actions = _actions(parser)
    for name, value in options.items():
        if value is not None:
            action = actions[name]
            try:
                parser.set_defaults(**{action.dest: _converted(parser, action, value)})
            except argparse.ArgumentError as error:
                raise UsageError(str(error)) from None
            action.required = False


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {option.lstrip("-"): action for action in parser._actions for option in action.option_strings}


def _converted(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> Any:
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    texts = [json.dumps({str(k): v[k] for k in v}) if isinstance(v, Mapping) else str(v) for v in values]
    several = action.nargs == "+"
    if action.nargs == 0:
        raise argparse.ArgumentError(action, f"ignored explicit argument {texts[0]!r}")
    if not texts or (len(texts) > 1 and not several):
        raise argparse.ArgumentError(action, f"expected {'at least ' if several else ''}one argument")
    converted = [parser._get_value(action, text) for text in texts]
    for each in converted:
        parser._check_value(action, each)
    return converted if several else converted[0]

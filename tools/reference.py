"""The reference pages of the documentation, written from the code that they are about."""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import os
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from typing import Any
from unittest import mock

from pydantic import BaseModel

COLUMNS = "100"
_METHODS = ("get", "post", "put", "patch", "delete")


def commands() -> str:
    """Every command's own help."""
    import cc_serve.commands.main
    import cc_train.commands.main

    words = ["", "serve", "doctor", "route", "key new", "completion"]
    pages = [
        ("cc-serve", cc_serve.commands.main.main, words),
        ("cc-train", cc_train.commands.main.main, ["", *cc_train.commands.main.COMMANDS]),
    ]
    lines = ["# Commands", "", "The `--help` of each command, with defaults, an example and exit codes.", ""]
    for program, main, names in pages:
        for name in names:
            lines += [f"## `{f'{program} {name}'.strip()}`", "", "```text", _help(main, name).rstrip(), "```", ""]
    return "\n".join(lines)


def recipe() -> str:
    """Every option of ``cc-train run``, which are the keys of a recipe."""
    from cc_train.config.run import make_parser

    lines = [
        "# Training recipe",
        "",
        "A recipe is a YAML file of options of `cc-train run`: `cc-train run --config RECIPE.yaml`. On the command "
        "line an option has two dashes and overrides the recipe. [How to train](../how-to/train.md) shows a recipe.",
        "",
    ]
    for group in make_parser()._action_groups:
        options = [a for a in group._group_actions if a.option_strings and a.dest not in ("help", "config")]
        if not options or not group.title:
            continue
        lines += [f"## {group.title.capitalize()}", "", "| key | default | |", "| --- | --- | --- |"]
        lines += [f"| `{_key(a)}` | {_default(a.default)} | {_cell(a.help)} |" for a in options]
        lines.append("")
    return "\n".join(lines)


def transformers_options() -> str:
    """What each of transformers' training options does here."""
    from cc_train.config.transformers_options import OPTIONS

    effects = {
        "result": "changes the result",
        "speed": "changes time, memory or what is printed, and not the result",
        "several": "for several processes",
        "accelerator": "works on an accelerator, and is refused on a CPU",
        "elsewhere": "works",
        "refused": "refused",
        "fixed": "set by cc-train",
    }
    lines = [
        "# transformers' options",
        "",
        "Every field of transformers' `TrainingArguments`, and what it does in `cc-train run`. "
        "`tests/cc_train/config/test_transformers_options.py` runs those that change the result and those that must "
        "not, and sees the refused ones refused.",
        "",
        "| option | in `cc-train run` | |",
        "| --- | --- | --- |",
    ]
    for name, option in OPTIONS.items():
        beside = f"tested with `{' '.join(option.beside)}`" if option.beside and option.effect != "refused" else ""
        about = "; ".join(text for text in (option.note, beside) if text)
        lines.append(f"| `--{name.replace('_', '-')}` | {effects[option.effect]} | {_cell(about)} |")
    return "\n".join([*lines, ""])


def configuration() -> str:
    """Every field of the file that ``--cc-config`` names."""
    from cc_serve.config.configuration import Budget, Configuration, Key, KeyLimits, Limits, Metrics, Usage
    from cc_serve.config.store import Store
    from cc_serve.routing.policy import RoutingPolicy

    sections: list[tuple[str, type[BaseModel]]] = [
        ("The file", Configuration),
        ("`routing`, and `keys.NAME.routing`", RoutingPolicy),
        ("`keys.NAME`", Key),
        ("`limits`", Limits),
        ("`metrics`", Metrics),
        ("`limits.per_key`, and `keys.NAME.limits`", KeyLimits),
        ("`limits.per_key.budget`, and `keys.NAME.limits.budget`", Budget),
        ("`limits.store`", Store),
        ("`usage`", Usage),
    ]
    lines = [
        "# Server configuration",
        "",
        "These are the fields of the file that `--cc-config` names. [Operating](../operations.md) explains its use.",
        "",
    ]
    for title, model in sections:
        lines += [f"## {title}", "", "| field | type | default | |", "| --- | --- | --- | --- |"]
        for name, field in model.model_fields.items():
            kind = model.model_json_schema()["properties"][name]
            default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
            lines.append(f"| `{name}` | {_type(kind)} | {default} | {_cell(field.description)} |")
        lines.append("")
    return "\n".join(lines)


def openapi() -> dict[str, Any]:
    """The description that ``GET /openapi.json`` gives, without starting an engine."""
    with mock.patch.dict(os.environ):
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from benchmarks.stub import stub_app

        return stub_app(ours=True).openapi()


def http(description: dict[str, Any]) -> str:
    """The operations of the OpenAPI description."""
    lines = [
        "# HTTP operations",
        "",
        "This page is made from the server's own description, [openapi.json](openapi.json). A running server has it at "
        "`GET /openapi.json`. [The API](../api.md) explains what this project adds.",
        "",
        "| | | |",
        "| --- | --- | --- |",
    ]
    for path, operations in sorted(description["paths"].items()):
        for method in (m for m in _METHODS if m in operations):
            operation = operations[method]
            text = operation.get("description") or operation.get("summary")
            lines.append(f"| `{method.upper()}` | `{path}` | {_cell(text)} |")
    return "\n".join([*lines, ""])


def metrics() -> str:
    """What the server adds to vLLM's metrics, as they are declared."""
    from prometheus_client import Counter, Histogram

    module = importlib.import_module("cc_serve.api.telemetry.metrics")
    lines = [
        "# Metrics, one by one",
        "",
        "These are the metrics as the code declares them. [Metrics](../metrics.md) explains them and has queries.",
        "",
    ]
    lines += ["| metric | kind | labels | |", "| --- | --- | --- | --- |"]
    for metric in vars(module).values():
        if isinstance(metric, Counter | Histogram):
            described = next(iter(metric.describe()))
            name = described.name + ("_total" if described.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            lines.append(f"| `{name}` | {described.type} | {labels} | {_cell(described.documentation)} |")
    return "\n".join([*lines, ""])


def checkpoint() -> str:
    """The contract between training and serving."""
    from cc_core.architectures import CC_PREFIX, FAMILIES
    from cc_core.description import DECISION, TRANSFORM, ConnectionConfig
    from cc_core.names import CONFIG_FILE, CONNECTION_FILE, CONNECTION_KEY

    fields = {
        "version": "version of this format",
        "anchor_offset": "the anchor's position, counted from the prompt's end; -1 is its last token",
        "languages": "the languages that the connection was trained for, ISO 639-1",
        "sha256": f"digest of `{CONNECTION_FILE}`",
        "evidence": "optional. `overall` and by `languages`: `gain`, by which the connection lowered the loss of "
        "held-out answers in nats per token, its 95 % interval from `low` to `high`, and the number of `pairs`. "
        "`held_out_of` is `training` or `fit`. `sha256` is the digest that was measured, and must be the one above",
    }
    missing = set(ConnectionConfig.model_fields) - set(fields)
    if missing:
        raise ValueError(f"say what these fields of cc_connection are: {missing}")
    tensors = {
        DECISION: "[layers, hidden size]",
        f"{TRANSFORM}global": "[hidden size, hidden size]",
        f"{TRANSFORM}LANGUAGE": "[hidden size, hidden size], any number of them, by ISO 639-1 code",
    }
    return "\n".join(
        [
            "# Checkpoint",
            "",
            "A checkpoint is an ordinary Hugging Face directory with the connection beside the weights. "
            "`AutoModelForCausalLM` loads it as the plain tuned model. Our code that loads the connection checks its "
            "version, shapes, finiteness and digest; an error names the file and the field. Nothing in it is a pickle.",
            "",
            f"## `{CONNECTION_FILE}`",
            "",
            "| tensor, float32 | shape |",
            "| --- | --- |",
            *(f"| `{name}` | {shape} |" for name, shape in tensors.items()),
            "",
            f"## `{CONNECTION_KEY}` in `{CONFIG_FILE}`",
            "",
            "| field | |",
            "| --- | --- |",
            *(f"| `{name}` | {text} |" for name, text in fields.items()),
            "",
            "Other fields describe the run. Nothing acts on them.",
            "",
            "## `architectures`",
            "",
            f"The name is `{CC_PREFIX}` followed by the base model's class. These classes can be connected. The engine "
            "captures the output of the module, which the feed-forward block adds to the residual stream:",
            "",
            "| base class | module |",
            "| --- | --- |",
            *(f"| `{base}` | `{family.output}` |" for base, family in FAMILIES.items()),
            "",
        ]
    )


def python() -> str:
    """The public names of both packages."""
    lines = ["# Python", ""]
    for name in ("cc_train", "cc_serve"):
        package = importlib.import_module(name)
        lines += [f"## `{name}`", "", _docstring(package), ""]
        for public in package.__all__:
            found = getattr(package, public)
            lines += [f"### `{name}.{public}`", "", "```text", f"{public}{_signature(found)}", "```", "", "```text"]
            lines += [_docstring(found), "```", ""]
            if inspect.isclass(found):
                lines += _methods(found)
    return "\n".join(lines)


def _methods(found: type) -> list[str]:
    lines: list[str] = []
    for name, member in vars(found).items():
        function = member.__func__ if isinstance(member, classmethod) else member
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        summary = (function.__doc__ or "").strip().splitlines()
        lines.append(f"- `{name}{_signature(function)}`: {_cell(summary[0] if summary else '')}")
    return [*lines, ""] if lines else []


def _signature(found: Any) -> str:
    with suppress(ValueError, TypeError):
        return str(inspect.signature(found))
    return ""


def _docstring(found: Any) -> str:
    return inspect.cleandoc(found.__doc__ or "").replace(">>> ", "    >>> ")


def _help(main: Any, words: str) -> str:
    output = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS), redirect_stdout(output), suppress(SystemExit):
        main([*words.split(), "--help"])
    return output.getvalue()


def _key(action: argparse.Action) -> str:
    names = [option.removeprefix("--") for option in action.option_strings if option.startswith("--")]
    return next((name for name in names if "-" not in name), names[0])


def _type(schema: dict[str, Any]) -> str:
    kinds: Iterable[dict[str, Any]] = schema.get("anyOf", [schema])
    names = [kind.get("type") or kind.get("$ref", "").rsplit("/", 1)[-1] for kind in kinds]
    return " or ".join(name for name in names if name and name != "null")


def _default(value: Any) -> str:
    value = getattr(value, "value", value)
    if value in (None, argparse.SUPPRESS, "") or isinstance(value, BaseModel) or value in ((), {}, []):
        return ""
    return f"`{value}`"


def _cell(text: str | None) -> str:
    words = " ".join((text or "").replace("%%", "%").replace("%(default)s", "").split())
    return words.replace("|", "\\|").replace("<", "&lt;")

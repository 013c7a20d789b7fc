"""The options of ``cc-train run``: transformers' `TrainingArguments` and the method's own, from flags or a recipe."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import yaml
from transformers import HfArgumentParser
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from cc_core.terminal.usage import suggestion, unknown_option
from cc_train.config.training import RunArguments
from cc_train.fit.transforms import FitSettings
from cc_train.model.tuning import LEARNING_RATES, TuningArguments

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class UsageError(ValueError):
    """An option is missing, unknown or wrong; the message is one line."""


@dataclass
class ModelArguments:
    """What is trained."""

    _argument_group_name = "model"

    model: str = field(metadata={"help": "Directory of a Hugging Face causal language model."})
    freeze_embeddings: bool = field(
        default=False, metadata={"help": "Do not train the input embeddings (nor an LM head tied to them)."}
    )


@dataclass
class DataArguments:
    """What it is trained on."""

    _argument_group_name = "data"

    data: list[str] = field(
        metadata={
            "help": "Parallel rows: JSON lines (plain or gzipped), Parquet, a directory of them, a Hugging Face "
            "dataset saved on disk, or its id on the hub (ORG/NAME:CONFIGURATION#SPLIT). FILE=0.3 uses three rows in "
            "ten, FILE=2 each row twice."
        }
    )
    columns: str | None = field(
        default=None,
        metadata={"help": "Columns under another name: lang=language,instruction=question,output=answer."},
    )
    eval_data: list[str] | None = field(
        default=None, metadata={"help": "Rows for evaluation during training; needs --eval-strategy."}
    )
    max_length: int = field(
        default=1024,
        metadata={"help": "Most tokens of prompt and answer; longer prompts lose the beginning of the user's text."},
    )
    max_rows: int | None = field(default=None, metadata={"help": "Train on a random sample of this many rows."})


@dataclass
class MethodArguments:
    """How the connection is trained."""

    _argument_group_name = "method"

    method: Literal["cc", "sft"] = field(
        default="cc",
        metadata={"help": "cc: with the cross-lingual connection. sft: the baseline without it; writes a plain model."},
    )
    decision_normalize: bool = field(
        default=True,
        metadata={"help": "Normalise the Decision Maker's input in training; changes no choice at inference."},
    )
    gumbel_temperature: float = field(default=1.0, metadata={"help": "Temperature of the Gumbel-softmax gradient."})
    decision_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "The learning rate of the Decision Maker and the projection; the model's --learning-rate if not "
            "given."
        },
    )
    connection_scale: float | None = field(
        default=None,
        metadata={
            "help": "Project English activations away from what all prompts share, to this root mean square, and train "
            "the projection on; it is folded into the Transform Matrices. Not given: as they are, as in the paper."
        },
    )
    anchor_offset: int = field(
        default=-1, metadata={"help": "The anchor's position, counted from the prompt's end; -1 is its last token."}
    )


@dataclass
class FitArguments:
    """How the Transform Matrices are fitted, after training."""

    _argument_group_name = "fit"

    fit_max_pairs: int = field(
        default=FitSettings.max_pairs,
        metadata={
            "help": "Most prompt pairs used, spread evenly over the languages; the default leaves each of up to 26 "
            "languages enough for a matrix of its own."
        },
    )
    fit_min_pairs: int = field(
        default=FitSettings.min_pairs, metadata={"help": "Fitted pairs from which a language gets its own matrix."}
    )
    fit_held_out: float = field(
        default=FitSettings.held_out, metadata={"help": "Share of the pairs kept for the report."}
    )
    fit_ridge: float | None = field(
        default=None,
        metadata={
            "help": "Ridge of the global matrix, as a share of the mean of the normal equations' diagonal; chosen by "
            "cross-validation if not given."
        },
    )
    fit_shrinkage: float | None = field(
        default=None,
        metadata={
            "help": "How many pairs' worth a language's matrix is pulled towards the global one; inf: no matrices of "
            "their own. Chosen on pairs left out if not given."
        },
    )
    fit_rank: int | None = field(
        default=None, metadata={"help": "Highest rank of a matrix; cc_fit.json says what it loses."}
    )
    fit_folds: int = field(
        default=FitSettings.folds, metadata={"help": "Parts of the pairs that cross-validation leaves out in turn."}
    )
    fit_batch_size: int = field(default=8, metadata={"help": "Pairs in one forward pass."})

    def __post_init__(self) -> None:
        for option, wrong, rule in (
            ("--fit-max-pairs", self.fit_max_pairs < 1, "must be at least 1"),
            ("--fit-min-pairs", self.fit_min_pairs < 1, "must be at least 1"),
            ("--fit-held-out", not 0 <= self.fit_held_out < 1, "must be at least 0 and below 1"),
            ("--fit-ridge", self.fit_ridge is not None and not 0 <= self.fit_ridge < math.inf, "must be 0 or more"),
            ("--fit-shrinkage", self.fit_shrinkage is not None and not self.fit_shrinkage >= 0, "must be 0 or more"),
            ("--fit-rank", self.fit_rank is not None and self.fit_rank < 1, "must be at least 1"),
            ("--fit-folds", self.fit_folds < 2, "must be at least 2"),
            ("--fit-batch-size", self.fit_batch_size < 1, "must be at least 1"),
        ):
            if wrong:
                raise ValueError(f"{option} {rule}")

    def settings(self) -> FitSettings:
        return FitSettings(
            self.fit_max_pairs,
            self.fit_min_pairs,
            self.fit_held_out,
            self.fit_ridge,
            self.fit_shrinkage,
            self.fit_rank,
            self.fit_folds,
        )


@dataclass(frozen=True)
class RunConfig:
    """Everything that ``cc-train run`` was told."""

    model: ModelArguments
    tuning: TuningArguments
    data: DataArguments
    method: MethodArguments
    fit: FitArguments
    training: RunArguments

    @property
    def save_dtype(self) -> torch.dtype:
        return DTYPES[self.training.save_dtype]

    @property
    def output(self) -> Path:
        return Path(self.training.output_dir or "")


class _Parser(HfArgumentParser):
    """Raises instead of printing more than a hundred options of usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> HfArgumentParser:
    """The parser of ``cc-train run``."""
    groups: list[Any] = [ModelArguments, TuningArguments, DataArguments, MethodArguments, FitArguments, RunArguments]
    parser = _Parser(
        groups,
        prog="cc-train run",
        usage="%(prog)s --model DIR --data FILE.jsonl[.gz] --output DIR [options]\n"
        "       %(prog)s --config RECIPE.yaml [options]",
        description="Train a model with the cross-lingual connection, fit its Transform Matrices, and write the "
        "deployable checkpoint.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="RECIPE.yaml", help="Read options from a YAML file; flags override it.")
    return parser


def parse_run(arguments: Sequence[str]) -> RunConfig:
    """Options from the command line, over those of ``--config``.

    Raises:
        UsageError: an option is missing, unknown or wrong.
    """
    parser = make_parser()
    given = list(arguments)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    recipe = first.parse_known_args([a for a in given if a not in ("-h", "--help")])[0].config
    if recipe is not None:
        given = [*recipe_arguments(recipe, parser), *given]
    if problem := unknown_option(parser, given):
        raise UsageError(problem)
    try:
        model, tuning, data, method, fit, training, *_ = parser.parse_args_into_dataclasses(
            given, look_for_args_file=False
        )
    except (ValueError, TypeError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    if training.learning_rate is None:
        training.learning_rate = LEARNING_RATES[tuning.tuning]
    config = RunConfig(model, tuning, data, method, fit, training)
    _check(config)
    return config


def recipe_arguments(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """A recipe's keys as command-line arguments, so that both ways are parsed and checked alike.

    Raises:
        UsageError: the file cannot be read, is no mapping, or has an unknown key.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is not a mapping of options to values")
    known = {option.lstrip("-") for action in parser._actions for option in action.option_strings} - {"h", "config"}
    arguments: list[str] = []
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{path}: unknown key {key!r}{suggestion(str(key), known)}")
        arguments += option_arguments(key, value)
    return arguments


def option_arguments(name: str, value: Any) -> list[str]:
    """An option as it stands on the command line, a mapping as JSON; nothing where its value is None."""
    if value is None:
        return []
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    texts = [json.dumps({str(k): v[k] for k in v}) if isinstance(v, Mapping) else str(v) for v in values]
    # "--key=value" keeps a negative number or a leading dash from being read as a flag.
    return [f"--{name}={texts[0]}"] if len(texts) == 1 else [f"--{name}", *texts]


def _check(config: RunConfig) -> None:
    """What the types do not say; raises `UsageError`."""
    training, data, method, tuning = config.training, config.data, config.method, config.tuning
    alone = tuning.tuning == "connection"
    for option, wrong, rule in (
        ("--output", not training.output_dir or training.output_dir == "trainer_output", "is required"),
        ("--tuning connection", alone and method.method == "sft", "trains what --method sft does without"),
        (
            "--gradient-checkpointing",
            alone and training.gradient_checkpointing,
            "saves nothing with --tuning connection, which keeps activations of the answers only",
        ),
        ("--lora-rank", tuning.lora_rank < 1, "must be at least 1"),
        ("--lora-alpha", tuning.lora_alpha < 1, "must be at least 1"),
        ("--lora-dropout", not 0 <= tuning.lora_dropout < 1, "must be at least 0 and below 1"),
        ("--max-length", data.max_length < 8, "must be at least 8"),
        ("--max-rows", data.max_rows is not None and data.max_rows < 1, "must be at least 1"),
        ("--gumbel-temperature", not method.gumbel_temperature > 0, "must be above 0"),
        (
            "--connection-scale",
            method.connection_scale is not None and not method.connection_scale > 0,
            "must be above 0",
        ),
        ("--anchor-offset", method.anchor_offset > -1, "must be -1 or less"),
        ("--learning-rate", (training.learning_rate or 0.0) < 0, "must be at least 0"),
        ("--decision-learning-rate", (method.decision_learning_rate or 0.0) < 0, "must be at least 0"),
        ("--per-device-train-batch-size", training.per_device_train_batch_size < 1, "must be at least 1"),
        ("--gradient-accumulation-steps", training.gradient_accumulation_steps < 1, "must be at least 1"),
        (
            "--save-strategy best",
            training.save_strategy == SaveStrategy.BEST and not training.metric_for_best_model,
            "goes with --metric-for-best-model",
        ),
        (
            "--eval-data",
            bool(data.eval_data) != (training.eval_strategy != IntervalStrategy.NO),
            "goes with --eval-strategy",
        ),
    ):
        if wrong:
            raise UsageError(f"{option} {rule}")

"""The configuration of ``cc-train run``: from flags, a recipe or Python to one object that never changes."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from cc_core.terminal.usage import unknown_option
from cc_train.config.data import DataArguments
from cc_train.config.evaluation import EvaluationArguments
from cc_train.config.fit import FitArguments
from cc_train.config.method import MethodArguments
from cc_train.config.model import ModelArguments
from cc_train.config.other_names import other_name
from cc_train.config.parser import OptionParser, UsageError, check, fill
from cc_train.config.recipe import read_recipe, set_defaults
from cc_train.config.training import RunArguments
from cc_train.config.transformers_options import refused_option
from cc_train.config.tuning import LEARNING_RATES, TuningArguments
from cc_train.workspace import partial_directory

# Options that only a connection has a use for.
_CONNECTION_ONLY = [
    *("decision-normalize", "decision-learning-rate", "gumbel-temperature", "connection-scale"),
    *(field.name.replace("_", "-") for field in fields(FitArguments)),
]
# Infinite, they fit no matrix of a language's own and clip no gradient.
_MAY_BE_INFINITE = {"fit_shrinkage", "max_grad_norm"}
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class RunConfig:
    """Everything that ``cc-train run`` was told.

    Args:
        model, tuning, data, method, fit, evaluation: the options, by what they are about.
        training: Trainer's options. Its ``output_dir`` is where the run is built, beside ``output``; ``learning_rate``
            and ``data_seed`` have values even if none was given.
        output: where the finished run goes.
    """

    model: ModelArguments
    tuning: TuningArguments
    data: DataArguments
    method: MethodArguments
    fit: FitArguments
    evaluation: EvaluationArguments
    training: RunArguments
    output: Path

    @property
    def save_dtype(self) -> torch.dtype:
        """The type of the saved weights."""
        return DTYPES[self.training.save_dtype]


def make_parser() -> OptionParser:
    """The parser of ``cc-train run``."""
    parser = OptionParser(
        [
            ModelArguments,
            TuningArguments,
            DataArguments,
            MethodArguments,
            FitArguments,
            EvaluationArguments,
            RunArguments,
        ],
        "cc-train run",
        usage="%(prog)s --model DIR --data FILE.jsonl[.gz] --output DIR [options]\n"
        "       %(prog)s --config RECIPE.yaml [options]",
        description="Train a model with the cross-lingual connection, fit its Transform Matrices, and write the "
        "deployable checkpoint.",
    )
    parser.add_argument("--config", metavar="RECIPE.yaml", help="Read options from a YAML file; flags override it.")
    return parser


def parse_run(arguments: Sequence[str]) -> RunConfig:
    """The configuration from the command line, and from the recipe that its ``--config`` names.

    Raises:
        UsageError: an option is missing, unknown or wrong.
    """
    parser = make_parser()
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    recipe = first.parse_known_args([a for a in arguments if a not in ("-h", "--help")])[0].config
    if recipe is not None:
        set_defaults(parser, read_recipe(recipe, parser))
    config = _configuration(parser.parse(arguments))
    if config.method.method == "sft":  # a recipe may serve both methods, so its options are not looked at
        written = (argument.partition("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--"))
        typed = {f"--{name.removeprefix('--').removeprefix('no-')}" for name in written}
        check((f"--{name}", f"--{name}" in typed, "changes nothing with --method sft") for name in _CONNECTION_ONLY)
    return config


def configure_run(options: Mapping[str, Any]) -> RunConfig:
    """The configuration from Python values by option, which may have a recipe, ``config``, too.

    Args:
        options: with underscores; dictionaries where a recipe has mappings; None for what is not given.

    Raises:
        UsageError: an option is missing, unknown or wrong.
    """
    parser = make_parser()
    given = {name.replace("_", "-"): value for name, value in options.items()}
    recipe = given.pop("config", None)
    if recipe is not None:
        set_defaults(parser, read_recipe(Path(recipe), parser))
    if problem := unknown_option(parser, [f"--{name}" for name in given], other_name):
        raise UsageError(problem)
    set_defaults(parser, given)
    return _configuration(parser.parse([]))


def _configuration(options: argparse.Namespace) -> RunConfig:
    """The configuration that the parsed options make."""
    values = vars(options)
    if problem := refused_option(values):
        raise UsageError(problem)
    if not values["output_dir"]:
        raise UsageError("--output is required")
    output = Path(os.path.expanduser(values["output_dir"]))
    values["output_dir"] = str(partial_directory(output))
    if values["learning_rate"] is None:
        values["learning_rate"] = LEARNING_RATES[values["tuning"]]
    if values["data_seed"] is None:
        values["data_seed"] = values["seed"]  # every process has to draw the same order of rows
    check(
        (f"--{name.replace('_', '-')} {value}", not math.isfinite(value), "is no finite number")
        for name, value in values.items()
        if isinstance(value, float) and not (name in _MAY_BE_INFINITE and value == math.inf)
    )
    config = RunConfig(
        fill(ModelArguments, values),
        fill(TuningArguments, values),
        fill(DataArguments, values),
        fill(MethodArguments, values),
        fill(FitArguments, values),
        fill(EvaluationArguments, values),
        fill(RunArguments, values),
        output,
    )
    _check(config)
    return config


def _check(config: RunConfig) -> None:
    """Check what no group of options can check alone, and Trainer's own options."""
    training, data, method = config.training, config.data, config.method
    evaluates = training.eval_strategy != IntervalStrategy.NO
    patience = training.early_stopping_patience
    rates = (training.learning_rate or 0.0, method.decision_learning_rate or 0.0 if method.method == "cc" else 0.0)
    alone = config.tuning.tuning == "connection"
    check(
        (
            ("--tuning connection", alone and method.method == "sft", "trains a connection, and --method sft has none"),
            (
                "--freeze-embeddings",
                config.model.freeze_embeddings and config.tuning.tuning != "full",
                "needs --tuning full: the others train no embeddings",
            ),
            (
                "--gradient-checkpointing",
                alone and training.gradient_checkpointing,
                "saves nothing with --tuning connection, which keeps activations of the answers only",
            ),
            (
                "--align",
                alone and method.align > 0,
                "changes nothing with --tuning connection, which leaves the prompts' own activations as they are",
            ),
            (
                "--padding-free",
                alone and training.padding_free,
                "needs --tuning full or lora: a frozen base's answers follow keys and values, which are padded",
            ),
            (
                "--padding-free",
                training.padding_free and training.neftune_noise_alpha is not None,
                "cannot be used with --neftune-noise-alpha, whose noise depends on the length of padded rows",
            ),
            ("--align-data", bool(data.align_data) and not method.align, "needs --align"),
            (
                "--save-strategy best",
                training.save_strategy == SaveStrategy.BEST and not training.metric_for_best_model,
                "needs --metric-for-best-model",
            ),
            ("--eval-data", bool(data.eval_data) and not evaluates, "needs --eval-strategy"),
            ("--eval-strategy", evaluates and not data.eval_data, "needs --eval-data"),
            *(
                (option, given and not evaluates, "needs --eval-data and --eval-strategy")
                for option, given in (
                    ("--early-stopping-patience", patience is not None),
                    ("--load-best-model-at-end", training.load_best_model_at_end),
                    ("--eval-generate", config.evaluation.eval_generate is not None),
                )
            ),
            (
                "--early-stopping-threshold",
                training.early_stopping_threshold > 0 and patience is None,
                "needs --early-stopping-patience",
            ),
            ("--hub-model-id", bool(training.hub_model_id) and not training.push_to_hub, "needs --push-to-hub"),
            (
                "--metric-for-best-model",
                training.metric_for_best_model not in (None, "", "loss", "eval_loss", "score", "eval_score"),
                "is loss, or score with --eval-generate: no other is measured during training",
            ),
            (
                "--metric-for-best-model score",
                str(training.metric_for_best_model).endswith("score") and config.evaluation.eval_generate is None,
                "needs --eval-generate",
            ),
            ("--fp16", training.fp16 and training.use_cpu, "needs an accelerator; a CPU has --bf16"),
            *_optimizer_rules(training),
            ("--learning-rate", not any(rates), "is 0, so nothing would be trained"),
            ("--num-train-epochs", training.max_steps <= 0 and training.num_train_epochs <= 0, "must be above 0"),
        )
    )


# The optimizers that read --optim-args, and what they read.
_OPTIMIZER_KEYS = {
    "sgd": {"momentum", "dampening", "weight_decay", "nesterov"},
    "adagrad": {"lr_decay", "weight_decay", "eps"},
    "rmsprop": {"momentum", "alpha", "eps", "weight_decay", "centered"},
}


def _optimizer_rules(training: RunArguments) -> list[tuple[str, bool, str]]:
    """Whether the optimizer reads what --optim-args has."""
    if not training.optim_args:
        return []
    name = str(getattr(training.optim, "value", training.optim))
    known = _OPTIMIZER_KEYS.get(name, set())
    given = {part.partition("=")[0].strip() for part in training.optim_args.split(",")}
    what = f"has {', '.join(sorted(known))} with --optim {name}" if known else f"is not read by --optim {name}"
    return [("--optim-args", not given <= known, what)]

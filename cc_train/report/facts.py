"""What a run was told, kept in ``cc_run.json`` for the report and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from transformers.trainer_pt_utils import AcceleratorConfig
from yaml import YAMLError

from cc_core.hub import shown_name
from cc_train.config.run import RunConfig
from cc_train.data.sources import of_hub, parse_sources

RUN_FILE = "cc_run.json"
# These options are among the other facts, concern the machine, or are private: the hub's token is a secret.
_LEFT_OUT = {
    "push_to_hub",
    "hub_token",
    "hub_model_id",
    "hub_strategy",
    "hub_private_repo",
    "hub_always_push",
    "hub_revision",
    "model",
    "data",
    "eval_data",
    "align_data",
    "output_dir",
    "logging_dir",
    "resume_from_checkpoint",
    "overwrite",
    "use_cpu",
    "dataloader_pin_memory",
    "disable_tqdm",
}
# Values that transformers or `RunArguments` puts in place of a default.
_MADE_OF_DEFAULTS: dict[str, Any] = {
    "accelerator_config": AcceleratorConfig(),
    "debug": [],
    "report_to": [],
    "prediction_loss_only": True,
    "remove_unused_columns": False,
}


def run_facts(
    config: RunConfig,
    base: Path,
    rows: Mapping[str, int],
    skipped: int,
    loss: float,
    alignment: Mapping[str, Any] | None = None,
    languages: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What was trained, on what: local files by name, hub datasets by full id.

    Args:
        config: the run's configuration.
        base: the base model's directory.
        rows: how many were trained on, by language.
        skipped: how many were not used.
        loss: mean training loss, nats per answer token.
        alignment: ``weight``, the ``value`` that was logged last, and ``rows`` by language that only it was trained
            on; None without.
        languages: from `cc_train.report.languages.language_facts`.
    """
    aligned = {} if alignment is None else {"alignment": _alignment(config, alignment)}
    return {
        "base_model": shown_name(config.model.model),
        "licence": base_licence(base),
        "data": named_sources(config.data.data),
        "rows": dict(rows),
        "skipped_rows": skipped,
        **({} if languages is None else {"languages": dict(languages)}),
        "training_loss": round(loss, 4),
        **aligned,
        "options": _options(config),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }


def _alignment(config: RunConfig, alignment: Mapping[str, Any]) -> dict[str, Any]:
    data = config.data.align_data
    return {**alignment, "data": named_sources(data)} if data else dict(alignment)


def named_sources(given: Sequence[str]) -> list[str]:
    """An option's sources, local files by name and hub datasets by full id, with their weights."""
    sources = parse_sources(given)
    names = [source.name if of_hub(source.name) else Path(source.name).name for source in sources]
    return [n if s.weight == 1 else f"{n} × {s.weight:g}" for n, s in zip(names, sources, strict=True)]


def base_licence(model: Path) -> str | None:
    """The licence in a base model's own card, an identifier of the hub; None without one."""
    card = model / "README.md"
    if not card.is_file():
        return None
    try:
        licence = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict().get("license")
    except (OSError, ValueError, YAMLError):
        return None
    return licence if isinstance(licence, str) else None


def write_run_facts(directory: Path, facts: dict[str, Any]) -> None:
    """Write ``cc_run.json``."""
    (directory / RUN_FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _options(config: RunConfig) -> dict[str, Any]:
    """The options that differ from their defaults; method, tuning, learning rate, epochs and seed always."""
    found: dict[str, Any] = {}
    groups = (config.model, config.tuning, config.data, config.method, config.fit, config.evaluation, config.training)
    for arguments in groups:
        for option in fields(arguments):
            value = getattr(arguments, option.name)
            default = option.default if option.default_factory is MISSING else option.default_factory()
            default = _MADE_OF_DEFAULTS.get(option.name, default)
            said = option.name in ("method", "tuning", "learning_rate", "num_train_epochs", "seed")
            if option.init and option.name not in _LEFT_OUT and (said or value != default):
                found[option.name] = (
                    value if isinstance(value, int | float | list) else str(getattr(value, "value", value))
                )
    return found

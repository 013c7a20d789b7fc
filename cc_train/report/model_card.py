"""The model card of a checkpoint: base, data, recipe, figures and licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from cc_core.names import CONFIG_FILE, FIT_FILE
from cc_train.model.files import NOTICES
from cc_train.report.facts import RUN_FILE
from cc_train.report.rendering import render

CARD_FILE = "README.md"
_TEMPLATE = "model_card.md.jinja"


def write_card(directory: Path, name: str | None = None) -> Path:
    """Write ``README.md`` from what a run left in its output directory, which includes the base's notices.

    Args:
        directory: of the run.
        name: of the model, if it is not the directory's name.
    """
    run, fit = _read(directory / RUN_FILE), _read(directory / FIT_FILE)
    base = str(run.get("base_model") or "")
    notices = sorted(path.name for path in directory.iterdir() if path.is_file() and NOTICES.search(path.name))
    licence = run.get("licence")
    # The hub wants a link to the text of a licence that it has no name for.
    unnamed = not licence and bool(notices)
    data = ModelCardData(
        # The hub knows ids alone: no revision, and no directory of this machine.
        base_model=base.partition("@")[0] if "/" in base else None,
        language=sorted(run.get("rows", {})) or sorted(fit.get("fitted_pairs", {})),
        library_name="transformers",
        license="other" if unnamed else licence,
        license_name="base-model" if unnamed else None,
        license_link=notices[0] if unnamed else None,
        tags=["cc-tuning"],
    )
    text = render(
        _TEMPLATE,
        name=name or directory.name,
        base=base or "a base model",
        run=run,
        fit=fit,
        licence=licence,
        notices=notices,
        alone=not (directory / CONFIG_FILE).exists(),
    )
    path = directory / CARD_FILE
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(path)
    return path


def _read(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}

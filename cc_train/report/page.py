"""The report of a run: ``report.html``, which needs no other file, and its pictures in ``report/``."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cc_core.names import FIT_FILE
from cc_train.log_names import ALIGNMENT, SCORES
from cc_train.report.charts import run_charts
from cc_train.report.facts import RUN_FILE, write_run_facts
from cc_train.report.model_card import write_card
from cc_train.report.rendering import render
from cc_train.terminal.notes import Say

REPORT_FILE = "report.html"
PICTURES = "report"
STATE_FILE = "trainer_state.json"
_TEMPLATE = "report.html.jinja"
_TITLES = {
    "loss": "Loss",
    ALIGNMENT: "Alignment (ours, not the paper's)",
    SCORES: "Score of generated answers, by task and language",
    "learning_rate": "Learning rate",
    "layers": "Layers chosen, by language",
    "fit": "Fit of the Transform Matrices, on held-out pairs",
    "answer_loss": "Loss of the answers, on held-out pairs",
}


class ReportError(ValueError):
    """There is nothing to report on; the message says what is missing."""


def write_report(directory: Path, name: str | None = None, *, running: bool = False) -> Path:
    """Write ``report.html`` and ``report/*.png`` from what a run left in its output directory.

    Args:
        directory: of the run.
        name: of the model, if it is not the directory's name.
        running: whether the run goes on; the page then loads itself again.

    Raises:
        ReportError: the run left nothing, or one of its files cannot be read.
    """
    state = _read(directory / STATE_FILE)
    history = state.get("log_history", [])
    fit = _read(directory / FIT_FILE)
    run = _read(directory / RUN_FILE)
    if not (history or fit):
        raise ReportError(f"{directory}: holds neither {STATE_FILE} nor {FIT_FILE}; is it the output of cc-train run?")
    pictures = directory / PICTURES
    pictures.mkdir(exist_ok=True)
    progress = f"Step {state['global_step']} of {state['max_steps']}" if running else None
    charts = []
    for chart, figure in run_charts(history, fit.get("scores", {})).items():
        payload = _png(figure)
        (pictures / f"{chart}.png").write_bytes(payload)
        charts.append({"title": _TITLES[chart], "data": base64.b64encode(payload).decode()})
    path = directory / REPORT_FILE
    page = render(_TEMPLATE, html=True, name=name or directory.name, run=run, fit=fit, charts=charts, progress=progress)
    path.write_text(page, "utf-8")
    return path


def write_record(directory: Path, facts: dict[str, Any] | None, name: str, say: Say) -> None:
    """Write ``cc_run.json``, the report and the model card. An error is said and not raised, to lose no trained model.

    Args:
        directory: of the run.
        facts: from `cc_train.report.facts.run_facts`; None keeps those that are there.
        name: of the model.
        say: hears of an error.
    """
    try:
        if facts is not None:
            write_run_facts(directory, facts)
        write_report(directory, name)
        if (directory / RUN_FILE).exists():
            write_card(directory, name)
    except Exception as error:  # a picture is not worth a training run
        say(f"The report is not complete ({type(error).__name__}: {error}); cc-train report writes it again.")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _read(path: Path) -> dict[str, Any]:
    """The content of a run's file; empty without the file."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReportError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ReportError(f"{path}: is not a JSON object")
    return content

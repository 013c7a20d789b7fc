"""``cc-train eval``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cc_core.checkpoint import CheckpointError
from cc_core.hub import UnknownModelError, local_directory
from cc_core.names import AUTO
from cc_core.terminal.exit_codes import BAD_INPUT, FAILURE, INTERRUPTED
from cc_core.terminal.text import counted
from cc_core.terminal.usage import SuggestingParser, at_least, positive, seconds
from cc_train.evaluation.answer_file import Answer, AnswerFile
from cc_train.evaluation.backend import Backend
from cc_train.evaluation.endpoint import Endpoint, EndpointError
from cc_train.evaluation.items import EvaluationError, EvaluationRow, choose_rows, read_rows
from cc_train.evaluation.output import figures_json, figures_markdown, write_output
from cc_train.evaluation.plot import plot_figures
from cc_train.evaluation.scores import by_task, cells, save_scores, score_rows
from cc_train.evaluation.tasks import TASKS
from cc_train.terminal.progress import progress_bar


def make_parser() -> SuggestingParser:
    """The parser of ``cc-train eval``."""
    parser = SuggestingParser(
        "cc-train eval",
        description="Ask a model every prompt of the data, greedily, and score the answers: docs/evaluation.md.",
        epilog="An interrupted evaluation goes on where it stopped when the same command is given again.\n"
        "Without --endpoint and --checkpoint, answers that are all there are scored anew.\n"
        "example: cc-train eval --checkpoint outputs/demo --data ROWS.jsonl --output outputs/eval --limit 20",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--endpoint", metavar="URL", help="an OpenAI endpoint; its key is read from OPENAI_API_KEY")
    where.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="a checkpoint, run in this process on transformers: a directory, or an id of the hub",
    )
    parser.add_argument("--model", metavar="NAME", help="the name that the endpoint serves the model under")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="rows: JSON, JSON lines, CSV or Parquet",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where answers and figures go")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[], metavar="TASK", help=", ".join(TASKS))
    parser.add_argument(
        "--languages", nargs="+", default=[], metavar="CODE", help="only these; all of the data's if not given"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="at most N items of each task, each in all its languages"
    )
    parser.add_argument(
        "--task-of-rows", choices=TASKS, metavar="TASK", help="what rows of no task, or of another, are scored as"
    )
    parser.add_argument(
        "--connection",
        metavar="NAME",
        help="auto (the default), off, global or a language; in process also english: the true English activations",
    )
    parser.add_argument(
        "--max-tokens", type=positive, default=40, metavar="N", help="of an answer (default: 40, as in the paper)"
    )
    parser.add_argument(
        "--concurrency", type=positive, default=32, metavar="N", help="requests in flight (default: 32)"
    )
    parser.add_argument("--timeout", type=seconds, default=600, metavar="SECONDS", help="of one request (default: 600)")
    parser.add_argument(
        "--batch-size", type=positive, default=8, metavar="N", help="rows at once in process (default: 8)"
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="of choosing items and of the bootstrap (default: 0)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train eval``: 0 when done, 1 when the endpoint stopped answering, 2 for bad input, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    answers: AnswerFile | None = None
    rows: list[EvaluationRow] = []
    try:
        read = read_rows(options.data, options.task_of_rows)
        rows = choose_rows(read, options.tasks, options.languages, options.limit, options.seed)
        backend = _backend(options)
        with AnswerFile(options.output, backend.system() if backend else None) as answers:
            refusals = _ask(backend, rows, answers)
            _report(options.output, rows, answers, refusals, options.seed)
    except KeyboardInterrupt:
        print(f"cc-train eval: interrupted; {_progress(rows, answers)}", file=sys.stderr)
        return INTERRUPTED
    except EndpointError as error:
        print(f"cc-train eval: {error}" + (f"; {_progress(rows, answers)}" if answers else ""), file=sys.stderr)
        return FAILURE if answers else BAD_INPUT
    except (EvaluationError, CheckpointError, OSError) as error:
        print(f"cc-train eval: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _backend(options: argparse.Namespace) -> Backend | None:
    """What is to answer; None to score the answers that are there."""
    if options.endpoint is not None:
        if not options.model:
            raise EvaluationError("--endpoint needs --model, the name that the model is served under")
        return Endpoint(
            options.endpoint,
            options.model,
            os.environ.get("OPENAI_API_KEY") or "none",
            options.connection,
            options.max_tokens,
            options.concurrency,
            options.timeout,
        )
    if options.checkpoint is None:
        return None
    from transformers.utils import logging

    from cc_train.evaluation.local import LocalCheckpoint

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        directory = local_directory(options.checkpoint)
    except UnknownModelError as error:
        raise EvaluationError(f"--checkpoint {error}") from error
    return LocalCheckpoint(directory, options.connection or AUTO, options.max_tokens, options.batch_size)


def _ask(backend: Backend | None, rows: Sequence[EvaluationRow], answers: AnswerFile) -> list[str]:
    """Have every row answered that has no answer yet, and return why rows were refused."""
    missing = answers.missing(rows)
    if missing and backend is None:
        raise EvaluationError(
            f"{answers.path}: {len(missing)} of {counted(len(rows), 'row has', 'rows have')} no answer; "
            "pass --endpoint or --checkpoint to have them answered"
        )
    refusals: list[str] = []
    with progress_bar() as bar:
        task = bar.add_task("answers", total=len(rows), completed=len(rows) - len(missing))

        def on_answer(answer: Answer) -> None:
            answers.add(answer)
            bar.advance(task)

        def on_refusal(row: EvaluationRow, reason: str) -> None:
            refusals.append(f"{row.key}: {reason}")
            bar.advance(task)

        if missing and backend is not None:
            backend.answer(missing, on_answer, on_refusal)
    return refusals


def _report(
    output: Path,
    rows: Sequence[EvaluationRow],
    answers: AnswerFile,
    refusals: Sequence[str],
    seed: int,
) -> None:
    if len(refusals) == len(rows):
        raise EvaluationError(f"every row was refused; the first: {refusals[0]}")
    scores = score_rows(rows, answers.answers)
    figures = {task: cells(found, seed) for task, found in by_task(scores).items()}
    text = figures_markdown(answers.system, figures)
    save_scores(output, scores)
    write_output(output, "figures", figures_json(answers.system, figures, seed), text)
    plot_figures(figures, output / "figures.png")
    print(text)
    print(f"{output}: figures.md, figures.json, figures.png; answers in {answers.path.name}")
    if refusals:
        print(
            f"cc-train eval: {len(refusals)} of "
            f"{counted(len(rows), 'row was refused and counts as wrong', 'rows were refused and count as wrong')}; "
            f"the first: {refusals[0]}",
            file=sys.stderr,
        )


def _progress(rows: Sequence[EvaluationRow], answers: AnswerFile | None) -> str:
    if answers is None:
        return "nothing was answered yet"
    done = sum(row.key in answers.answers for row in rows)
    there = counted(len(rows), "answer is", "answers are")
    return f"{done} of {there} in {answers.path}; the same command goes on from there"

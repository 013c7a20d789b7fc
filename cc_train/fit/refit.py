"""``cc-train fit``: the Transform Matrices of a finished checkpoint, fitted again, on other pairs or in another way."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console
from rich.markup import escape
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser

from cc_core.checkpoint import CheckpointError, ConnectionConfig, load_connection, save_connection
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, FIT_FILE
from cc_core.terminal.exit_codes import BAD_INPUT, INTERRUPTED
from cc_core.terminal.usage import unknown_option
from cc_train.config.run import FitArguments, UsageError
from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.dataset import Example
from cc_train.data.loading import load_examples
from cc_train.data.sources import DataError
from cc_train.fit.fitting import Fitted, fit_connection
from cc_train.fit.least_squares import FitError
from cc_train.model.files import load_model
from cc_train.model.standalone import ENTRY_FILE
from cc_train.report.facts import RUN_FILE, named_sources
from cc_train.report.model_card import CARD_FILE
from cc_train.report.page import PICTURES, REPORT_FILE, describe
from cc_train.report.tables import score_table
from cc_train.training.projection import PROJECTION_FILE, load_projection
from cc_train.workspace import OutputError, Workspace

_WRITTEN = {CONNECTION_FILE, FIT_FILE, REPORT_FILE}


@dataclass
class RefitArguments:
    """What is fitted, and on what."""

    _argument_group_name = "checkpoint and data"

    data: list[str] = field(
        metadata={
            "help": "Parallel rows, as for cc-train run, or aligned text: a JSON line for a sentence, one field for a "
            "language, 'en' among them. Answers are needed for the losses in the report only."
        }
    )
    columns: str | None = field(
        default=None, metadata={"help": "Columns under another name: lang=language,instruction=question."}
    )
    eval_data: list[str] | None = field(
        default=None, metadata={"help": "Rows for the report, instead of pairs held out of --data."}
    )
    output: str | None = field(
        default=None,
        metadata={"help": "Directory of the new checkpoint; the checkpoint's own, replaced, if not given."},
    )
    overwrite: bool = field(default=False, metadata={"help": "Replace what --output holds."})
    max_length: int = field(default=1024, metadata={"help": "Most tokens of prompt and answer."})
    seed: int = field(default=42, metadata={"help": "Of the choice of pairs."})
    use_cpu: bool = field(default=False, metadata={"help": "Use no accelerator."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})


def refit(
    checkpoint: Path, options: RefitArguments, fit: FitArguments, say: Callable[[str], object] = lambda _line: None
) -> tuple[Fitted, Path]:
    """Fit, and write; the finished checkpoint appears at once, or takes the old one's place.

    Raises:
        CheckpointError: ``checkpoint`` has no connection, or is one on its own.
        DataError, ChatError, OutputError, FitError: as in `cc_train.training.run.run`.
    """
    if (checkpoint / ENTRY_FILE).is_file() and not (checkpoint / CONFIG_FILE).exists():
        raise CheckpointError(
            checkpoint,
            "is a connection on its own; put it on its base first: "
            f"cc-train attach --model BASE --connection {checkpoint} --output OUTPUT",
        )
    connection, entry = load_connection(checkpoint)
    output = Path(options.output) if options.output else checkpoint
    workspace = Workspace(output, overwrite=options.overwrite or output == checkpoint)
    device = torch.device("cpu")
    if not options.use_cpu and torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator() or device
    try:
        # A CPU computes in fp32 what an accelerator computes in the saved type.
        model = load_model(
            checkpoint, torch.float32 if device.type == "cpu" else AutoConfig.from_pretrained(checkpoint).dtype
        )
        encoder = ChatEncoder(AutoTokenizer.from_pretrained(checkpoint), model.generation_config)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(checkpoint, f"cannot be loaded: {' '.join(str(error).split())}") from error
    model.eval().to(device)  # type: ignore[arg-type]

    def load(given: list[str]) -> Any:
        return load_examples(
            given,
            encoder,
            columns=options.columns,
            max_length=options.max_length,
            anchor_offset=entry.anchor_offset,
            seed=options.seed,
            answers=False,
            say=say,
            shows_progress=not options.disable_tqdm,
        )[0]

    examples = load(options.data)
    scored = load(options.eval_data) if options.eval_data else None
    if scored is not None:
        examples = _unseen(examples, scored, say)
    try:
        matrix = load_projection(checkpoint)
    except ValueError as error:
        raise CheckpointError(checkpoint, str(error)) from error
    if matrix is None and (entry.model_extra or {}).get("projected"):
        raise CheckpointError(
            checkpoint, f"has no {PROJECTION_FILE}, which its connection was trained with; copy it again"
        )
    directory = workspace.open()
    with workspace.writing():
        fitted = fit_connection(
            model,
            connection.decision,
            examples,
            encoder.pad_id,
            fit.settings(),
            directory=directory,
            anchor_offset=entry.anchor_offset,
            batch_size=fit.fit_batch_size,
            seed=options.seed,
            scored=scored,
            projection=None if matrix is None else matrix.to(device),
            shows_progress=not options.disable_tqdm,
        )
        _copy(checkpoint, directory, linked=output == checkpoint)
        details = entry.model_dump(exclude=set(ConnectionConfig.model_fields)) | {
            "fit": {"data": named_sources(options.data), **fitted.details()}
        }
        languages = sorted({*entry.languages, *fitted.languages})
        save_connection(directory, fitted.connection, languages, details)
        fitted.write_facts(directory)
        describe(directory, None, output.name, say)
        return fitted, workspace.publish()


def _unseen(examples: list[Example], scored: list[Example], say: Callable[[str], object]) -> list[Example]:
    """``examples`` without the English prompts that are scored, which would say little of a matrix that knows them."""
    prompts = {example.english.tobytes() for example in scored if example.row.connected}
    left = [example for example in examples if example.english.tobytes() not in prompts]
    if not any(example.row.connected for example in left):
        raise DataError("--eval-data: has every English prompt of --data, so that nothing is left to fit on")
    if len(left) < len(examples):
        say(f"{len(examples) - len(left)} rows of --data are left out: --eval-data has their English prompts")
    return left


def _copy(checkpoint: Path, directory: Path, *, linked: bool) -> None:
    """Everything but what the fit writes; large files that stay the same are linked, where the old ones go away."""
    # A card that no run wrote was written by hand.
    written = _WRITTEN | ({CARD_FILE} if (checkpoint / RUN_FILE).exists() else set())
    for path in sorted(checkpoint.rglob("*")):
        target = directory / path.relative_to(checkpoint)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif path.name not in written and path.parent.name != PICTURES:
            if linked:
                target.hardlink_to(path)
            else:
                shutil.copyfile(path, target)


class _Parser(HfArgumentParser):
    """Raises instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def make_parser() -> HfArgumentParser:
    """The parser of ``cc-train fit``."""
    groups: list[Any] = [RefitArguments, FitArguments]
    parser = _Parser(
        groups,
        prog="cc-train fit",
        usage="%(prog)s CHECKPOINT --data FILE [options]",
        description="Fit the Transform Matrices of a checkpoint again.",
        epilog="example: cc-train fit outputs/mine --data PAIRS.jsonl.gz",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", type=Path, help="Directory of a CC-Tuned checkpoint.")
    return parser


def main(arguments: Sequence[str]) -> int:
    """``cc-train fit``."""
    console = Console(stderr=True)
    try:
        options, fit, rest = _parse(make_parser(), arguments)
        fitted, output = refit(rest.checkpoint, options, fit, lambda line: console.print(escape(line), highlight=False))
    except (UsageError, CheckpointError, DataError, ChatError) as error:
        print(f"cc-train fit: {error}", file=sys.stderr)
        return BAD_INPUT
    except (OutputError, FitError) as error:
        print(f"cc-train fit: {error}; the checkpoint is as it was", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("cc-train fit: interrupted; the checkpoint is as it was", file=sys.stderr)
        return INTERRUPTED
    Console().print(score_table(_title(fitted), "pairs", fitted.facts["fitted_pairs"], fitted.facts["scores"]))
    print(f"checkpoint: {output}")
    return 0


def _parse(parser: HfArgumentParser, arguments: Sequence[str]) -> tuple[RefitArguments, FitArguments, Any]:
    if problem := unknown_option(parser, arguments):
        raise UsageError(problem)
    try:
        options, fit, rest = parser.parse_args_into_dataclasses(list(arguments), look_for_args_file=False)
    except (ValueError, TypeError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    return options, fit, rest


def _title(fitted: Fitted) -> str:
    shrinkage = fitted.facts["shrinkage"]
    own = "one matrix for all" if shrinkage is None else f"languages pulled to it as by {shrinkage:.3g} pairs"
    return f"global matrix with ridge {fitted.facts['ridge']:.3g}, {own}"

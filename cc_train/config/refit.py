"""Options of ``cc-train fit`` beside those of the fit itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from cc_train.config.data import length_rule
from cc_train.config.parser import check
from cc_train.config.training import seed_rule


@dataclass(frozen=True)
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

    def __post_init__(self) -> None:
        check((length_rule(self.max_length), seed_rule("--seed", self.seed)))

"""Options about the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cc_train.config.parser import UsageError, check
from cc_train.data.template_options import TemplateOptionError, parse_options

#: The fewest tokens that leave room for something of a prompt and of its answer.
LEAST_LENGTH: Final = 8


def length_rule(max_length: int) -> tuple[str, bool, str]:
    """The rule of ``--max-length``, for `check`."""
    return "--max-length", max_length < LEAST_LENGTH, f"must be at least {LEAST_LENGTH}"


@dataclass(frozen=True)
class DataArguments:
    """What the model is trained on."""

    _argument_group_name = "data"

    data: list[str] = field(
        metadata={
            "help": "Parallel rows: JSON lines, a JSON array, CSV or TSV (plain or gzipped), Parquet, a "
            "directory of them, a Hugging Face "
            "dataset saved on disk, or its id on the hub (ORG/NAME:CONFIGURATION#SPLIT). FILE=0.3 uses three rows in "
            "ten, FILE=2 each row twice."
        }
    )
    columns: str | None = field(
        default=None,
        metadata={"help": "Columns under another name: lang=language,instruction=question,output=answer."},
    )
    align_data: list[str] | None = field(
        default=None,
        metadata={
            "help": "More parallel prompts, which join the alignment only; needs --align. Rows as in --data, without "
            "answers, or sentences in many languages, a field each, 'en' among them."
        },
    )
    eval_data: list[str] | None = field(
        default=None, metadata={"help": "Rows for evaluation during training; needs --eval-strategy."}
    )
    max_length: int = field(
        default=1024,
        metadata={"help": "Most tokens of prompt and answer; longer prompts lose the beginning of the user's text."},
    )
    train_turns: Literal["last", "all"] = field(
        default="last",
        metadata={
            "help": "last: a conversation's last answer is trained. all: each of its answers is, as a row of its own "
            "with the turns before it, connected as in serving; messages_en needs the same turns."
        },
    )
    chat_template_kwargs: str | None = field(
        default=None,
        metadata={
            "help": 'Options of the chat template as JSON, such as {"enable_thinking": false}. The saved template has '
            "them as its defaults, so that prompts are served as they were trained."
        },
    )
    max_rows: int | None = field(default=None, metadata={"help": "Train on a random sample of this many rows."})

    def __post_init__(self) -> None:
        try:
            parse_options(self.chat_template_kwargs)
        except TemplateOptionError as error:
            raise UsageError(f"--chat-template-kwargs {error}") from error
        check(
            (
                length_rule(self.max_length),
                ("--max-rows", self.max_rows is not None and self.max_rows < 1, "must be at least 1"),
            )
        )

    @property
    def template_options(self) -> dict[str, Any]:
        """The options of the chat template, by name."""
        return parse_options(self.chat_template_kwargs)

"""Options about evaluation during training."""

from __future__ import annotations

from dataclasses import dataclass, field

from cc_train.config.parser import check


@dataclass(frozen=True)
class EvaluationArguments:
    """What is measured on ``--eval-data`` beside the loss."""

    _argument_group_name = "evaluation during training"

    eval_generate: int | None = field(
        default=None,
        metadata={
            "help": "At each evaluation, also answer this many rows of --eval-data of each task and language, and log "
            "their scores. --metric-for-best-model score keeps the best."
        },
    )
    eval_task: str | None = field(
        default=None,
        metadata={"help": "What rows of no known task are scored as: mkqa, mgsm, xlsum or another of cc-train eval's."},
    )
    eval_max_tokens: int = field(default=40, metadata={"help": "Most tokens of an answer that is scored."})

    def __post_init__(self) -> None:
        check(
            (
                ("--eval-generate", self.eval_generate is not None and self.eval_generate < 1, "must be at least 1"),
                ("--eval-max-tokens", self.eval_max_tokens < 1, "must be at least 1"),
                *(
                    (option, given and self.eval_generate is None, "needs --eval-generate")
                    for option, given in (
                        ("--eval-task", self.eval_task is not None),
                        ("--eval-max-tokens", self.eval_max_tokens != type(self).eval_max_tokens),
                    )
                ),
            )
        )

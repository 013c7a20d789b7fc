"""Every option of transformers has the effect that the table says, or is refused by name."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments, set_seed

from cc_train.config.parser import UsageError
from cc_train.config.run import parse_run
from cc_train.config.transformers_options import OPTIONS
from cc_train.data.encoding import encode_rows
from cc_train.training.assembly import make_trainer
from tests.support.paths import ROOT
from tests.support.tiny import tiny_llama
from tests.support.tiny_rows import encoder, row
from tests.support.tiny_tokenizer import WORDS

BASE = ("--model", "m", "--data", "d", "--use-cpu", "--disable-tqdm", "true", "--report-to", "none")
SHORT = ("--max-steps", "4", "--logging-steps", "1", "--per-device-train-batch-size", "4", "--learning-rate", "0.01")
TIMES = ("runtime", "per_second")


def of_effect(*effects: str) -> list[str]:
    return [name for name, option in OPTIONS.items() if option.effect in effects]


def flags(name: str) -> list[str]:
    option = OPTIONS[name]
    return [*SHORT, *option.beside, f"--{name.replace('_', '-')}", option.sample]


def evaluates(given: tuple[str, ...]) -> list[str]:
    return ["--eval-data", "e"] if "--eval-strategy" in given else []


class _EvaluationBatches(TrainerCallback):
    count = 0

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1


@cache
def outcome(*given: str) -> tuple[Any, ...]:
    """What a short run on a tiny model logs, keeps and learns."""
    with TemporaryDirectory() as directory:
        config = parse_run([*BASE, "--output", f"{directory}/out", *given, *evaluates(given)])
        some = [row(output=word, instruction="Wort?" + " ja" * i) for i, word in enumerate([*WORDS, *WORDS, "beta"])]
        examples, _ = encode_rows(some, encoder(), 64)
        set_seed(config.training.seed)
        model = tiny_llama()
        trainer = make_trainer(
            model, config.method, config.training, examples, examples[:5] if evaluates(given) else [], 0
        )
        batches = _EvaluationBatches()
        trainer.add_callback(batches)
        trainer.train()
        place = Path(str(config.training.output_dir))
        files = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
        logs = [{k: v for k, v in e.items() if not k.endswith(TIMES)} for e in trainer.state.log_history]
        weights = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
        return trainer.state.global_step, batches.count, logs, files, weights


def test_every_option_of_transformers_has_a_row() -> None:
    assert {option.name for option in fields(TrainingArguments) if option.init} == set(OPTIONS)


@pytest.mark.parametrize("name", of_effect("result"))
def test_an_option_changes_the_result(name: str) -> None:
    before = list(SHORT)
    beside = list(OPTIONS[name].beside)
    assert outcome(*flags(name)) != outcome(*before, *beside)


def test_the_options_of_speed_change_nothing_else() -> None:
    """All at once: runs are what this file takes its time for."""
    given = [flag for name in of_effect("speed") for flag in flags(name)[len(SHORT) :]]
    try:
        assert outcome(*SHORT, *given) == outcome(*SHORT)
    finally:
        torch.use_deterministic_algorithms(False)  # which --full-determinism turns on for good


@pytest.mark.parametrize("name", of_effect("several"))
def test_an_option_of_parallel_runs_reaches_transformers(name: str) -> None:
    if sample := OPTIONS[name].sample:
        config = parse_run([*BASE, "--output", "o", f"--{name.replace('_', '-')}", sample])
        assert str(getattr(config.training, name)).lower() == sample


OTHER_VALUES = {
    "optim_target_modules": "all-linear",
    "torch_compile_backend": "inductor",
    "torch_compile_mode": "default",
    "eval_accumulation_steps": "2",
    "include_for_metrics": "loss",
    "eval_do_concat_batches": "false",
    "logging_nan_inf_filter": "false",
    "hub_strategy": "end",
    "label_names": "labels",
    "length_column_name": "size",
    "parallelism_config": '{"tp_size": 2}',
    "debug": "underflow_overflow",
    "skip_memory_metrics": "false",
    "local_rank": "0",
    "liger_kernel_config": '{"rope": true}',
}


@pytest.mark.parametrize("name", of_effect("refused"))
def test_an_option_without_effect_is_refused_by_name(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError) as caught:
        parse_run([*BASE, "--output", "o", option, OTHER_VALUES.get(name, "true")])
    # What is no mapping for transformers' own parser does not come as far.
    assert str(caught.value).startswith((f"{option} has no use here: ", f"argument --{name}"))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="the machine has an accelerator")
@pytest.mark.parametrize("name", of_effect("accelerator"))
def test_what_needs_an_accelerator_is_refused_without(name: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){name}"):
        parse_run([*BASE, "--output", "o", f"--{name}", "true"])


def test_a_test_is_named_for_what_is_shown_elsewhere() -> None:
    named = {word.strip(";") for o in OPTIONS.values() for word in o.note.split() if word.startswith("tests/")}
    assert {name for name in named if not (ROOT / name).is_file()} == set()

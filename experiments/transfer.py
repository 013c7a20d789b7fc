"""Facts taught in English, asked in other languages: what carries them over?

    python -m experiments.transfer --data DIR --model models/gemma3-270m --jobs 2
    python -m experiments.compare outputs/transfer/gemma3-270m/results/*.json

The base model is fine-tuned on the English questions of all items of MKQA, dev ones among them. Every system goes on
from there with `cc-train run`, on the same English rows and on the other languages' rows of the training items. The dev
items are then asked in the other languages: their answers were only ever seen in English. Results that exist are not
made again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cc_core.checkpoint import load_connection
from cc_core.names import CONNECTION_FILE, ENGLISH
from cc_train import train
from cc_train.data.chat import ChatEncoder
from cc_train.model.projection import load_projection
from experiments import rows
from experiments.score import mean_vectors, score

LANGUAGES = ("de", "ru", "tr", "vi", "zh")
ANSWER_TOKENS = 16
"""MKQA's answers are names, dates and numbers."""
MEAN_ROWS = 24
"""Training rows of each language behind its mean vector."""

SYSTEMS: dict[str, dict[str, Any]] = {
    "base": {},
    "taught": {},
    "sft": {"method": "sft"},
    "sft_align": {"method": "sft", "align": 4},
    "cc": {"method": "cc", "connection_scale": 0.3},
    "cc_align": {"method": "cc", "connection_scale": 0.3, "align": 4},
    "cc_raw": {"method": "cc"},
    "cc_raw_align": {"method": "cc", "align": 4},
}
"""What each system gives `cc-train run`. ``base`` and ``taught`` are scored as they are."""

COURSE: dict[str, Any] = {
    "freeze_embeddings": True,
    "per_device_train_batch_size": 16,
    "train_sampling_strategy": "group_by_length",
    "lr_scheduler_type": "cosine",
    "warmup_steps": 10,
    "save_dtype": "float32",
    "disable_tqdm": True,
    "use_cpu": True,
}
TEACHING: dict[str, Any] = {"method": "sft", "max_steps": 220, "learning_rate": 1e-4, "seed": 100}
TUNING: dict[str, Any] = {"max_steps": 60, "learning_rate": 5e-5, "decision_learning_rate": 1e-3, "fit_max_pairs": 600}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model's files are.

    Args:
        model: the base model.
        work: rows, weights and results.
    """

    model: Path
    work: Path

    @property
    def taught(self) -> Path:
        return self.work / "taught"

    @property
    def english(self) -> Path:
        return self.work / "english.jsonl"

    @property
    def own(self) -> Path:
        return self.work / "own.jsonl"

    @property
    def dev(self) -> Path:
        return self.work / "dev.jsonl"

    @property
    def dev_english(self) -> Path:
        return self.work / "dev-english.jsonl"

    def result(self, system: str, seed: int) -> Path:
        return self.work / "results" / f"{system}-{seed}.json"


def question(text: str) -> str:
    """The question of an MKQA prompt, without 'Please answer …' above it and 'Your answer:' below it."""
    _, found, _ = text.split("\n\n")
    return found


def select(data: Path, split: str) -> list[dict[str, Any]]:
    """MKQA's rows in English and `LANGUAGES`, their prompts the questions alone."""
    with gzip.open(data / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [
        {**row, **{name: question(row[name]) for name in ("instruction", "instruction_en")}}
        for row in lines
        if row["task"] == "mkqa" and row["lang"] in (ENGLISH, *LANGUAGES)
    ]


def write_rows(data: Path, place: Place) -> None:
    """English rows of all items, other rows of the training items, and both of the dev items, a file each."""
    training, dev = select(data, "train"), select(data, "dev")
    for path, chosen in (
        (place.english, [row for row in training + dev if row["lang"] == ENGLISH]),
        (place.own, [row for row in training if row["lang"] != ENGLISH]),
        (place.dev, [row for row in dev if row["lang"] != ENGLISH]),
        (place.dev_english, [row for row in dev if row["lang"] == ENGLISH]),
    ):
        rows.write([json.dumps(row, ensure_ascii=False) + "\n" for row in chosen], path)


def score_checkpoint(checkpoint: Path, place: Place) -> dict[str, Any]:
    """`score` of the dev items in the other languages, in fp32; ``known`` is of the same items in English, plain."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(checkpoint), model.generation_config)
    connection = means = None
    if (checkpoint / CONNECTION_FILE).exists():
        connection, _ = load_connection(checkpoint)
        by_language: dict[str, list[Any]] = defaultdict(list)
        for example in rows.load(place.own, encoder):
            by_language[example.row.lang].append(example)
        sample = [e for each in by_language.values() for e in random.Random(0).sample(each, min(MEAN_ROWS, len(each)))]
        means = mean_vectors(model, connection, sample, encoder.pad_id)
    asked = rows.load(place.dev, encoder)
    projection = load_projection(checkpoint)
    scores = score(model, connection, asked, encoder, projection, rows.accepted(place.dev), means, ANSWER_TOKENS)
    english = rows.load(place.dev_english, encoder, english=True)
    accepted = rows.accepted(place.dev_english)
    scores["known"] = score(model, None, english, encoder, accepted=accepted, max_tokens=ANSWER_TOKENS)
    return scores


def make(system: str, seed: int, place: Place, steps: int, bf16: bool) -> str:
    """Train ``system`` and score it; its weights are not kept."""
    start = {"base": place.model, "taught": place.taught}.get(system)
    output = place.work / "weights" / f"{system}-{seed}"
    began = time.monotonic()
    if start is None:
        data = [str(place.own), str(place.english)]
        given = {**COURSE, **TUNING, **SYSTEMS[system], "max_steps": steps, "seed": seed, "bf16": bf16}
        if given["method"] == "sft":
            del given["decision_learning_rate"], given["fit_max_pairs"]
        train(model=place.taught, data=data, output=output, overwrite=True, **given)
    trained = time.monotonic()
    scores = score_checkpoint(start or output, place)
    scores["training"] = {
        "options": {"seed": seed, "steps": steps, "bf16": bf16, **TUNING, **SYSTEMS[system]},
        "seconds": round(trained - began, 1),
        "scoring_seconds": round(time.monotonic() - trained, 1),
    }
    result = place.result(system, seed)
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(scores, ensure_ascii=False), "utf-8")
    shutil.rmtree(output, ignore_errors=True)
    return f"{time.strftime('%T')} {system}-{seed}: {scores['training']['seconds']:.0f} s"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds train.jsonl.gz and dev.jsonl.gz")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("outputs/transfer"))
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes at a time, a thread and 5 GB each, or more for a larger model"
    )
    parser.add_argument("--teaching-steps", type=int, default=TEACHING["max_steps"])
    parser.add_argument("--teaching-learning-rate", type=float, default=TEACHING["learning_rate"])
    parser.add_argument("--steps", type=int, default=TUNING["max_steps"])
    parser.add_argument("--bf16", action="store_true", help="train in mixed precision, on CPUs with AVX-512 bf16")
    parser.add_argument("--systems", choices=SYSTEMS, nargs="+", default=list(SYSTEMS), help="the first ones first")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    place = Place(options.model, options.work / options.model.name)
    write_rows(options.data, place)
    if not place.taught.exists():
        taught: dict[str, Any] = {
            **COURSE,
            **TEACHING,
            "max_steps": options.teaching_steps,
            "learning_rate": options.teaching_learning_rate,
            "bf16": options.bf16,
        }
        # In a process of its own, whose memory is free for the systems afterwards.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(
                partial(train, model=place.model, data=str(place.english), output=place.taught, say=print, **taught)
            ).result()
    runs = [
        (system, seed) for seed in range(options.seeds) for system in options.systems if SYSTEMS[system] or not seed
    ]
    missing = [run for run in runs if not place.result(*run).exists()]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two such processes are faster than one with two threads
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for done in [pool.submit(make, system, seed, place, options.steps, options.bf16) for system, seed in missing]:
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()

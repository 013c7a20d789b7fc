"""lm-evaluation-harness. It streams nothing: in that step's place, a multiple choice, by an echo with ``logprobs``.

Fields of ours are generation options, and the reason of a refusal is in the response behind the error. A multiple
choice wants the server's tokenizer, and so ``--enable-tokenizer-info-endpoint``. Headers are not seen: the server's
counter tells the connection.
"""

import json
import os
import re
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "none"}

from lm_eval import simple_evaluate
from requests import HTTPError

from tools.clients.steps import (
    ADDRESS,
    ENGLISH,
    GERMAN,
    MODEL,
    TOKENS,
    UNKNOWN,
    require,
    require_refusal,
    run,
)

REQUESTS = re.compile(r'^cc:requests_total\{connection="(?!off|none).*\} (\S+)$', re.MULTILINE)


def _connected_requests() -> float:
    with urllib.request.urlopen(f"{ADDRESS}/metrics") as metrics:
        return sum(map(float, REQUESTS.findall(metrics.read().decode())))


def _evaluate(model: str, path: str, task: dict[str, Any], **options: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text(
            json.dumps({"question": ENGLISH, "german": GERMAN, "cities": ["Bonn", "Nairobi"], "right": 1}) + "\n"
        )
        common = {
            "task": "clients",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(rows)}},
            "test_split": "test",
        }
        return simple_evaluate(
            model=model,
            model_args={
                "model": MODEL,
                "base_url": f"{ADDRESS}{path}",
                "max_retries": 1,
                "num_concurrent": 1,
                **options,
            },
            tasks=[{**common, **task}],
            apply_chat_template="chat" in model,
            bootstrap_iters=0,
            verbosity="ERROR",
        )


def _generate(question: str, **options: Any) -> None:
    task = {
        "output_type": "generate_until",
        "doc_to_text": question,
        "doc_to_target": "cities",
        "generation_kwargs": {"until": [], "max_gen_toks": TOKENS, "temperature": 0, **options},
        "metric_list": [{"metric": "exact_match"}],
    }
    answers = _evaluate("local-chat-completions", "/v1/chat/completions", task)["samples"]["clients"]
    require(isinstance(answers[0]["resps"][0][0], str), "no answer")


def _plain() -> None:
    before = _connected_requests()
    _generate("question")
    require(_connected_requests() == before, "the request was connected")


def _connected() -> None:
    before = _connected_requests()
    _generate("german")
    require(_connected_requests() == before + 1, "the request was not connected")


def _choose() -> None:
    task = {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "cities",
        "doc_to_target": "right",
        "metric_list": [{"metric": "acc"}],
    }
    results = _evaluate("local-completions", "/v1/completions", task, tokenizer_backend="remote")
    require("acc,none" in results["results"]["clients"], "no accuracy")


def _refused() -> None:
    try:
        _generate("german", cc_connection=UNKNOWN)
    except HTTPError as error:
        require_refusal(error.response.text if error.response is not None else error)
    else:
        require(False, "no error")


run(_plain, _connected, _choose, _refused)

"""The whole road, with nothing replaced: base model, training, server, the openai client, and the server's end.

The tests run in the order of this file against one server, which the last test stops.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import torch
from openai.types.chat import ChatCompletionChunk
from transformers import AutoTokenizer, BatchEncoding

import cc_train
from cc_core.checkpoint import load_connection
from cc_train.model.reference import Reference
from tests.support.programs import installed
from tests.support.server import ANSWER_TOKENS, Server, started
from tools import demo

SAMPLE = Path(cc_train.__file__).parent / "data" / "sample.jsonl"
ROWS = 32  # two of each language
QUESTIONS = {
    "sw": "Mji mkuu wa Kenya ni upi?",
    "de": "Wer hat das Buch Faust geschrieben?",
    "ja": "日本の首都はどこですか？",
    "tr": "Türkiye'nin başkenti neresidir?",
}
ENGLISH = "What is the capital of France?"
END_OF_ANSWER = (1,)
STREAMED = 64  # tokens of the answer that is being streamed when the server is told to stop


@pytest.fixture(scope="module")
def checkpoint(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a few steps of ``cc-train run`` make of the base model."""
    directory = tmp_path_factory.mktemp("road")
    data = directory / "rows.jsonl"
    data.write_text("".join(SAMPLE.read_text("utf-8").splitlines(keepends=True)[:ROWS]), "utf-8")
    command = [installed("cc-train"), "run", "--model", base_model, "--data", data, "--output", directory / "demo"]
    options = "--max-steps 4 --per-device-train-batch-size 4 --learning-rate 2e-5 --freeze-embeddings True --seed 1"
    subprocess.run([*map(str, command), *options.split()], check=True)
    return directory / "demo"


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference.from_checkpoint(checkpoint, torch.float32)


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``cc-serve serve`` on a free port, in fp32 so that its tokens can be compared."""
    with started(checkpoint, tmp_path_factory.mktemp("server") / "log", "--host", "127.0.0.1") as running:
        yield running


def test_training_makes_a_connection_for_the_samples_languages(checkpoint: Path) -> None:
    connection, config = load_connection(checkpoint)
    assert (connection.num_layers, connection.hidden_size) == (18, 640)
    assert set(QUESTIONS) <= set(config.languages)


@pytest.mark.parametrize("language", QUESTIONS)
def test_a_question_in_another_language_is_answered_with_the_connection(server: Server, language: str) -> None:
    completion, headers = server.chat(QUESTIONS[language])
    assert headers["X-CC-Language"] == language
    assert headers["X-CC-Connection"] == "global"
    assert completion.choices[0].token_ids


def test_an_english_question_is_answered_without_it(server: Server) -> None:
    completion, headers = server.chat(ENGLISH)
    assert headers["X-CC-Language"] == "en"
    assert headers["X-CC-Connection"] == "off"
    switched_off, _ = server.chat(ENGLISH, cc_connection="off")
    assert completion.choices[0].token_ids == switched_off.choices[0].token_ids


@pytest.mark.parametrize("language", [*QUESTIONS, "en"])
def test_the_server_answers_token_for_token_as_the_two_pass_reference(
    server: Server, reference: Reference, checkpoint: Path, language: str
) -> None:
    question = QUESTIONS.get(language, ENGLISH)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
    assert isinstance(prompt, BatchEncoding)
    token_ids: list[int] = prompt["input_ids"]
    name = None if language == "en" else "global"
    expected = reference.generate(token_ids, name, ANSWER_TOKENS, stop=END_OF_ANSWER)

    completion, _ = server.chat(question, logprobs=True)

    assert completion.prompt_token_ids == token_ids
    assert completion.choices[0].token_ids == expected.tokens
    served = [token.logprob for token in completion.choices[0].logprobs.content]
    assert served == pytest.approx(expected.logprobs[: len(served)], abs=1e-2)


@pytest.mark.parametrize("language", QUESTIONS)
def test_the_connection_changes_what_is_answered(server: Server, language: str) -> None:
    first = {}
    for override in ("auto", "off"):
        completion, headers = server.chat(QUESTIONS[language], cc_connection=override, logprobs=True)
        assert headers["X-CC-Connection"] == {"auto": "global", "off": "off"}[override]
        first[override] = completion.choices[0].logprobs.content[0]
    assert abs(first["auto"].logprob - first["off"].logprob) > 1e-3 or first["auto"].token != first["off"].token


def test_a_stream_says_the_same(server: Server) -> None:
    whole, _ = server.chat(QUESTIONS["sw"])
    with server.client.chat.completions.with_streaming_response.create(
        model="demo",
        messages=[{"role": "user", "content": QUESTIONS["sw"]}],
        max_tokens=ANSWER_TOKENS,
        temperature=0,
        stream=True,
    ) as response:
        assert response.headers["X-CC-Connection"] == "global"
        chunks = [chunk for chunk in response.parse() if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_caller_names_the_language(server: Server) -> None:
    _, headers = server.chat(ENGLISH, cc_connection="sw")
    assert (headers["X-CC-Language"], headers["X-CC-Connection"]) == ("sw", "global")


def test_an_unknown_language_is_refused_with_the_known_ones(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match=r"unknown cc_connection 'xx'.*global.*sw") as refusal:
        server.chat(ENGLISH, cc_connection="xx")
    assert refusal.value.param == "cc_connection"


def test_the_demos_curl_line_works_as_it_stands(server: Server) -> None:
    words = shlex.split(demo.curl_line(server.address))
    assert [words[0], words[1], words[3], words[5]] == ["curl", "-i", "-H", "-d"]
    name, value = words[4].split(": ")
    response = httpx.post(words[2], headers={name: value}, content=words[6].encode(), timeout=60)
    assert response.status_code == 200
    assert response.headers["X-CC-Connection"] == "global"


def test_the_demos_snippet_works_as_it_stands(server: Server) -> None:
    done = subprocess.run([sys.executable, "-c", demo.snippet(server.address)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(" ")[0] for line in done.stdout.splitlines() if line.startswith(("global", "off"))] == [
        "global",
        "off",
    ]


def test_a_stream_that_runs_when_the_server_is_stopped_is_finished(server: Server) -> None:
    stream = server.client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": QUESTIONS["de"]}],
        max_tokens=STREAMED,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    )
    chunks: list[ChatCompletionChunk] = []
    for chunk in stream:
        if len(chunks) == 3:
            server.process.send_signal(signal.SIGTERM)
        chunks.append(chunk)
    finish = [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1]
    assert finish == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == STREAMED
    assert server.process.wait(timeout=60) == 0

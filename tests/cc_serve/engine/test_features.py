"""What a request may ask for beside its connection: each works as on the plain model, or as the reference says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm.sampling_params import StructuredOutputsParams

from tests.cc_serve.engine.conftest import (
    BLOCK,
    CHUNK,
    CONNECTIONS,
    LENGTHS,
    Engine,
    Job,
    assert_async,
    async_scheduling,
    prompt,
    start_engine,
)
from tests.support.tally import TALLY
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base, tiny_tokenizer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama with a tokenizer."""
    from cc_core.checkpoint import save_connection

    directory = save_base(tmp_path_factory.mktemp("with-tokenizer"), tiny_llama())
    save_connection(directory, random_connection(["global", "sw"]), ["de", "sw"])
    return directory


@contextmanager
def start(checkpoint: Path, **options: Any) -> Iterator[Engine]:
    """Eager, with a tokenizer."""
    with start_engine(
        checkpoint,
        skip_tokenizer_init=False,
        enforce_eager=True,
        block_size=BLOCK,
        max_num_seqs=16,
        max_num_batched_tokens=CHUNK,
        # A random model would write blanks until it has no tokens left.
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        **options,
    ) as engine:
        yield engine


@pytest.fixture(scope="module", params=["sync", "async"])
def engine(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Engine]:
    if request.param == "sync":
        with start(checkpoint) as engine:
            yield engine
    else:
        with async_scheduling(), start(checkpoint, async_scheduling=True) as engine:
            assert_async(engine)
            yield engine


def test_logit_bias(engine: Engine) -> None:
    job = Job(prompt(1, 60), "sw", max_tokens=6)
    bias = {engine.expect(job).tokens[0]: -100.0, 50: 3.0}

    def add_bias(_module: object, _args: object, logits: torch.Tensor) -> torch.Tensor:
        for token, value in bias.items():
            logits[..., token] += value
        return logits

    handle = engine.reference.model.lm_head.register_forward_hook(add_bias)
    try:
        expected = engine.reference.generate(job.prompt, job.connection, job.max_tokens).tokens
    finally:
        handle.remove()
    assert expected != engine.expect(job).tokens
    assert list(engine.run([job], logit_bias=bias)[0].outputs[0].token_ids) == expected
    TALLY.count(len(expected))


def test_stop_token_ends_the_answer(engine: Engine) -> None:
    job = Job(prompt(2, 60), "sw")
    expected = engine.expect(job).tokens
    stop = expected[4]
    completion = engine.run([job], stop_token_ids=[stop])[0].outputs[0]
    assert list(completion.token_ids) == expected[: expected.index(stop) + 1]
    assert completion.stop_reason == stop
    TALLY.count(len(completion.token_ids))


def test_stop_string_ends_the_answer(engine: Engine) -> None:
    job = Job(prompt(3, 60), "sw")
    text = engine.run([job], detokenize=True)[0].outputs[0].text
    stop = text[3:5]
    completion = engine.run([job], detokenize=True, stop=[stop])[0].outputs[0]
    assert completion.text == text[: text.index(stop)]
    assert completion.finish_reason == "stop"


def test_the_layer_is_told_where_a_stop_string_ends_the_answer(engine: Engine) -> None:
    job = Job(prompt(3, 60), "sw")
    whole = engine.run([job], detokenize=True)[0]
    stopped = engine.run([job], detokenize=True, stop=[whole.outputs[0].text[3:5]])[0]
    assert stopped.outputs[0].finish_reason == "stop"
    assert stopped.kv_transfer_params is not None
    assert stopped.kv_transfer_params == whole.kv_transfer_params


def test_logprobs_of_alternatives(engine: Engine) -> None:
    job = Job(prompt(4, 60), "global", max_tokens=1)
    completion = engine.run([job], logprobs=5)[0].outputs[0]
    assert completion.logprobs is not None
    values = [entry.logprob for entry in completion.logprobs[0].values()]
    assert len(values) == 5
    assert max(values) == pytest.approx(engine.expect(job).logprobs[0], abs=1e-3)


def test_structured_output(engine: Engine) -> None:
    """The grammar starts with the first token that counts, not with the discarded one."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}, "b": {"type": "boolean"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    jobs = [Job(prompt(5 + i, 40 + 20 * i), name, max_tokens=60) for i, name in enumerate(CONNECTIONS)]
    grammar = StructuredOutputsParams(json=schema)
    outputs = engine.run(jobs, detokenize=True, ignore_eos=False, structured_outputs=grammar)
    for output in outputs:
        answer = json.loads(output.outputs[0].text)
        assert set(answer) == {"a", "b"}


def test_grammar_masks_the_connected_distribution(engine: Engine) -> None:
    digits = torch.tensor([tiny_tokenizer().convert_tokens_to_ids(digit) for digit in "0123456789"])

    def digits_only(_module: object, _args: object, logits: torch.Tensor) -> torch.Tensor:
        mask = torch.full_like(logits, -torch.inf)
        mask[..., digits] = 0
        return logits + mask

    jobs = [Job(prompt(50 + i, 70), name, max_tokens=6) for i, name in enumerate(CONNECTIONS)]
    outputs = engine.run(jobs, structured_outputs=StructuredOutputsParams(regex="[0-9]{6}"))
    handle = engine.reference.model.lm_head.register_forward_hook(digits_only)
    try:
        for job, output in zip(jobs, outputs, strict=True):
            expected = engine.reference.generate(job.prompt, job.connection, job.max_tokens).tokens
            assert list(output.outputs[0].token_ids) == expected
            TALLY.count(len(expected))
    finally:
        handle.remove()


def test_each_seed_draws_alike_in_any_company(engine: Engine) -> None:
    job = Job(prompt(8, 70), "sw")
    neighbours = [Job(prompt(100 + i, 30 + 7 * i), CONNECTIONS[i % 3]) for i in range(9)]
    draws = {
        tuple(engine.run([*jobs, job], temperature=1.0, seed=3)[-1].outputs[0].token_ids)
        for jobs in ([], neighbours[:3], neighbours)
    }
    assert len(draws) == 1
    assert tuple(engine.run([job], temperature=1.0, seed=4)[0].outputs[0].token_ids) not in draws


def test_parallel_samples_each_have_the_connection(engine: Engine) -> None:
    job = Job(prompt(9, 70), "sw")
    expected = engine.expect(job)
    for sample in engine.run([job], n=3, temperature=1.0, seed=1, logprobs=1)[0].outputs:
        assert sample.logprobs is not None
        best = max(sample.logprobs[0].items(), key=lambda entry: entry[1].logprob)
        assert best[0] == expected.tokens[0]
        assert best[1].logprob == pytest.approx(expected.logprobs[0], abs=1e-3)


def test_penalties_do_not_count_the_discarded_token(engine: Engine) -> None:
    """Where the capture step would sample the very token that the connected step samples next."""
    for seed in range(200, 400):
        job = Job(prompt(seed, 30), "sw", max_tokens=1)
        if engine.expect(job).tokens == engine.expect(Job(job.prompt, None, 1)).tokens:
            first, second = engine.run([job], logprobs=2)[0].outputs[0].logprobs[0].values()
            if abs(first.logprob - second.logprob) < 3.0:
                break
    completion = engine.run([job], presence_penalty=2.0, frequency_penalty=2.0)[0].outputs[0]
    assert list(completion.token_ids) == engine.expect(job).tokens


def test_plain_requests_answer_as_on_stock_vllm(engine: Engine, tmp_path: Path) -> None:
    jobs = [Job(prompt(20 + length, length), None) for length in LENGTHS]
    beside = [Job(prompt(40 + length, length), "sw") for length in LENGTHS]
    ours = engine.run([*jobs, *beside])[: len(jobs)]
    plain = save_base(tmp_path / "plain", tiny_llama())
    from vllm import LLM

    stock = LLM(str(plain), dtype="float32", enforce_eager=True, max_model_len=256, block_size=BLOCK, max_num_seqs=16)
    theirs = Engine(stock, engine.reference, plain).run(jobs)
    assert "cc_serve" not in type(stock.llm_engine.engine_core.engine_core.scheduler).__module__
    for our, their in zip(ours, theirs, strict=True):
        assert list(our.outputs[0].token_ids) == list(their.outputs[0].token_ids)
        assert our.outputs[0].cumulative_logprob == pytest.approx(their.outputs[0].cumulative_logprob, abs=1e-3)

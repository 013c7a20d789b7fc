"""The engine's tokens are the two-pass reference's, whatever vLLM does around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, LENGTHS, Engine, Job, prompt, start_engine
from tests.support.runners import thinned
from tests.support.tiny import random_connection, save_checkpoint, tiny_gemma3, tiny_llama


def test_mixed_batch(engine: Engine) -> None:
    jobs = [Job(prompt(length, length), name) for length in LENGTHS for name in CONNECTIONS]
    assert engine.compare(jobs) < 1e-3


def test_prefix_cache_is_shared_before_the_anchor_and_private_behind(engine: Engine) -> None:
    shared = prompt(100, 3 * BLOCK)
    jobs = [Job((*shared, *prompt(seed, 5)), name) for seed in range(4) for name in CONNECTIONS]
    jobs += [Job(shared, name) for name in CONNECTIONS]
    engine.llm.reset_prefix_cache()
    assert engine.compare(jobs[:1]) < 1e-3
    before = engine.counter("vllm:prefix_cache_hits")
    assert engine.compare(jobs) < 1e-3
    # Every request finds the first one's blocks; those of whole blocks must run their last block again.
    whole = 2 * BLOCK * len(CONNECTIONS)
    assert engine.counter("vllm:prefix_cache_hits") - before == 3 * BLOCK * 12 + whole
    assert engine.compare(jobs[::-1]) < 1e-3


def test_preempted_requests_start_over(engine: Engine) -> None:
    jobs = [Job(prompt(200 + i, 40 + i), CONNECTIONS[i % 3], max_tokens=60) for i in thinned(range(24))]
    before = engine.counter("vllm:num_preemptions")
    assert engine.compare(jobs) < 1e-3
    assert engine.counter("vllm:num_preemptions") > before


def test_a_request_does_not_depend_on_its_neighbours(engine: Engine) -> None:
    job = Job(prompt(300, 50), "sw")
    alone = engine.run([job])[0].outputs[0]
    beside = engine.run([Job(prompt(seed, 50), "global") for seed in range(301, 311)] + [job])[-1].outputs[0]
    assert list(alone.token_ids) == list(beside.token_ids)


def test_connection_changes_the_answer(engine: Engine) -> None:
    answers = {
        tuple(output.outputs[0].token_ids) for output in engine.run([Job(prompt(400, 30), n) for n in CONNECTIONS])
    }
    assert len(answers) == len(CONNECTIONS)


def test_strengths_in_one_batch(engine: Engine) -> None:
    """Beside each other and beside plain requests, over chunks and preemptions."""
    strengths = (0.0, 0.3, 1.0, 1.37, 2.0)
    for length, max_tokens in ((20, 12), (CHUNK + 1, 60)):
        text = prompt(450, length)
        jobs = [Job(text, name, max_tokens, strength) for strength in strengths for name in CONNECTIONS[1:]]
        plain = Job(text, None, max_tokens)
        assert engine.compare([plain, *jobs, *jobs[::-1]]) < 1e-3
        answers = [engine.expect(job).tokens for job in jobs]
        assert answers[0] == answers[1] == engine.expect(plain).tokens, "0 is no connection"
        assert len(set(map(tuple, answers[2:]))) > len(strengths)


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), "1", True, None])
def test_a_strength_that_is_none_is_refused(engine: Engine, strength: object) -> None:
    from vllm.exceptions import VLLMValidationError

    job = Job(prompt(460, 9), "sw")
    parameters = job.parameters()
    parameters.extra_args["cc_strength"] = strength
    with pytest.raises(VLLMValidationError, match=r"cc_strength .* is not a number from 0 to 2"):
        engine.llm.generate([{"prompt_token_ids": list(job.prompt)}], parameters, use_tqdm=False)
    assert engine.compare([job]) < 1e-3


def test_seeded_sampling_draws_nothing_for_discarded_tokens(engine: Engine) -> None:
    """Chunked or not, captured or not, the first draw of a seed belongs to the first token."""
    short, long = Job(prompt(500, 10), "sw"), Job(prompt(501, 3 * CHUNK), "sw")
    first = [list(o.outputs[0].token_ids) for o in engine.run([short, long], temperature=1.0, seed=7)]
    again = [list(o.outputs[0].token_ids) for o in engine.run([long, short], temperature=1.0, seed=7)][::-1]
    assert first == again


def test_prompt_logprobs_come_with_the_first_token(engine: Engine) -> None:
    job, plain = Job(prompt(600, 100), "sw"), Job(prompt(600, 100), None)
    connected, stock = engine.run([job, plain], prompt_logprobs=0)
    assert len(connected.prompt_logprobs) == len(job.prompt)
    for ours, theirs in zip(connected.prompt_logprobs[1:], stock.prompt_logprobs[1:], strict=True):
        for token, logprob in theirs.items():
            assert ours[token].logprob == pytest.approx(logprob.logprob, abs=1e-4)


def test_parallel_samples_and_one_token(engine: Engine) -> None:
    job = Job(prompt(700, 40), "global", max_tokens=1)
    assert engine.compare([job]) < 1e-3
    samples = engine.run([job], n=3, temperature=0.5, seed=1)[0].outputs
    assert [len(sample.token_ids) for sample in samples] == [1, 1, 1]


def test_nothing_is_left_behind(engine: Engine) -> None:
    scheduler = engine.llm.llm_engine.engine_core.engine_core.scheduler
    assert not scheduler._connected
    assert sorted(scheduler._free_slots) == [0, 1]


def test_gemma3_compiled(tmp_path: Path) -> None:
    """Sliding windows, a norm between MLP and residual, and torch.compile."""
    checkpoint = save_checkpoint(tmp_path, tiny_gemma3(), random_connection(["global", "sw"]), ["sw"])
    with start_engine(checkpoint, block_size=BLOCK, max_num_seqs=16, max_num_batched_tokens=CHUNK) as engine:
        jobs = [Job(prompt(900 + length, length), name) for length in thinned(LENGTHS) for name in CONNECTIONS]
        assert engine.compare(jobs) < 1e-3
        assert engine.compare(jobs) < 1e-3


def test_llama_compiled_with_an_earlier_anchor(tmp_path: Path) -> None:
    connection = random_connection(["global"], anchor_offset=-3)
    checkpoint = save_checkpoint(tmp_path, tiny_llama(), connection, ["sw"])
    with start_engine(checkpoint, block_size=BLOCK, max_num_seqs=16, max_num_batched_tokens=CHUNK) as engine:
        jobs = [Job(prompt(length, length), name) for length in thinned(LENGTHS[2:]) for name in CONNECTIONS[:2]]
        assert engine.compare(jobs) < 1e-3
        too_short = engine.run([Job(prompt(1, 2), "global")])[0].outputs[0]
        assert too_short.finish_reason == "error"

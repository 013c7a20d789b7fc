"""Quantised weights: the engine's tokens are the best, or nearly, of the reference over rounded values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_train.model.quantized import attach_to_quantized
from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, LENGTHS, Engine, Job, prompt, start_small_engine
from tests.support.quantizing import CPU, int8_reference, quantize
from tests.support.runners import thinned
from tests.support.tiny import random_connection, save_checkpoint, tiny_model

JOBS = [Job(prompt(length, length), name, max_tokens=6) for length in thinned(LENGTHS, 3) for name in CONNECTIONS]


#: The plain row, a norm behind the block, and a mixture whose experts and routers stay as they were.
OF_EACH_KIND = ("LlamaForCausalLM", "Gemma3ForCausalLM", "Qwen3MoeForCausalLM")
UNSEEN = (r"re:.*mlp\.experts", r"re:.*mlp\.gate$")


@pytest.fixture(scope="module", params=OF_EACH_KIND)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [name for name in CONNECTIONS if name]
    return save_checkpoint(
        tmp_path_factory.mktemp("base"), tiny_model(request.param), random_connection(names), ["de", "sw"]
    )


@pytest.fixture(scope="module")
def quantized(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a tool leaves it: a plain model."""
    return quantize(base, tmp_path_factory.mktemp("quantized") / "int8", unseen=UNSEEN)


@pytest.fixture(scope="module")
def checkpoint(base: Path, quantized: Path) -> Path:
    return attach_to_quantized(quantized, base, quantized.with_name("served"))


@pytest.fixture(scope="module")
def engine(base: Path, checkpoint: Path) -> Iterator[Engine]:
    with start_small_engine(checkpoint, reference=int8_reference(checkpoint, base)) as engine:
        yield engine


def distance(engine: Engine, jobs: list[Job], *, other: str | None = None) -> float:
    """The largest difference in log-probability between engine and reference, or of its token from the best.

    A value in the middle between two steps may be rounded either way, and so the greedy token may be another one.

    Args:
        engine: answers the jobs.
        jobs: the requests.
        other: a connection that the reference has in place of each job's.
    """
    worst = 0.0
    for job, output in zip(jobs, engine.run(jobs), strict=True):
        completion = output.outputs[0]
        report = (output.kv_transfer_params or {}).get("cc_connection")
        assert (report and report["name"]) == job.connection
        layer = report["layer"] if report else None
        score = engine.reference.score(job.prompt, other or job.connection, completion.token_ids, layer)
        assert other is not None or score.layer_gap < 0.05
        told = [step[token].logprob for token, step in zip(completion.token_ids, completion.logprobs, strict=True)]
        away = [abs(one - two) for one, two in zip(told, score.logprobs, strict=True)]
        missed = [best - mine for best, mine in zip(score.best, score.logprobs, strict=True)]
        worst = max(worst, *away, *missed)
    return worst


@pytest.mark.shows("int8")
def test_mixed_batch(engine: Engine) -> None:
    for jobs in (JOBS, JOBS[::-1]):
        measured = distance(engine, jobs)
        print(f"largest difference of a log-probability: {measured:.3f}")
        assert measured < 0.2
    connected = [job for job in JOBS if job.connection == CONNECTIONS[-1]]
    assert distance(engine, connected, other="global") > 0.5, "another connection is told apart"


@pytest.mark.shows("int8")
def test_plain_requests_answer_as_on_stock_vllm(engine: Engine, quantized: Path) -> None:
    from vllm import LLM

    plain = [job for job in JOBS if job.connection is None]
    ours = [list(output.outputs[0].token_ids) for output in engine.run(plain)]
    stock = LLM(
        str(quantized),
        dtype="float32",
        enforce_eager=True,
        max_model_len=256,
        block_size=BLOCK,
        max_num_seqs=16,
        max_num_batched_tokens=CHUNK,
        skip_tokenizer_init=True,
    )
    theirs = Engine(stock, engine.reference, quantized).run(plain)
    assert "cc_serve" not in type(stock.llm_engine.engine_core.engine_core.scheduler).__module__
    assert ours == [list(output.outputs[0].token_ids) for output in theirs]
    stock.llm_engine.engine_core.shutdown()


@pytest.mark.skipif("avx512f" not in CPU, reason="vLLM multiplies with weights of 4 bits by AVX-512")
@pytest.mark.parametrize("scheme", ["W4A16", "W4A16_ASYM"])
def test_weights_of_four_bits(tiny_checkpoint: Path, tmp_path: Path, scheme: str) -> None:
    """The reference has them as transformers unpacks them, in fp32."""
    quantized = quantize(tiny_checkpoint, tmp_path / "int4", scheme, group_size=32)
    checkpoint = attach_to_quantized(quantized, tiny_checkpoint, tmp_path / "served")
    with start_small_engine(checkpoint, dtype="float16") as engine:  # vLLM's kernel has no float32
        measured = distance(engine, JOBS)
        print(f"largest difference of a log-probability: {measured:.3f}")
        assert measured < 0.05
        connected = [job for job in JOBS if job.connection == CONNECTIONS[-1]]
        assert distance(engine, connected, other="global") > 1, "another connection is told apart"

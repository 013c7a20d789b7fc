"""An engine of one kind, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engine_process import parameters_of
from benchmarks.gpu_check.observers import Steps, Waits
from benchmarks.gpu_check.scenarios import BLOCK, CHUNK, MAX_MODEL_LEN, Scenario, scenarios_for

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput

MAX_REQUESTS = 16
EAGER = "eager"


@dataclass(frozen=True)
class Answer:
    """What the engine made of one request.

    Args:
        scenario: to which the request belongs.
        prompt: token ids.
        connection: the Transform Matrix; None for plain.
        tokens: the answer.
        logprobs: of each token.
        layer: what the engine connected; None for plain.
    """

    scenario: str
    prompt: list[int]
    connection: str | None
    tokens: list[int]
    logprobs: list[float]
    layer: int | None


def answer_all(checkpoint: Path, dtype: str, mode: str) -> dict[str, Any]:
    """Start an engine in this process, and let it answer every scenario.

    Args:
        checkpoint: to be served.
        dtype: of the engine.
        mode: ``eager``, or the CUDA graphs that vLLM is asked for: ``piecewise`` or ``full``.

    Returns:
        Facts about the engine and its steps, its answers, and what did not happen though a scenario wants it.
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that the scheduler and the worker can be looked into
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM

    steps, waits = Steps(), Waits()
    steps.install()
    graphs: dict[str, Any] = {"compilation_config": {"cudagraph_mode": mode.upper()}}
    llm = LLM(
        str(checkpoint),
        dtype=dtype,  # type: ignore[arg-type]
        block_size=BLOCK,
        max_num_batched_tokens=CHUNK,
        max_num_seqs=MAX_REQUESTS,
        max_model_len=MAX_MODEL_LEN,
        skip_tokenizer_init=True,
        disable_log_stats=False,
        **({"enforce_eager": True} if mode == EAGER else graphs),
    )
    config = llm.llm_engine.vllm_config
    if config.use_v2_model_runner:
        steps.install_v2()
    steps.counts.clear()  # of warming up
    answers: list[Answer] = []
    missing: list[str] = []
    with waits.watched():
        for scenario in scenarios_for(checkpoint):
            preempted = _counter(llm, "vllm:num_preemptions")
            outputs = list(_play(llm, scenario))
            answers += [answer for answer, _ in outputs]
            if scenario.cached and not any(output.num_cached_tokens for _, output in outputs):
                missing.append(f"{scenario.name}: no prompt token came from the prefix cache")
            if scenario.preempt_at and _counter(llm, "vllm:num_preemptions") == preempted:
                missing.append(f"{scenario.name}: no request was preempted")
    return {
        "runner": "V2" if config.use_v2_model_runner else "V1",
        "graphs": str(config.compilation_config.cudagraph_mode).rpartition(".")[2],
        "async_scheduling": bool(config.scheduler_config.async_scheduling),
        "steps": {graph: dict(counts) for graph, counts in steps.counts.items()},
        "waits": {"ours": dict(waits.ours), "others": dict(waits.others)},
        "missing": missing,
        "answers": [asdict(answer) for answer in answers],
    }


def _play(llm: LLM, scenario: Scenario) -> Iterator[tuple[Answer, RequestOutput]]:
    from vllm import RequestOutput
    from vllm.inputs import TokensPrompt

    from cc_serve.offline import connection_of

    engine, batch = llm.llm_engine, scenario.batch
    core: Any = engine.engine_core
    scheduler = core.engine_core.scheduler
    for index, (prompt, parameters) in enumerate(zip(batch.prompts, parameters_of(batch), strict=True)):
        parameters.logprobs = 0
        engine.add_request(f"{scenario.name}/{index}", TokensPrompt(prompt_token_ids=prompt), parameters)
    finished: dict[str, RequestOutput] = {}
    step = 0
    while engine.has_unfinished_requests():
        if step in scenario.preempt_at:
            scheduler.reset_prefix_cache(reset_running_requests=True)
        for output in engine.step():
            if isinstance(output, RequestOutput) and output.finished:
                finished[output.request_id] = output
        step += 1
    for index, (prompt, name) in enumerate(zip(batch.prompts, batch.connections, strict=True)):
        output = finished[f"{scenario.name}/{index}"]
        completion, report = output.outputs[0], connection_of(output)
        if completion.finish_reason != "length" or completion.logprobs is None:
            raise RuntimeError(f"{output.request_id} ended with {completion.finish_reason}: {completion.stop_reason}")
        tokens, scores = list(completion.token_ids), list[Any](completion.logprobs)
        logprobs = [score[token].logprob for token, score in zip(tokens, scores, strict=True)]
        yield Answer(scenario.name, prompt, name, tokens, logprobs, report["layer"] if report else None), output


def _counter(llm: LLM, name: str) -> float:
    return next(float(metric.value) for metric in llm.get_metrics() if metric.name == name)  # type: ignore[attr-defined]

"""V2's FULL decode graphs, emulated on a CPU: padded batches that read the runner's fixed buffers alone.

The replay itself is left out. The tests show that an inject step is dispatched to a decode graph, that its rows mean
the same in a padded batch, and that no buffer moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cc_serve.engine.conftest import CONNECTIONS, LENGTHS, Engine, Job, prompt
from tests.cc_serve.engine.test_schedules import Arrival, Limits, play, random_schedules
from tests.support.runners import V2

if not V2:
    pytest.skip("runs under the V2 model runner alone: make test-v2", allow_module_level=True)


def addresses(engine: Engine) -> dict[str, int]:
    return {name: buffer.data_ptr() for name, buffer in engine.model.named_buffers() if "cc_" in name}


@contextmanager
def full_graphs(engine: Engine) -> Iterator[Counter[str]]:
    """Run decode batches as FULL graphs would; count their steps, and those that capture and inject."""
    from vllm.config.compilation import CUDAGraphMode
    from vllm.forward_context import set_forward_context
    from vllm.v1.worker.gpu import model_runner as module
    from vllm.v1.worker.gpu.cudagraph_utils import BatchExecutionDescriptor

    runner: Any = engine.runner
    state, model = runner.model_state, engine.model
    seen: Counter[str] = Counter()
    step: dict[str, Any] = {}
    stock_dispatch, stock_slots = module.dispatch_cg_and_sync_dp, module.build_slot_mappings_by_layer
    stock_attention, stock_rows = state.prepare_attn, model.set_connection_rows
    before = addresses(engine)

    def dispatch(manager: Any, num_reqs: int, num_tokens: int, uniform: int | None, *args: Any, **kwargs: Any) -> Any:
        if uniform == 1 and not kwargs.get("need_eager"):
            padded = next(size for size in (2, 4, 8, 16) if size >= num_tokens)
            return BatchExecutionDescriptor(CUDAGraphMode.FULL, padded, padded, uniform_token_count=1), None
        return stock_dispatch(manager, num_reqs, num_tokens, uniform, *args, **kwargs)

    def keep(name: str, function: Any) -> Any:
        def keeping(*args: Any, **kwargs: Any) -> Any:
            step[name] = function(*args, **kwargs)
            return step[name]

        return keeping

    def set_rows(marks: Any, starts: Any) -> None:
        step["marks"] = marks
        stock_rows(marks, starts)

    def replay(graph: Any) -> Any:
        seen["steps"] += 1
        seen["inject"] += bool(step["marks"].inject)
        seen["capture"] += bool(step["marks"].capture)
        assert addresses(engine) == before
        tokens = graph.num_tokens
        with set_forward_context(step["attention"], runner.vllm_config, num_tokens=tokens, slot_mapping=step["slots"]):
            return runner.model(
                input_ids=runner.input_buffers.input_ids[:tokens],
                positions=runner.input_buffers.positions[:tokens],
                inputs_embeds=None,
                intermediate_tensors=None,
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "dispatch_cg_and_sync_dp", dispatch)
        patch.setattr(module, "build_slot_mappings_by_layer", keep("slots", stock_slots))
        patch.setattr(state, "prepare_attn", keep("attention", stock_attention))
        patch.setattr(model, "set_connection_rows", set_rows)
        patch.setattr(runner.cudagraph_manager, "run_fullgraph", replay)
        yield seen


def test_inject_steps_run_as_decode_graphs(engine: Engine) -> None:
    jobs = [Job(prompt(length, length), name) for length in LENGTHS for name in CONNECTIONS]
    with full_graphs(engine) as seen:
        assert engine.compare(jobs) < 1e-3
        for job in jobs:  # alone, so that each inject step is a decode batch of its own
            assert engine.compare([job]) < 1e-3
    assert seen["inject"] > 10


@random_schedules(10)
def test_random_schedules(engine: Engine, arrivals: list[Arrival], preempt_at: frozenset[int], limits: Limits) -> None:
    with full_graphs(engine):
        play(engine, arrivals, preempt_at, limits)

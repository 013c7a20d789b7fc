"""Deliberate defects change answers: what the other tests compare with the reference would find each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cc_serve.engine.marks import ConnectionMarks
from cc_serve.engine.model import ConnectedModelMixin
from cc_serve.engine.runner_v1 import ConnectionRunnerMixin
from tests.cc_serve.engine.conftest import BLOCK, CHUNK, CONNECTIONS, Engine, Job, prompt
from tests.support.runners import V2

# In steps of their own the anchors would be the first rows, with none before them.
JOBS = [Job(prompt(9000 + n, n), name) for n in (7, BLOCK, CHUNK + 3) for name in CONNECTIONS]

Defect = Callable[[pytest.MonkeyPatch], None]


def not_rewound(patch: pytest.MonkeyPatch) -> None:
    """The worker runs the inject step one position behind the anchor."""
    if V2:
        from cc_serve.engine.runner_v2 import ConnectedModelState

        postprocess = ConnectedModelState.postprocess_state

        def without_rewind(state: Any, *args: Any) -> None:
            state._rewound = None
            postprocess(state, *args)

        patch.setattr(ConnectedModelState, "postprocess_state", without_rewind)
    else:
        prepare = ConnectionRunnerMixin._prepare_inputs

        def one_too_far(runner: Any, scheduler_output: Any, *args: Any) -> Any:
            for name in scheduler_output.connection_marks.inject:
                runner.input_batch.num_computed_tokens_cpu[runner.input_batch.req_id_to_index[name]] += 1
            return prepare(runner, scheduler_output, *args)

        patch.setattr(ConnectionRunnerMixin, "_prepare_inputs", one_too_far)


def token_kept(patch: pytest.MonkeyPatch) -> None:
    """The token that the capture step samples, which is the plain model's, becomes the answer's first."""
    if V2:
        from cc_serve.engine.runner_v2 import ConnectedModelState

        rewind = ConnectedModelState._rewind

        def without_discarding(state: Any, marks: Any, places: Any, input_batch: Any, *args: Any) -> None:
            seq_lens = input_batch.seq_lens
            rewind(state, marks, places, input_batch, *args)
            input_batch.seq_lens = seq_lens

        patch.setattr(ConnectedModelState, "_rewind", without_discarding)
    else:
        prepare = ConnectionRunnerMixin._prepare_inputs

        def nothing_discarded(runner: Any, scheduler_output: Any, *args: Any) -> Any:
            scheduler_output.connection_marks.rewound.clear()
            return prepare(runner, scheduler_output, *args)

        patch.setattr(ConnectionRunnerMixin, "_prepare_inputs", nothing_discarded)


def _shift_rows(patch: pytest.MonkeyPatch, of: Callable[[ConnectionMarks], Mapping[str, Any]]) -> None:
    set_rows = ConnectedModelMixin.set_connection_rows

    def shifted(model: Any, marks: ConnectionMarks, starts: Mapping[str, int]) -> None:
        before = {name: start - (name in of(marks)) for name, start in starts.items()}
        set_rows(
            model,
            marks,
            {name: max(before[name], -mark.offset) for name, mark in [*marks.capture.items(), *marks.inject.items()]},
        )

    patch.setattr(ConnectedModelMixin, "set_connection_rows", shifted)


def captured_row_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """The row before the anchor's is captured."""
    _shift_rows(patch, lambda marks: marks.capture)


def injected_row_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """The row before the anchor's, which is another request's, is connected."""
    _shift_rows(patch, lambda marks: marks.inject)


def decided_for_the_next_slot(patch: pytest.MonkeyPatch) -> None:
    """Each connection is kept in another request's slot."""
    decide = ConnectedModelMixin.decide

    def elsewhere(model: Any, *chosen: Any) -> Any:
        layers = decide(model, *chosen)
        model.cc_vectors.copy_(model.cc_vectors.roll(1, 0))
        return layers

    patch.setattr(ConnectedModelMixin, "decide", elsewhere)


@pytest.mark.parametrize(
    "defect",
    [not_rewound, token_kept, captured_row_off_by_one, injected_row_off_by_one, decided_for_the_next_slot],
    ids=lambda defect: defect.__name__,
)
def test_a_defect_is_found(engine: Engine, defect: Defect) -> None:
    engine.llm.reset_prefix_cache()
    with pytest.MonkeyPatch.context() as patch:
        defect(patch)
        outputs = engine.run(JOBS)
    wrong = []
    for job, output in zip(JOBS, outputs, strict=True):
        try:
            engine.check(job, output)
        except (AssertionError, ValueError):  # a ValueError where there are more or fewer tokens than expected
            wrong.append(job)
    assert wrong
    assert all(job.connection for job in wrong) or defect is injected_row_off_by_one  # which spoils a neighbour, too
    engine.llm.reset_prefix_cache()
    assert engine.compare(JOBS) < 1e-3

"""The model's state in the V2 runner, without an engine: rows of the batch, discarded tokens and rewound counters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from cc_serve.engine.marks import CaptureMark, ConnectionMarks, InjectMark
from cc_serve.engine.runner_v2 import ConnectedModelState

# Three requests of 4, 1 and 3 tokens; vLLM keeps them in its places 5, 0 and 2.
STARTS, PLACES, LENGTHS = (0, 4, 5, 8), (5, 0, 2), (4, 9, 30)
MARKS = ConnectionMarks(
    capture={"first": CaptureMark(3, 0, "sw", "0f")}, inject={"second": InjectMark(0, 1)}, rewound={"first": 3}
)


class Model:
    """Remembers what it was told."""

    def set_connection_rows(self, marks: ConnectionMarks, starts: dict[str, int]) -> None:
        self.told = marks, starts


def state() -> tuple[ConnectedModelState, Model]:
    model = Model()
    made = ConnectedModelState.__new__(ConnectedModelState)
    made.model, made.device = model, torch.device("cpu")  # type: ignore[assignment]
    made.rope_state, made.supports_mm_inputs, made.prompt_embeds_state = None, False, None
    made._next_marks, made._rewound = ConnectionMarks(), None
    return made, model


def batch() -> Any:
    return SimpleNamespace(
        req_ids=["first", "second", "third"],
        query_start_loc_np=np.array(STARTS, dtype=np.int32),
        idx_mapping=torch.tensor(PLACES),
        seq_lens=torch.tensor(LENGTHS, dtype=torch.int32),
    )


def counters() -> torch.Tensor:
    return torch.tensor([9, 1, 30, 1, 1, 4], dtype=torch.int32)


def run(made: ConnectedModelState, prepared: Any) -> torch.Tensor:
    """A step after vLLM has advanced its counters, which come back as the state leaves them."""
    advanced = counters()
    made.prepare_inputs(prepared, SimpleNamespace(num_computed_tokens=SimpleNamespace(gpu=advanced)))  # type: ignore[arg-type]
    made.postprocess_state(prepared.idx_mapping, torch.zeros(3), advanced)
    return advanced


def test_a_step_with_marks() -> None:
    made, model = state()
    prepared = batch()
    of_the_attention = prepared.seq_lens
    made.begin_step(MARKS)
    assert run(made, prepared).tolist() == [9, 1, 30, 1, 1, 3]  # the first request goes on from its anchor
    assert model.told == (MARKS, {"first": 0, "second": 4})
    assert prepared.seq_lens.tolist() == [0, 9, 30]  # so that the first request gets no token
    assert of_the_attention.tolist() == list(LENGTHS)


def test_marks_are_one_steps_alone() -> None:
    """The next batch may be a dummy one, which nobody announces."""
    made, model = state()
    made.begin_step(MARKS)
    run(made, batch())
    prepared = batch()
    assert torch.equal(run(made, prepared), counters())
    assert model.told == (ConnectionMarks(), {})
    assert prepared.seq_lens.tolist() == list(LENGTHS)

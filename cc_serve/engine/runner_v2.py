"""The connection in vLLM's V2 model runner, by its hook for a model's own state: the runner needs no subclass.

Import this module only where V2 runs, since V2's modules load Triton kernels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.utils.torch_utils import async_tensor_h2d
from vllm.v1.worker.gpu.input_batch import InputBatch
from vllm.v1.worker.gpu.model_states.default import DefaultModelState
from vllm.v1.worker.gpu.states import RequestState

from cc_serve.engine.marks import ConnectionMarks


class ConnectedModelState(DefaultModelState):
    """Turns the step's marks into rows of the batch, discards the rewound requests' tokens, and rewinds them.

    V2 counts each request's computed tokens on the device, and does not take them from the scheduler. So the
    scheduler's rewind has to be repeated there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._next_marks = ConnectionMarks()
        self._rewound: tuple[Tensor, Tensor] | None = None

    def begin_step(self, marks: ConnectionMarks) -> None:
        """Take the marks of the next batch. A dummy batch has none, and this is not called for it."""
        self._next_marks = marks

    def prepare_inputs(self, input_batch: InputBatch, req_states: RequestState) -> dict[str, Any]:
        """Set the rows. vLLM has built the attention metadata; next, it runs the model or replays its graph."""
        marks, self._next_marks = self._next_marks, ConnectionMarks()
        places = {}
        if marks.capture or marks.inject or marks.rewound:
            places = {request_id: place for place, request_id in enumerate(input_batch.req_ids)}
        connected = (*marks.capture, *marks.inject)
        starts = {request_id: int(input_batch.query_start_loc_np[places[request_id]]) for request_id in connected}
        self.model.set_connection_rows(marks, starts)  # type: ignore[operator]
        if marks.rewound:
            self._rewind(marks, places, input_batch, req_states)
        return super().prepare_inputs(input_batch, req_states)

    def _rewind(
        self, marks: ConnectionMarks, places: dict[str, int], input_batch: InputBatch, req_states: RequestState
    ) -> None:
        rows = async_tensor_h2d([places[request_id] for request_id in marks.rewound], device=self.device)
        # From here on, only the sampler reads the lengths: it gives no token to a request that has not reached the end
        # of its prompt. In a copy, since attention reads the runner's own buffer.
        input_batch.seq_lens = input_batch.seq_lens.index_fill(0, rows, 0)
        counter = req_states.num_computed_tokens.gpu
        positions = async_tensor_h2d(list(marks.rewound.values()), device=self.device, dtype=counter.dtype)
        self._rewound = input_batch.idx_mapping[rows], positions

    def postprocess_state(
        self, idx_mapping: Tensor, num_sampled: Tensor, num_computed_tokens: Tensor | None = None
    ) -> None:
        """Rewind, after vLLM has advanced every request by its chunk."""
        super().postprocess_state(idx_mapping, num_sampled, num_computed_tokens)
        if self._rewound is not None and num_computed_tokens is not None:
            requests, positions = self._rewound
            num_computed_tokens.index_copy_(0, requests, positions)
            self._rewound = None

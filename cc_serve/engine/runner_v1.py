"""The connection in vLLM's V1 model runner, which the CPU's runner subclasses."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.outputs import SamplerOutput
from vllm.v1.spec_decode.metadata import SpecDecodeMetadata
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

from cc_serve.engine.drafts import Drafts, sample_with_drafts
from cc_serve.engine.marks import ConnectionMarks, marks_of
from cc_serve.engine.model import ConnectedModelMixin


class ConnectionRunnerMixin(GPUModelRunner):
    """Turns the step's marks into rows of the batch, and discards the rewound requests' tokens.

    V1 takes its positions from the scheduler in each step, so the scheduler's rewind is enough here.
    """

    _drafting: dict[str, int]
    _drafts: Drafts | None = None

    def _connected_model(self) -> ConnectedModelMixin:
        return cast(ConnectedModelMixin, self.get_model())

    def _prepare_inputs(self, scheduler_output: SchedulerOutput, num_scheduled_tokens: np.ndarray) -> Any:
        result = super()._prepare_inputs(scheduler_output, num_scheduled_tokens)
        marks, places = marks_of(scheduler_output), self.input_batch.req_id_to_index
        if marks.rewound:
            # vLLM's own way to drop a partial prefill's token, also under async scheduling.
            self.discard_request_mask.np[[places[request_id] for request_id in marks.rewound]] = True
            self.discard_request_mask.copy_to_gpu(self.input_batch.num_reqs)
        connected = (*marks.capture, *marks.inject)
        starts = {request_id: int(self.query_start_loc.np[places[request_id]]) for request_id in connected}
        self._connected_model().set_connection_rows(marks, starts)
        self._drafting = {request_id: places[request_id] for request_id, mark in marks.capture.items() if mark.drafts}
        if scheduler_output.scheduled_spec_decode_tokens and self.speculative_config is None:
            return self._prepare_drafts(scheduler_output, num_scheduled_tokens)
        return result

    def _prepare_drafts(
        self, scheduler_output: SchedulerOutput, num_scheduled_tokens: np.ndarray
    ) -> tuple[Tensor, SpecDecodeMetadata, int]:
        # As vLLM does for a speculative method. Without one, it takes a single row of each request.
        scheduled = scheduler_output.scheduled_spec_decode_tokens
        counts = np.array(
            [len(scheduled.get(request_id, ())) for request_id in self.input_batch.req_ids], dtype=np.int32
        )
        metadata = self._calc_spec_decode_metadata(counts, np.cumsum(num_scheduled_tokens, dtype=np.int32))
        if self.lora_config:
            self.set_active_loras(self.input_batch, num_scheduled_tokens, counts + 1)
        return metadata.logits_indices, metadata, int(counts.max()) + 1

    def _sample(self, logits: Tensor | None, spec_decode_metadata: SpecDecodeMetadata | None) -> SamplerOutput:
        if self._drafting and logits is not None:
            rows = list(self._drafting.values())
            last = logits[rows if spec_decode_metadata is None else spec_decode_metadata.bonus_logits_indices[rows]]
            self._drafts = Drafts([*self._drafting], last.argmax(-1))
        if spec_decode_metadata is None or logits is None or self.speculative_config is not None:
            return super()._sample(logits, spec_decode_metadata)
        first = partial(super()._sample, spec_decode_metadata=None)
        return sample_with_drafts(self.sampler, first, logits, spec_decode_metadata, self.input_batch.sampling_metadata)

    def sample_tokens(self, grammar_output: Any) -> Any:  # type: ignore[override]
        """Sample, and attach the drafts for the next step to the output."""
        output = super().sample_tokens(grammar_output)
        drafts, self._drafts = self._drafts, None
        return output if drafts is None else drafts.attach_to(output)

    def _dummy_run(self, *args: Any, **kwargs: Any) -> Any:
        # Profiling, graph capture and idle data-parallel steps have no request's rows.
        self._connected_model().set_connection_rows(ConnectionMarks(), {})
        return super()._dummy_run(*args, **kwargs)


class ConnectedGPUModelRunner(ConnectionRunnerMixin, GPUModelRunner):
    """vLLM's V1 GPU runner with connections."""


class ConnectedCPUModelRunner(ConnectionRunnerMixin, CPUModelRunner):
    """vLLM's V1 CPU runner with connections."""

    def _zero_block_ids(self, block_ids: list[int]) -> None:
        # vLLM's own leaves out layers with sliding windows.
        for blocks in self.kv_caches:
            for block_id in block_ids:
                blocks[block_id].zero_()

    @torch.inference_mode()
    def sample_tokens(self, grammar_output: Any) -> Any:  # type: ignore[override]
        # A seeded request's generator must not advance for a discarded token. vLLM rewinds its offset,
        # which a CPU generator does not have; here the generator stays out of the step instead.
        discarded = np.flatnonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])
        generators = self.input_batch.generators
        kept = {int(index): generators.pop(int(index)) for index in discarded if int(index) in generators}
        try:
            return super().sample_tokens(grammar_output)
        finally:
            generators.update(kept)

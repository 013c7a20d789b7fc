"""Workers and model runners: they turn the scheduler's marks into rows of the batch."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from vllm.config import CompilationMode, VllmConfig
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.outputs import AsyncModelRunnerOutput, LogprobsTensors
from vllm.v1.worker import cpu_worker
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.gpu_worker import Worker

from cc_serve.engine.admission import drop_admission
from cc_serve.engine.layer_choices import AsyncOutputWithLayers, LayerChoices
from cc_serve.engine.marks import ConnectionMarks
from cc_serve.engine.model import ConnectedModelMixin
from cc_serve.engine.rows import Row
from cc_serve.process.phases import CACHE, COMPILE, GRAPHS, WARM_UP, WEIGHTS, enter_phase


class ConnectionRunnerMixin(GPUModelRunner):
    """Maps marks to flattened rows; over vLLM's V1 runner, which the CPU runner subclasses."""

    def __init__(self, vllm_config: VllmConfig, *args: Any, **kwargs: Any) -> None:
        drop_admission(vllm_config)
        super().__init__(vllm_config, *args, **kwargs)
        self._marks = ConnectionMarks()
        self._layers: Tensor | None = None
        self._held_prompt_logprobs: dict[str, LogprobsTensors] = {}

    def _connected_model(self) -> ConnectedModelMixin:
        return cast(ConnectedModelMixin, self.get_model())

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        enter_phase(WEIGHTS)
        super().load_model(*args, **kwargs)
        self._connected_model().check_loaded()
        self._connected_model().warm_up()

    def profile_run(self, *args: Any, **kwargs: Any) -> Any:
        enter_phase(WARM_UP if self.compilation_config.mode == CompilationMode.NONE else COMPILE)
        return super().profile_run(*args, **kwargs)

    def initialize_kv_cache(self, *args: Any, **kwargs: Any) -> Any:
        enter_phase(CACHE)
        return super().initialize_kv_cache(*args, **kwargs)

    def capture_model(self, *args: Any, **kwargs: Any) -> Any:
        enter_phase(GRAPHS)
        return super().capture_model(*args, **kwargs)

    def _update_states(self, scheduler_output: SchedulerOutput) -> Any:
        for request_id in scheduler_output.finished_req_ids:
            self._held_prompt_logprobs.pop(request_id, None)
        return super()._update_states(scheduler_output)

    def _prepare_inputs(self, scheduler_output: SchedulerOutput, num_scheduled_tokens: np.ndarray) -> Any:
        result = super()._prepare_inputs(scheduler_output, num_scheduled_tokens)
        self._marks = scheduler_output.connection_marks  # type: ignore[attr-defined]

        def row(request_id: str, offset: int) -> int:
            return int(self.query_start_loc.np[self.input_batch.req_id_to_index[request_id]]) + offset

        if discarded := self._marks.discarded:
            # vLLM's own way to drop a partial prefill's token, also under async scheduling.
            self.discard_request_mask.np[[self.input_batch.req_id_to_index[name] for name in discarded]] = True
            self.discard_request_mask.copy_to_gpu(self.input_batch.num_reqs)
        self._connected_model().set_connection_rows(
            [Row(row(request_id, mark.offset), mark.slot) for request_id, mark in self._marks.capture.items()],
            [Row(row(request_id, mark.offset), mark.slot) for request_id, mark in self._marks.inject.items()],
        )
        return result

    def _model_forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super()._model_forward(*args, **kwargs)
        if self._marks.capture:
            marks = self._marks.capture.values()
            layers = self._connected_model().decide([m.slot for m in marks], [m.name for m in marks])
            # Nobody waits for this copy: the sampled tokens follow on the same stream, and their reader waits.
            self._layers = layers.to("cpu", non_blocking=True)
        return output

    @torch.inference_mode()
    def sample_tokens(self, grammar_output: Any) -> Any:  # type: ignore[override]
        output = super().sample_tokens(grammar_output)
        if self._layers is None:
            return output
        choices = LayerChoices(list(self._marks.capture), self._layers)
        self._layers = None
        if isinstance(output, AsyncModelRunnerOutput):
            return AsyncOutputWithLayers(output, choices)
        return choices.attach_to(output)

    def _dummy_run(self, *args: Any, **kwargs: Any) -> Any:
        # Profiling, graph capture and idle data-parallel steps have no request's rows.
        self._connected_model().set_connection_rows([], [])
        return super()._dummy_run(*args, **kwargs)

    def _get_prompt_logprobs_dict(
        self, hidden_states: torch.Tensor, num_scheduled_tokens: dict[str, int]
    ) -> dict[str, LogprobsTensors | None]:
        # A capture step completes the prompt, but vLLM expects its log-probabilities with the first token,
        # which comes from the inject step.
        result = super()._get_prompt_logprobs_dict(hidden_states, num_scheduled_tokens)
        for request_id in self._marks.discarded:
            if (logprobs := result.pop(request_id, None)) is not None:
                self._held_prompt_logprobs[request_id] = logprobs
        for request_id in self._marks.inject:
            if request_id in self._held_prompt_logprobs:
                result[request_id] = self._held_prompt_logprobs.pop(request_id)
        return result


class ConnectedGPUModelRunner(ConnectionRunnerMixin, GPUModelRunner):
    """vLLM's V1 GPU runner with connections."""


class ConnectedCPUModelRunner(ConnectionRunnerMixin, CPUModelRunner):
    """vLLM's CPU runner with connections."""

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


class ConnectedGPUWorker(Worker):
    """vLLM's GPU worker over `ConnectedGPUModelRunner`."""

    def _make_model_runner(self) -> GPUModelRunner:
        return ConnectedGPUModelRunner(self.vllm_config, self.device)


class ConnectedCPUWorker(CPUWorker):
    """vLLM's CPU worker over `ConnectedCPUModelRunner`."""

    def init_device(self) -> None:
        # CPUWorker names its runner class inline, with no method to override.
        module = cast(Any, cpu_worker)
        stock, module.CPUModelRunner = module.CPUModelRunner, ConnectedCPUModelRunner
        try:
            super().init_device()  # type: ignore[no-untyped-call]
        finally:
            module.CPUModelRunner = stock

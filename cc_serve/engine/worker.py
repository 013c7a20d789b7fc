"""Workers: one mixin over vLLM's, whichever model runner it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from vllm.config import CompilationMode
from vllm.distributed.kv_transfer import get_kv_transfer_group, has_kv_transfer_group
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.outputs import AsyncModelRunnerOutput
from vllm.v1.worker import cpu_worker
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.gpu_worker import Worker

from cc_serve.engine.admission import drop_admission
from cc_serve.engine.connections import HeldConnections
from cc_serve.engine.layer_choices import AsyncOutputWithLayers, LayerChoices
from cc_serve.engine.marks import marks_of
from cc_serve.engine.model import ConnectedModelMixin
from cc_serve.engine.runner_v1 import ConnectedCPUModelRunner, ConnectedGPUModelRunner
from cc_serve.engine.zeroing import ZeroedCacheConfig
from cc_serve.process.phases import CACHE, COMPILE, GRAPHS, WARM_UP, WEIGHTS, enter_phase


class ConnectedWorkerMixin(Worker):
    """Runs a step: hands its marks on, decides after the forward pass, and attaches the layers to the output.

    It also announces the phases of a start.
    """

    _choices: LayerChoices | None = None

    def _connected_model(self) -> ConnectedModelMixin:
        return cast(ConnectedModelMixin, self.get_model())

    def init_device(self) -> None:
        """Start without the logits processor that only the front end uses."""
        drop_admission(self.vllm_config)
        super().init_device()

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Load the weights, and make sure that the connection's are among them."""
        enter_phase(WEIGHTS)
        super().load_model(*args, **kwargs)
        self._connected_model().check_loaded()
        self._connected_model().warm_up()

    def load_connection(self, directory: str, sha256: str) -> None:
        """Begin to load another connection, while steps go on. The front end calls these four methods between steps."""
        self._held().begin_loading(Path(directory), sha256)

    def connection_problem(self, sha256: str) -> str | None:
        """What is wrong with the connection that was to be loaded, as `HeldConnections.problem` says it."""
        return self._held().problem(sha256)

    def serve_connection(self, sha256: str) -> None:
        """Put a connection that was loaded on the device, in place of the one that is there."""
        self._held().serve(sha256)

    def drop_connection(self, sha256: str) -> None:
        """Forget a connection that no request needs any more."""
        self._held().drop(sha256)

    def _held(self) -> HeldConnections:
        held = self._connected_model().connections
        assert held is not None  # see load_model
        return held

    def determine_available_memory(self) -> int:
        """Profile the model, which compiles it."""
        enter_phase(WARM_UP if self.compilation_config.mode == CompilationMode.NONE else COMPILE)
        return super().determine_available_memory()

    def initialize_from_config(self, kv_cache_config: KVCacheConfig) -> None:
        """Allocate the KV cache."""
        enter_phase(CACHE)
        super().initialize_from_config(ZeroedCacheConfig.of(kv_cache_config))

    def execute_model(self, scheduler_output: SchedulerOutput) -> Any:
        """Run the step's forward pass, and decide on what it captured."""
        marks = marks_of(scheduler_output)
        if self.use_v2_model_runner:
            cast(Any, self.model_runner).model_state.begin_step(marks)
            transfer = scheduler_output.kv_connector_metadata
            if transfer is not None and has_kv_transfer_group():
                # V2 would zero the blocks that the step takes over before the connector stores what is in them.
                get_kv_transfer_group().handle_preemptions(transfer)
        output = super().execute_model(scheduler_output)
        # Before the tokens are sampled, so that the layers are on their way when vLLM starts to copy the tokens.
        self._choices = self._connected_model().choose_layers(marks)
        return output

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Sample the step's tokens, and attach the chosen layers."""
        output = super().sample_tokens(grammar_output)
        choices, self._choices = self._choices, None
        if choices is None:
            return output
        if isinstance(output, AsyncModelRunnerOutput):
            return AsyncOutputWithLayers(output, choices)
        return choices.attach_to(output)


class ConnectedGPUWorker(ConnectedWorkerMixin, Worker):
    """vLLM's GPU worker with connections."""

    def _make_model_runner(self) -> GPUModelRunner:
        if self.use_v2_model_runner:
            return super()._make_model_runner()
        return ConnectedGPUModelRunner(self.vllm_config, self.device)

    def compile_or_warm_up_model(self) -> Any:
        """Warm up the kernels, and capture the CUDA graphs."""
        if not self.model_config.enforce_eager:
            enter_phase(GRAPHS)
        return super().compile_or_warm_up_model()


class ConnectedCPUWorker(ConnectedWorkerMixin, CPUWorker):
    """vLLM's CPU worker with connections."""

    def init_device(self) -> None:
        """Put our V1 runner in place of vLLM's, which vLLM's worker names inline. V2 needs no runner of ours."""
        module = cast(Any, cpu_worker)
        stock, module.CPUModelRunner = module.CPUModelRunner, ConnectedCPUModelRunner
        try:
            super().init_device()
        finally:
            module.CPUModelRunner = stock

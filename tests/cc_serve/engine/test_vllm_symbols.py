"""Every vLLM symbol that the engine, and the server around it, lean on.

None is a stable API: a new vLLM fails here first, and says what moved.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest
import vllm
from vllm.model_executor.models import ModelRegistry

import cc_serve
from cc_core.architectures import FFN_OUTPUT_MODULE

PINNED = "0.32"

# Where it lives, and the parameters that we pass, receive or override by name or place.
CALLABLES = {
    "vllm.config:SchedulerConfig.get_scheduler_cls": ("self",),
    "vllm.model_executor.models:ModelRegistry.register_model": ("model_arch", "model_cls"),
    "vllm.model_executor.models:ModelRegistry.get_supported_archs": (),
    "vllm.config:VllmConfig.try_verify_and_update_config": ("self",),
    "vllm.model_executor.models.config:VerifyAndUpdateConfig.verify_and_update_config": ("vllm_config",),
    "vllm.utils.torch_utils:async_tensor_h2d": ("data", "device", "dtype", "out"),
    "vllm.v1.core.sched.scheduler:Scheduler.__init__": (
        *("self", "vllm_config", "kv_cache_config", "structured_output_manager", "block_size"),
        *("hash_block_size", "mm_registry", "include_finished_set", "log_stats"),
    ),
    "vllm.v1.core.sched.scheduler:Scheduler._free_request": ("self", "request", "delay_free_blocks"),
    "vllm.v1.core.sched.scheduler:Scheduler._preempt_request": (
        *("self", "request", "timestamp", "drop_stale_output"),
    ),
    "vllm.v1.core.sched.scheduler:Scheduler._update_after_schedule": ("self", "scheduler_output"),
    "vllm.v1.core.sched.async_scheduler:AsyncScheduler._update_after_schedule": ("self", "scheduler_output"),
    "vllm.v1.core.sched.scheduler:Scheduler.add_request": ("self", "request"),
    "vllm.v1.core.sched.scheduler:Scheduler.update_from_output": ("self", "scheduler_output", "model_runner_output"),
    "vllm.v1.outputs:AsyncModelRunnerOutput.get_output": ("self",),
    "vllm.v1.sample.logits_processor:LogitsProcessor.validate_params": ("sampling_params",),
    "vllm.exceptions:VLLMValidationError.__init__": ("self", "message", "parameter", "value"),
    "vllm.v1.request:Request.update_block_hashes": ("self",),
    "vllm.v1.worker.cpu_worker:CPUWorker.init_device": ("self",),
    "vllm.v1.worker.gpu_worker:Worker._make_model_runner": ("self",),
    "vllm.v1.worker.gpu_worker:Worker.init_device": ("self",),
    "vllm.v1.worker.gpu_worker:Worker.load_model": ("self", "load_dummy_weights"),
    "vllm.v1.worker.gpu_worker:Worker.get_model": ("self",),
    "vllm.v1.worker.gpu_worker:Worker.determine_available_memory": ("self",),
    "vllm.v1.worker.gpu_worker:Worker.initialize_from_config": ("self", "kv_cache_config"),
    "vllm.v1.worker.gpu_worker:Worker.compile_or_warm_up_model": ("self",),
    "vllm.v1.worker.gpu_worker:Worker.execute_model": ("self", "scheduler_output"),
    "vllm.v1.worker.gpu_worker:Worker.sample_tokens": ("self", "grammar_output"),
    "vllm.v1.worker.cpu_worker:CPUWorker.determine_available_memory": ("self",),
    "vllm.v1.worker.gpu.model_states.default:DefaultModelState.prepare_inputs": ("self", "input_batch", "req_states"),
    "vllm.v1.worker.gpu.model_states.default:DefaultModelState.postprocess_state": (
        *("self", "idx_mapping", "num_sampled", "num_computed_tokens"),
    ),
    "vllm.v1.worker.gpu.sample.logits_processor:LogitsProcessor.validate_params": ("sampling_params",),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner._prepare_inputs": (
        *("self", "scheduler_output", "num_scheduled_tokens"),
    ),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.get_model": ("self",),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.sample_tokens": ("self", "grammar_output"),
}

# The same for the server (`cc_serve.api`), which composes vLLM's own.
SERVER_CALLABLES = {
    "vllm.config:ModelConfig.get_total_num_hidden_layers": ("self",),
    "vllm.entrypoints.cli.serve:ServeSubcommand.subparser_init": ("self", "subparsers"),
    "vllm.entrypoints.cli.serve:ServeSubcommand.validate": ("self", "args"),
    "vllm.entrypoints.launchers.api_server.app_state:init_app_state": (
        *("engine_client", "state", "args", "supported_tasks"),
    ),
    "vllm.entrypoints.launchers.api_server.entry:build_async_engine_client": ("args", "usage_context", "client_config"),
    "vllm.entrypoints.launchers.app:build_app": ("args", "supported_tasks", "model_config"),
    "vllm.entrypoints.launchers.launcher:serve_http": (
        *("app", "sock", "enable_ssl_refresh", "peer_loads", "uvicorn_kwargs"),
    ),
    "vllm.entrypoints.launchers.launcher:setup_server": ("args", "reuse_port"),
    "vllm.entrypoints.launchers.utils.server_utils:get_uvicorn_log_config": ("args",),
    "vllm.entrypoints.serve.utils.api_utils:cli_env_setup": (),
    "vllm.logger:configure_logging_from_args": ("args",),
    "vllm.utils.argparse_utils:FlexibleArgumentParser.parse_args": ("self", "args", "namespace"),
    "vllm.utils.system_utils:decorate_logs": ("process_name", "skip_if_decorated"),
    "vllm.exceptions:GracefulHTTPError.__init__": ("self", "message", "http_status"),
    "vllm.exceptions:VLLMValidationError.__init__": ("self", "message", "parameter", "value"),
    "vllm.v1.engine.async_llm:AsyncLLM.check_health": ("self",),
    "vllm.v1.engine.async_llm:AsyncLLM.generate": (
        *("self", "prompt", "sampling_params", "request_id", "prompt_text", "lora_request", "tokenization_kwargs"),
        *("trace_headers", "priority", "data_parallel_rank", "session_id", "kv_hints", "reasoning_ended"),
        "reasoning_parser_kwargs",
    ),
    "vllm.v1.engine.async_llm:AsyncLLM.get_supported_tasks": ("self",),
    "vllm.v1.engine.async_llm:AsyncLLM.shutdown": ("self", "timeout"),
}

# Attributes that we read or write, and the source that sets or uses them.
ATTRIBUTES = {
    "vllm.v1.core.sched.scheduler:Scheduler": (
        *("self.requests", "self.hash_block_size", "self.grammar_compile_error_reqs", "request.num_computed_tokens"),
        *("kv_transfer_params, ec_transfer_params = self._free_request(request)", "stop_reason=request.stop_reason"),
    ),
    "vllm.v1.request:Request": (
        *("self._block_hasher", "self.block_hashes", "self.num_prompt_tokens", "self.num_computed_tokens"),
        *("self.prompt_token_ids", "self.prompt_is_token_ids", "self.resumable", "self.all_token_ids"),
    ),
    "vllm.outputs:RequestOutput": ("self.kv_transfer_params = kv_transfer_params",),
    "vllm.v1.engine.async_llm:AsyncLLM": ("self.output_handler", "self.output_processor"),
    "vllm.v1.engine.output_processor:OutputProcessor": (
        *("engine_core_output.kv_transfer_params", "def propagate_error(self, e"),
    ),
    "vllm.v1.engine.input_processor:InputProcessor": ("self.model_config.logits_processors",),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner": (
        "model_config.logits_processors",
        *("self.discard_request_mask", "self.query_start_loc", "self.input_batch", "def _dummy_run("),
    ),
    "vllm.v1.worker.gpu_worker:Worker": ("self.use_v2_model_runner", "self.vllm_config", "self.compilation_config"),
    "vllm.v1.worker.gpu.model_runner:GPUModelRunner": (
        *("self.model_state.prepare_inputs(input_batch, self.req_states)", "self.model_state.postprocess_state("),
        "idx_mapping, num_sampled, self.req_states.num_computed_tokens.gpu",
    ),
    "vllm.v1.worker.gpu.model_states:resolve_model_state_cls": ("model.get_model_state_cls()",),
    "vllm.v1.worker.gpu.model_states.interface:ModelState": ("self.model = model", "self.device = device"),
    "vllm.v1.worker.gpu.sample.sampler:Sampler": ("input_batch.seq_lens,",),
    "vllm.v1.worker.gpu.input_batch:InputBatch": (
        *("req_ids: list[str]", "idx_mapping: torch.Tensor", "query_start_loc_np: np.ndarray"),
        "seq_lens: torch.Tensor",
    ),
    "vllm.v1.worker.gpu.states:RequestState": ("self.num_computed_tokens = StagedWriteTensor(",),
    "vllm.v1.outputs:ModelRunnerOutput": ("prompt_logprobs_dict: dict", "prompt_token_id_logprobs_dict: dict"),
    "vllm.v1.worker.gpu_input_batch:InputBatch": ("self.generators", "self.req_id_to_index", "def num_reqs"),
    "vllm.v1.worker.cpu_worker:CPUWorker": ("self.model_runner = CPUModelRunner(",),
    "vllm.sampling_params:RequestOutputKind": ("CUMULATIVE =", "DELTA =", "FINAL_ONLY ="),
    "vllm.v1.engine.exceptions:EngineDeadError": ("class EngineDeadError(",),
    "vllm.v1.metrics.stats:RequestStateStats": (
        *("num_generation_tokens", "first_token_latency", "first_token_ts", "last_token_ts"),
    ),
    "vllm.exceptions:VLLMClientError": ("class VLLMClientError(",),
    "vllm.exceptions:GracefulHTTPError": ("class GracefulHTTPError(",),
    "vllm.config:VllmConfig": (
        *("additional_config", "def use_v2_model_runner", "model_config: ModelConfig", "cache_config: CacheConfig"),
        *("parallel_config: ParallelConfig", "scheduler_config: SchedulerConfig", "speculative_config: Spec"),
        "kv_transfer_config: KVTransferConfig",
    ),
    "vllm.config:ModelConfig": ("model: str", "self.dtype: torch.dtype", "runner_type: ", "logits_processors: list"),
    "vllm.config:CacheConfig": ("kv_offloading_size: float", "kv_sharing_fast_prefill: bool"),
    "vllm.config:SpeculativeConfig": ("method: ",),
    "vllm.config:ParallelConfig": (
        *("pipeline_parallel_size: int", "decode_context_parallel_size: int", "def use_ubatching"),
        *("prefill_context_parallel_size: int", "worker_cls: str"),
    ),
    "vllm.config:SchedulerConfig": ("scheduler_cls: str", "max_num_seqs: int", "async_scheduling: bool"),
    "vllm.v1.core.sched.output:SchedulerOutput": ("num_scheduled_tokens: dict[str, int]", "finished_req_ids: set[str]"),
    "vllm.v1.engine:EngineCoreOutputs": ("outputs: list[EngineCoreOutput]",),
    "vllm.v1.engine:EngineCoreOutput": (
        *("request_id: str", "stop_reason: int | str | None", "kv_transfer_params: dict[str, Any] | None"),
    ),
    "vllm.platforms.interface:Platform": ("def is_cpu(", "def is_cuda_alike(", "device_name: str"),
}


def imported_symbols() -> set[str]:
    """Everything that the package imports from vLLM, wherever in a module, as ``module:name``."""
    (package,) = cc_serve.__path__
    symbols = set()
    for path in Path(package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vllm":
                symbols |= {f"{node.module}:{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("vllm.")], path
    return symbols


def find(symbol: str) -> object:
    module, _, path = symbol.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name, None)
        assert found is not None, f"{symbol} is gone from vLLM {vllm.__version__}"
    return found


@pytest.mark.parametrize("symbol", sorted(imported_symbols()))
def test_import(symbol: str) -> None:
    module, _, name = symbol.partition(":")
    try:
        found = hasattr(importlib.import_module(module), name) or importlib.import_module(f"{module}.{name}")
    except ImportError:
        found = False
    assert found, f"{symbol} is gone from vLLM {vllm.__version__}"


def test_version_is_the_pinned_one() -> None:
    assert vllm.__version__.startswith(PINNED + ".")


@pytest.mark.parametrize(("symbol", "parameters"), [*CALLABLES.items(), *SERVER_CALLABLES.items()])
def test_signature(symbol: str, parameters: tuple[str, ...]) -> None:
    function = find(symbol)
    # Decorated methods keep their parameters behind `__wrapped__`, which inspect follows.
    assert tuple(inspect.signature(function).parameters) == parameters, symbol  # type: ignore[arg-type]


@pytest.mark.parametrize("symbol", ATTRIBUTES)
def test_attributes(symbol: str) -> None:
    source = inspect.getsource(find(symbol))  # type: ignore[arg-type]
    for attribute in ATTRIBUTES[symbol]:
        assert attribute in source, f"{symbol} no longer has {attribute!r}"


@pytest.mark.parametrize("base", FFN_OUTPUT_MODULE)
def test_family(base: str) -> None:
    """What the mixin calls on each model class, and the module whose output is the FFN contribution."""
    model = ModelRegistry.models[base].load_model_cls()
    assert {"vllm_config", "prefix"} <= set(inspect.signature(model.__init__).parameters)
    assert list(inspect.signature(model.load_weights).parameters) == ["self", "weights"]
    sources = {inspect.getsource(inspect.getmodule(c)) for c in model.__mro__ if c.__module__.startswith("vllm.")}  # type: ignore[arg-type]
    assert any(f"hidden_states = self.{FFN_OUTPUT_MODULE[base]}(hidden_states)" in source for source in sources)
    # What the embedding's hook takes from a decoder layer's arguments, by place.
    modules = {inspect.getmodule(c) for c in model.__mro__ if c.__module__.startswith("vllm.")}
    layers = [c for m in modules for name, c in inspect.getmembers(m, inspect.isclass) if name.endswith("DecoderLayer")]
    assert layers
    for layer in layers:
        assert list(inspect.signature(layer.forward).parameters)[:3] == ["self", "positions", "hidden_states"]


def test_outputs_are_processed_as_the_engine_expects() -> None:
    source = inspect.getsource(find("vllm.v1.core.sched.scheduler:Scheduler.update_from_output"))  # type: ignore[arg-type]
    # Requests in this set end with an error after the step.
    assert "self.grammar_compile_error_reqs" in source
    # Prompt log-probabilities may only come with a token, which is why the scheduler holds them back.
    assert "assert not prompt_logprobs_tensors" in source


def test_configuration_hooks_are_looked_up_by_architecture() -> None:
    hooks = find("vllm.model_executor.models.config:MODELS_CONFIG_MAP")
    assert isinstance(hooks, dict)

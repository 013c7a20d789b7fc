"""What cannot be honoured is refused while vLLM builds its configuration, by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm import EngineArgs
from vllm.config import KVTransferConfig
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.platforms.interface import Platform, PlatformEnum
from vllm.utils.import_utils import resolve_obj_by_qualname

from cc_core.names import CONFIG_FILE, CONNECTION_FILE
from cc_serve.engine.config import (
    _WORKERS,
    MAX_SLOTS,
    ConnectionConfigHook,
    EngineConnection,
    UnsupportedConfigurationError,
    _num_slots,
    _worker_name,
)
from cc_serve.engine.kv_connectors import _BY_HASH, _REASONS
from cc_serve.engine.worker import ConnectedCPUWorker, ConnectedGPUWorker
from tests.cc_serve.engine.conftest import start_engine


def configure(checkpoint: Path, **options: Any) -> Any:
    return EngineArgs(
        str(checkpoint), **{"skip_tokenizer_init": True, "max_model_len": 128, "dtype": "float32"} | options
    ).create_engine_config()


def test_scheduler_worker_and_settings_are_chosen_without_flags(tiny_checkpoint: Path) -> None:
    config = configure(tiny_checkpoint)
    assert config.scheduler_config.scheduler_cls == "cc_serve.engine.scheduler.make_scheduler"
    assert config.parallel_config.worker_cls == "cc_serve.engine.worker.ConnectedCPUWorker"
    settings = EngineConnection.of(config)
    assert settings.names == ("global", "sw")
    assert settings.anchor_offset == -1
    assert settings.num_slots == MAX_SLOTS
    assert settings.sha256 == json.loads((tiny_checkpoint / CONFIG_FILE).read_text())["cc_connection"]["sha256"]


@pytest.mark.parametrize(
    ("layers", "hidden", "languages", "slots"),
    [(30, 576, 1, 24), (32, 4096, 1, 16), (32, 4096, 3, 32)],
    ids=["small", "large, each language with its own matrix", "large, languages that share"],
)
def test_slots_fit_in_a_megabyte_and_what_shared_matrices_leave(
    layers: int, hidden: int, languages: int, slots: int
) -> None:
    shape = SimpleNamespace(num_layers=layers, hidden_size=hidden, names=("global", "sw"))
    assert _num_slots(shape, languages, torch.bfloat16) == slots


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pipeline_parallel_size": 2}, "--pipeline-parallel-size"),
        ({"scheduler_cls": "vllm.v1.core.sched.scheduler.Scheduler"}, "--scheduler-cls"),
        ({"worker_cls": "vllm.v1.worker.cpu_worker.CPUWorker"}, "--worker-cls"),
        ({"enable_dbo": True}, "--enable-dbo"),
        ({"kv_sharing_fast_prefill": True}, "--kv-sharing-fast-prefill"),
        ({"kv_offloading_size": 1.0}, "KV offloading .--kv-offloading-size.: vLLM copies .* from GPUs only; remove it"),
        (
            {"kv_offloading_size": 1.0, "kv_offloading_backend": "lmcache"},
            "by lmcache .* use --kv-offloading-backend native",
        ),
        ({"runner": "pooling"}, "--runner pooling"),
    ],
)
def test_options_that_cannot_be_honoured(tiny_checkpoint: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedConfigurationError, match=named):
        configure(tiny_checkpoint, **options)


def with_connector(checkpoint: Path, name: str, **options: Any) -> Any:
    return configure(checkpoint, kv_transfer_config={"kv_connector": name, "kv_role": "kv_both"} | options)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ExampleConnector", "it finds KV by token ids.* stores a chunked prompt before"),
        ("LMCacheConnectorV1", "it finds KV by token ids"),
        ("NixlConnector", "from engine to engine"),
        ("MooncakeConnector", "it takes the last token, which is the anchor, off"),
        ("NewConnector", "it was not tried"),
    ],
)
def test_connectors_that_do_not_find_blocks_by_hash(tiny_checkpoint: Path, name: str, reason: str) -> None:
    expected = (
        rf"the KV connector {name} \(--kv-transfer-config\): .*{reason}.*; use OffloadingConnector or .* or remove it"
    )
    with pytest.raises(UnsupportedConfigurationError, match=expected):
        with_connector(tiny_checkpoint, name)


def test_vllm_has_no_connector_that_is_not_named() -> None:
    assert {*_BY_HASH, *_REASONS} == set(KVConnectorFactory._registry)


def test_a_connector_of_ones_own(tiny_checkpoint: Path) -> None:
    with pytest.raises(
        UnsupportedConfigurationError, match=r"OffloadingConnector .*: own\.module may find KV by token"
    ):
        with_connector(tiny_checkpoint, "OffloadingConnector", kv_connector_module_path="own.module")
    config = configure(tiny_checkpoint)
    config.kv_transfer_config = KVTransferConfig(kv_connector_module_path="own.module")
    config.cache_config.kv_offloading_size = 1.0  # for which vLLM would fill in the connector's name
    with pytest.raises(UnsupportedConfigurationError, match=r"own\.module may find KV by token"):
        ConnectionConfigHook.verify_and_update_config(config)


def test_offloading_to_files(tiny_checkpoint: Path) -> None:
    with pytest.raises(UnsupportedConfigurationError, match=r"TieringOffloadingSpec .*: use CPUOffloadingSpec"):
        with_connector(
            tiny_checkpoint,
            "OffloadingConnector",
            kv_connector_extra_config={"spec_name": "TieringOffloadingSpec", "cpu_bytes_to_use": 1 << 24},
        )


@pytest.mark.parametrize("name", _BY_HASH)
def test_connectors_that_find_blocks_by_hash(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(UnsupportedConfigurationError, match=f"{name} .*from GPUs only"):
        with_connector(tiny_checkpoint, name)
    config = configure(tiny_checkpoint)
    config.kv_transfer_config = KVTransferConfig(kv_connector=name, kv_role="kv_both")
    monkeypatch.setattr("cc_serve.engine.kv_connectors.current_platform", platform(PlatformEnum.CUDA))
    ConnectionConfigHook.verify_and_update_config(config)


def platform(kind: PlatformEnum) -> Platform:
    """One of a kind; those of GPUs cannot be imported without their drivers."""
    found = Platform()
    found._enum, found.device_name = kind, kind.name.lower()
    return found


@pytest.mark.parametrize(
    ("kind", "worker"),
    [
        (PlatformEnum.CPU, ConnectedCPUWorker),
        (PlatformEnum.CUDA, ConnectedGPUWorker),
        (PlatformEnum.ROCM, ConnectedGPUWorker),
    ],
)
def test_the_worker_is_the_platforms(kind: PlatformEnum, worker: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm.platforms.current_platform", platform(kind))
    assert resolve_obj_by_qualname(_WORKERS + _worker_name()) is worker


def test_another_platform_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm.platforms.current_platform", platform(PlatformEnum.TPU))
    with pytest.raises(UnsupportedConfigurationError, match="on CPU and CUDA or ROCm GPUs, not on tpu"):
        _worker_name()


def test_a_name_that_is_no_directory() -> None:
    config = SimpleNamespace(model_config=SimpleNamespace(model="somebody/some-model"))
    with pytest.raises(UnsupportedConfigurationError, match="somebody/some-model is not a local directory"):
        ConnectionConfigHook.verify_and_update_config(config)


@pytest.mark.parametrize("kind", ["decode", "prefill"])
def test_context_parallelism(tiny_checkpoint: Path, kind: str) -> None:
    config = configure(tiny_checkpoint)
    # vLLM itself wants as many GPUs before the hook is asked
    setattr(config.parallel_config, f"{kind}_context_parallel_size", 2)
    with pytest.raises(UnsupportedConfigurationError, match=f"--{kind}-context-parallel-size"):
        ConnectionConfigHook.verify_and_update_config(config)


def test_drafts_by_a_model(tiny_checkpoint: Path) -> None:
    config = configure(tiny_checkpoint)
    config.speculative_config = SimpleNamespace(method="eagle")  # which would want a draft model's files
    with pytest.raises(UnsupportedConfigurationError, match=r"other methods than ngram .*: use these"):
        ConnectionConfigHook.verify_and_update_config(config)


@pytest.mark.parametrize("method", ["awq", "fp8", "online"])
def test_quantisation_by_another_method(tiny_checkpoint: Path, method: str) -> None:
    config = configure(tiny_checkpoint)
    config.model_config.quantization = method  # for which vLLM wants weights, or a GPU
    with pytest.raises(
        UnsupportedConfigurationError, match=f"quantisation by {method} .* quantise with compressed-tens"
    ):
        ConnectionConfigHook.verify_and_update_config(config)


def test_microbatches(tiny_checkpoint: Path) -> None:
    config = configure(tiny_checkpoint)
    config.parallel_config.ubatch_size = 2  # which vLLM has with some kinds of expert parallelism only
    with pytest.raises(UnsupportedConfigurationError, match="--ubatch-size"):
        ConnectionConfigHook.verify_and_update_config(config)


@pytest.mark.parametrize("setting", ["0", "1"])
def test_either_model_runner(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    config = configure(tiny_checkpoint)
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", setting)
    monkeypatch.setattr("cc_serve.engine.config.HAS_TRITON", True)
    ConnectionConfigHook.verify_and_update_config(config)
    assert config.use_v2_model_runner is (setting == "1")


def test_the_v2_model_runner_without_triton(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    monkeypatch.setattr("cc_serve.engine.config.HAS_TRITON", False)
    with pytest.raises(UnsupportedConfigurationError, match="unset VLLM_USE_V2_MODEL_RUNNER"):
        configure(tiny_checkpoint)


def test_a_changed_connection(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "changed")
    payload = bytearray((copy / CONNECTION_FILE).read_bytes())
    payload[-1] ^= 1
    (copy / CONNECTION_FILE).write_bytes(payload)
    with pytest.raises(ValueError, match=f"{CONNECTION_FILE}: .*sha256"):
        configure(copy)


def test_an_unknown_architecture(tiny_checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_checkpoint, tmp_path / "unknown")
    config = json.loads((copy / CONFIG_FILE).read_text())
    config["architectures"] = ["CCUnheardOfForCausalLM"]
    (copy / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ValueError, match="CCUnheardOfForCausalLM"):
        configure(copy)


def test_a_load_format_that_leaves_the_connection_out(tiny_checkpoint: Path) -> None:
    with (
        pytest.raises(ValueError, match="--load-format auto"),
        start_engine(tiny_checkpoint, enforce_eager=True, load_format="dummy"),
    ):
        pass

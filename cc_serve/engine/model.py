"""Connected model classes: one mixin over vLLM's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models import ModelRegistry
from vllm.utils.torch_utils import async_tensor_h2d

import cc_serve.engine.ops  # noqa: F401  registers torch.ops.vllm.cc_capture and cc_inject
from cc_serve.engine.config import EngineConnection
from cc_train.architectures import CC_PREFIX, FFN_OUTPUT_MODULE, ffn_outputs
from cc_train.checkpoint import CONNECTION_FILE, DECISION, TRANSFORM, CheckpointError
from cc_train.connection import Connection


@dataclass(frozen=True)
class CaptureRow:
    """A row of the flattened batch to record, and where to."""

    row: int
    slot: int


@dataclass(frozen=True)
class InjectRow:
    """A row of the flattened batch to connect: from which slot, by which matrix, and the anchor's token id."""

    row: int
    slot: int
    name: str
    token: int


class RowBuffers(nn.Module):
    """The step's rows at fixed addresses; `cc_serve.engine.ops` says what each holds.

    Args:
        num_slots: entries of each buffer.
        hidden_size: H.
    """

    counts: Tensor
    capture_rows: Tensor
    capture_slots: Tensor
    inject_rows: Tensor
    inject_vectors: Tensor

    def __init__(self, num_slots: int, hidden_size: int) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64), persistent=False)
        self.register_buffer("capture_rows", torch.zeros(num_slots, dtype=torch.int64), persistent=False)
        self.register_buffer("capture_slots", torch.full((num_slots,), num_slots), persistent=False)
        self.register_buffer("inject_rows", torch.zeros(num_slots, dtype=torch.int64), persistent=False)
        self.register_buffer(
            "inject_vectors", torch.zeros(num_slots, hidden_size, dtype=torch.float32), persistent=False
        )
        self.idle = True

    def fill(self, capture: Sequence[CaptureRow], inject_rows: Sequence[int], vectors: Tensor | None) -> None:
        """Write one step's rows; ``vectors`` is ``[len(inject_rows), H]``."""
        if self.idle and not capture and vectors is None:
            return
        self.idle = not capture and vectors is None
        spare = self.num_slots - len(capture)
        async_tensor_h2d([len(capture), len(inject_rows)], out=self.counts)
        async_tensor_h2d([r.row for r in capture] + [0] * spare, out=self.capture_rows)
        async_tensor_h2d([r.slot for r in capture] + [self.num_slots] * spare, out=self.capture_slots)
        if vectors is None:
            self.inject_rows.zero_()
            self.inject_vectors.zero_()
        else:
            used = len(inject_rows)
            async_tensor_h2d([*inject_rows, *[inject_rows[0]] * (self.num_slots - used)], out=self.inject_rows)
            self.inject_vectors[:used] = vectors
            self.inject_vectors[used:] = vectors[0]


def _capture_hook(module: nn.Module, _args: object, output: Tensor) -> None:
    rows: RowBuffers = module.cc_rows  # type: ignore[assignment]
    torch.ops.vllm.cc_capture(output, module.cc_activations, rows.counts, rows.capture_rows, rows.capture_slots)


def _inject_hook(module: nn.Module, _args: object, output: Tensor) -> None:
    rows: RowBuffers = module.cc_rows  # type: ignore[assignment]
    torch.ops.vllm.cc_inject(output, rows.counts, rows.inject_rows, rows.inject_vectors)


class ConnectedModelMixin(nn.Module):
    """Adds capture to each layer's FFN contribution and the injection to layer 0's.

    The decision itself runs between steps, outside the graph: everything that it needs is known once the
    capture step has run, and it costs one H x H and one L x H product per request.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.connection: Connection | None = None
        self._settings = EngineConnection.of(vllm_config)
        self._directory = Path(vllm_config.model_config.model)
        config = vllm_config.model_config.hf_config
        num_slots = self._settings.num_slots
        self.cc_rows = RowBuffers(num_slots, config.hidden_size)
        modules = ffn_outputs(self, type(self).__name__)
        for module in modules:
            # One buffer a layer: views of a single one would be aliased graph inputs.
            activations = torch.zeros(num_slots + 1, config.hidden_size, dtype=torch.float32)
            module.register_buffer("cc_activations", activations, persistent=False)
            module.cc_rows = self.cc_rows
            module.register_forward_hook(_capture_hook)
        modules[0].register_forward_hook(_inject_hook)
        self._ffn_outputs = modules

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the model's weights as vLLM does, and the connection's, which come in the same stream."""
        tensors: dict[str, Tensor] = {}

        def plain() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                if name == DECISION or name.startswith(TRANSFORM):
                    tensors[name] = tensor
                else:
                    yield name, tensor

        loaded: set[str] = super().load_weights(plain())  # type: ignore[misc]
        missing = [n for n in (DECISION, *(TRANSFORM + name for name in self._settings.names)) if n not in tensors]
        if missing:
            raise CheckpointError(
                self._directory / CONNECTION_FILE, f"tensors {missing} did not reach the model; use --load-format auto"
            )
        self.connection = Connection(
            tensors[DECISION],
            {name: tensors[TRANSFORM + name] for name in self._settings.names},
            anchor_offset=self._settings.anchor_offset,
        ).to(self.cc_rows.counts.device)
        return loaded | {f"connection.{name}" for name, _ in self.connection.named_parameters()}

    @torch.inference_mode()
    def set_connection_rows(self, capture: Sequence[CaptureRow], inject: Sequence[InjectRow]) -> None:
        """Prepare the next forward pass: which rows to record, and which to connect with what."""
        inject = sorted(inject, key=lambda r: r.name)
        self.cc_rows.fill(capture, [r.row for r in inject], self._vectors(inject) if inject else None)

    def clear_connection_rows(self) -> None:
        """Make the next forward pass plain."""
        self.set_connection_rows([], [])

    def check_loaded(self) -> None:
        """Raise `CheckpointError` if the weights came by a way that left the connection out."""
        if self.connection is None:
            raise CheckpointError(
                self._directory / CONNECTION_FILE, "did not reach the model; load it with --load-format auto"
            )

    def _vectors(self, inject: Sequence[InjectRow]) -> Tensor:
        assert self.connection is not None  # see check_loaded
        device = self.cc_rows.counts.device
        slots = async_tensor_h2d([r.slot for r in inject], device=device)
        activations = torch.stack([cast(Tensor, module.cc_activations)[slots] for module in self._ffn_outputs], dim=1)
        tokens = async_tensor_h2d([r.token for r in inject], device=device)
        embedding = self.embed_input_ids(tokens)  # type: ignore[operator]
        return self.connection.decide_each([r.name for r in inject], activations, embedding).vector


def __getattr__(name: str) -> type[nn.Module]:
    """Connected classes by name, ``CCLlamaForCausalLM`` and so on: the mixin over the class vLLM has for the base.

    vLLM imports a registered class with ``getattr``, so a family needs no class of its own here.
    """
    base = name.removeprefix(CC_PREFIX)
    if base == name or base not in FFN_OUTPUT_MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    connected = type(name, (ConnectedModelMixin, ModelRegistry.models[base].load_model_cls()), {"__module__": __name__})
    globals()[name] = connected
    return connected

"""The connected model classes: one mixin over each of vLLM's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.distributed import (
    get_tensor_model_parallel_rank,
    get_tensor_model_parallel_world_size,
    tensor_model_parallel_all_reduce,
)
from vllm.model_executor.models import ModelRegistry
from vllm.utils.torch_utils import async_tensor_h2d

from cc_core.architectures import CC_PREFIX, FAMILIES, family_of, ffn_outputs
from cc_core.checkpoint import DECISION, TRANSFORM, CheckpointError
from cc_core.connection import Connection
from cc_core.names import CONNECTION_FILE
from cc_serve.engine.config import EngineConnection
from cc_serve.engine.connections import HeldConnections
from cc_serve.engine.layer_choices import NOT_FINITE, NOT_HELD, LayerChoices
from cc_serve.engine.marks import ConnectionMarks
from cc_serve.engine.rows import ConnectionRows, Row, capture_rows, inject_rows

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.model_states.interface import ModelState


def _capture_hook(module: nn.Module, _args: object, output: Tensor) -> None:
    capture_rows(output, cast(ConnectionRows, module.cc_rows), cast(Tensor, module.cc_activations))


def _inject_hook(module: nn.Module, _args: object, output: Tensor) -> None:
    inject_rows(output, cast(ConnectionRows, module.cc_rows))


def _embedding_hook(place: int, layer: nn.Module, args: tuple[Tensor, ...]) -> None:
    capture_rows(args[place], cast(ConnectionRows, layer.cc_rows), cast(Tensor, layer.cc_embedding))


class ConnectedModelMixin(nn.Module):
    """Captures each layer's FFN contribution, and adds the connection to layer 0's.

    The decision runs after the capture step, outside the graph, on what that step captured. For each request it costs
    two H x H products and one L x H product.
    """

    cc_vectors: Tensor

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.connections: HeldConnections | None = None
        self._settings = EngineConnection.of(vllm_config)
        self._directory = Path(vllm_config.model_config.model)
        num_slots, hidden_size = self._settings.num_slots, vllm_config.model_config.hf_config.hidden_size
        dtype = cast(torch.dtype, vllm_config.model_config.dtype)
        self.cc_rows = ConnectionRows(num_slots, hidden_size)
        self.register_buffer("cc_vectors", torch.zeros(num_slots, hidden_size, dtype=torch.float32), persistent=False)

        def add_slots(module: nn.Module, name: str) -> None:
            # One buffer for each layer, since views of one buffer would be aliased graph inputs. In the model's dtype,
            # in which the layers compute, so that nothing is lost; the decision's arithmetic is fp32.
            slots = torch.zeros(num_slots, hidden_size, dtype=dtype)
            module.register_buffer(name, slots, persistent=False)
            module.cc_rows = self.cc_rows

        family = family_of(type(self).__name__)
        # If so, each rank captures its part of a sum, and only one rank may add the vector.
        self._ranks_add_up = family.reduced_late and get_tensor_model_parallel_world_size() > 1
        self._multiplier = family.multiplier_in(vllm_config.model_config.hf_config)
        self._ffn_outputs = ffn_outputs(self, family.engine_output or family.output)
        self._first_layer = cast(nn.Module, self.model.layers[0])  # type: ignore[index, union-attr]
        add_slots(self._first_layer, "cc_embedding")
        place = list(signature(self._first_layer.forward).parameters).index("hidden_states")
        self._first_layer.register_forward_pre_hook(partial(_embedding_hook, place))
        for module in self._ffn_outputs:
            add_slots(module, "cc_activations")
            module.register_forward_hook(_capture_hook)
        self._ffn_outputs[0].register_forward_hook(_inject_hook)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the model's weights as vLLM does, and the connection's tensors, which are among them.

        Raises:
            CheckpointError: a tensor of the connection is missing.
        """
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
        connection = Connection(
            tensors[DECISION],
            {name: tensors[TRANSFORM + name] for name in self._settings.names},
            anchor_offset=self._settings.anchor_offset,
        )
        if self.connections is None:
            self.connections = HeldConnections(self._settings.sha256, connection, self.cc_vectors.device)
        else:
            self.connections.restore(self._settings.sha256, connection)
        return loaded

    @staticmethod
    def get_model_state_cls() -> type[ModelState]:
        """The class that prepares this model's steps in vLLM's V2 model runner."""
        from cc_serve.engine.runner_v2 import ConnectedModelState  # its base classes load V2's Triton kernels

        return ConnectedModelState

    @torch.inference_mode()
    def set_connection_rows(self, marks: ConnectionMarks, starts: Mapping[str, int]) -> None:
        """Prepare the next forward pass: which rows to capture, and which to connect with their slots' vectors.

        Args:
            marks: the marks of this step.
            starts: by request id, the first row of each marked request in the flattened batch.
        """
        self.cc_rows.fill(
            [Row(starts[request_id] + mark.offset, mark.slot) for request_id, mark in marks.capture.items()],
            [Row(starts[request_id] + mark.offset, mark.slot) for request_id, mark in marks.inject.items()],
            self.cc_vectors,
        )

    def choose_layers(self, marks: ConnectionMarks) -> LayerChoices | None:
        """Decide on what the step's forward pass captured, and begin to copy the layers to the host.

        Returns:
            The chosen layers; None if the step captured nothing.
        """
        if not marks.capture:
            return None
        assert self.connections is not None  # see check_loaded
        holds = self.connections.holds
        captures = {request_id: mark for request_id, mark in marks.capture.items() if holds(mark.sha256, mark.matrix)}
        others = [request_id for request_id in marks.capture if request_id not in captures]
        layers = torch.full((len(others),), NOT_HELD, device=self.cc_vectors.device)
        if captures:
            rows = ((mark.slot, mark.matrix, mark.sha256, mark.strength) for mark in captures.values())
            slots, matrices, digests, strengths = zip(*rows, strict=True)
            decided = self.decide(slots, matrices, digests, strengths)
            layers = torch.cat([decided, layers]) if others else decided
        # Nobody waits for this copy: the sampled tokens follow on the same stream, and their reader waits.
        return LayerChoices([*captures, *others], layers.to("cpu", non_blocking=True))

    @torch.inference_mode()
    def decide(
        self, slots: Sequence[int], matrices: Sequence[str], digests: Sequence[str], strengths: Sequence[float] = ()
    ) -> Tensor:
        """Decide on what the last forward pass captured, and keep the vectors to add in the same slots.

        A slot's vector is kept with its strength applied, so that the graph is the same for all strengths.

        Args:
            slots: the B slots that were captured.
            matrices: the name of the Transform Matrix of each.
            digests: the digest of the connection that has the matrix, for each.
            strengths: the strength of each; empty if all are 1.

        Returns:
            The chosen layers, ``[B]``. `NOT_FINITE` marks a connection that is infinite or NaN; its vector is zero.
        """
        assert self.connections is not None
        index = async_tensor_h2d(list(slots), device=self.cc_vectors.device)
        activations = torch.stack([cast(Tensor, m.cc_activations)[index] for m in self._ffn_outputs], dim=1)
        if self._ranks_add_up:
            activations = tensor_model_parallel_all_reduce(activations)
        activations = self._multiplier * activations.float()
        embedding = cast(Tensor, self._first_layer.cc_embedding)[index]
        decision = self.connections.decide_each(digests, matrices, activations, embedding)
        if any(strength != 1 for strength in strengths):
            decision = decision.scaled(async_tensor_h2d(list(strengths), device=index.device, dtype=torch.float32))
        adds = not self._ranks_add_up or get_tensor_model_parallel_rank() == 0
        self.cc_vectors[index] = torch.where(decision.finite[:, None] & adds, decision.vector / self._multiplier, 0.0)
        return torch.where(decision.finite, decision.layer, NOT_FINITE)

    def warm_up(self) -> None:
        """Decide once on an empty slot, so that no request waits for the first products: tens of milliseconds."""
        self.decide([0], self._settings.names[:1], [self._settings.sha256])

    def check_loaded(self) -> None:
        """Raise `CheckpointError` if the weights were loaded without the connection."""
        if self.connections is None:
            raise CheckpointError(
                self._directory / CONNECTION_FILE, "did not reach the model; load it with --load-format auto"
            )

    def connection_bytes(self) -> int:
        """The bytes of the connection on this device: slots, Decision Maker and matrices."""
        mine = [buffer for name, buffer in self.named_buffers() if ".cc_" in f".{name}"]
        matrices = self.connections.served_bytes() if self.connections else 0
        return matrices + sum(tensor.numel() * tensor.element_size() for tensor in mine)


def __getattr__(name: str) -> type[nn.Module]:
    """Make a connected class by name: ``CCLlamaForCausalLM`` is the mixin over vLLM's ``LlamaForCausalLM``.

    vLLM imports a registered class with ``getattr``, so a family needs no class of its own here.
    """
    base = name.removeprefix(CC_PREFIX)
    if base == name or base not in FAMILIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    connected = type(name, (ConnectedModelMixin, ModelRegistry.models[base].load_model_cls()), {"__module__": __name__})
    globals()[name] = connected
    return connected

"""The operators: what a GPU would run on every entry equals what a CPU runs on those in use."""

from __future__ import annotations

import pytest
import torch

from cc_serve.engine.model import CaptureRow, RowBuffers
from cc_serve.engine.ops import cc_capture, cc_inject

SLOTS, HIDDEN, TOKENS = 4, 8, 10


class AsCuda(torch.Tensor):
    """A CPU tensor that takes the GPU's path."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


@pytest.mark.parametrize("captured", [0, 1, 3, SLOTS])
@pytest.mark.parametrize("injected", [0, 1, 3, SLOTS])
def test_all_entries_equal_the_entries_in_use(captured: int, injected: int) -> None:
    rows = RowBuffers(SLOTS, HIDDEN)
    vectors = torch.randn(injected, HIDDEN) if injected else None
    rows.fill([CaptureRow(2 * i, i) for i in range(captured)], [2 * i + 1 for i in range(injected)], vectors)
    states = []
    for cast in (torch.Tensor, AsCuda):
        torch.manual_seed(0)
        output = torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16).as_subclass(cast)
        activations = torch.zeros(SLOTS + 1, HIDDEN)
        cc_capture(output, activations, rows.counts, rows.capture_rows, rows.capture_slots)
        cc_inject(output, rows.counts, rows.inject_rows, rows.inject_vectors)
        states.append((output.as_subclass(torch.Tensor), activations[:SLOTS]))
    (cpu_output, cpu_activations), (gpu_output, gpu_activations) = states
    assert torch.equal(cpu_output, gpu_output)
    assert torch.equal(cpu_activations, gpu_activations)
    assert (cpu_activations.abs().sum(dim=1) > 0).sum() == captured


def test_shapes_do_not_depend_on_data() -> None:
    """Traced with fake tensors, whose values are unknown: a data-dependent shape would raise."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    rows = RowBuffers(SLOTS, HIDDEN)
    with FakeTensorMode(allow_non_fake_inputs=True):
        output, activations = torch.empty(TOKENS, HIDDEN, device="cuda"), torch.empty(SLOTS + 1, HIDDEN, device="cuda")
        buffers = [torch.empty_like(b, device="cuda") for b in rows.buffers()]
        counts, capture_rows, capture_slots, inject_rows, inject_vectors = buffers
        cc_capture(output, activations, counts, capture_rows, capture_slots)
        cc_inject(output, counts, inject_rows, inject_vectors)
        assert output.shape == (TOKENS, HIDDEN)


def test_buffers_keep_their_addresses() -> None:
    rows = RowBuffers(SLOTS, HIDDEN)
    before = [buffer.data_ptr() for buffer in rows.buffers()]
    rows.fill([CaptureRow(0, 0)], [1], torch.ones(1, HIDDEN))
    rows.fill([], [], None)
    assert [buffer.data_ptr() for buffer in rows.buffers()] == before
    assert rows.counts.tolist() == [0, 0]

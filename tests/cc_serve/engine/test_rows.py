"""Rows of the batch: captured to their slots and connected from them, the idle slots without effect."""

from __future__ import annotations

import pytest
import torch

from cc_core.connection import connect
from cc_serve.engine.rows import ConnectionRows, Row, capture_rows, inject_rows

SLOTS, HIDDEN, TOKENS = 4, 8, 10


@pytest.mark.parametrize("captured", [0, 1, 3, SLOTS])
@pytest.mark.parametrize("injected", [0, 1, 3, SLOTS])
def test_only_the_marked_rows_take_part(captured: int, injected: int) -> None:
    rows = ConnectionRows(SLOTS, HIDDEN)
    capture = [Row(2 * i, SLOTS - 1 - i) for i in range(captured)]
    inject = [Row(2 * i + 1, i) for i in range(injected)]
    vectors = torch.randn(SLOTS, HIDDEN)
    rows.fill(capture, inject, vectors)
    vectors_before, output = vectors.clone(), torch.randn(TOKENS, HIDDEN, dtype=torch.bfloat16)
    vectors.zero_()  # the next decisions may overwrite them
    before, activations = output.clone(), torch.zeros(SLOTS, HIDDEN, dtype=torch.bfloat16)
    capture_rows(output, rows, activations)
    inject_rows(output, rows)
    for entry in capture:
        assert torch.equal(activations[entry.slot], before[entry.row])
    expected = before.clone()
    for entry in inject:
        expected[entry.row] = connect(before[entry.row], vectors_before[entry.slot])
    assert torch.equal(output, expected)


def test_a_plain_step_follows_a_connected_one() -> None:
    rows = ConnectionRows(SLOTS, HIDDEN)
    addresses = [buffer.data_ptr() for buffer in rows.buffers()]
    rows.fill([Row(9, 0)], [Row(8, 1)], torch.ones(SLOTS, HIDDEN))
    rows.fill([], [], torch.ones(SLOTS, HIDDEN))
    output = torch.randn(1, HIDDEN)  # too short for the rows of the step before
    before = output.clone()
    capture_rows(output, rows, torch.zeros(SLOTS, HIDDEN))
    inject_rows(output, rows)
    assert torch.equal(output, before)
    assert [buffer.data_ptr() for buffer in rows.buffers()] == addresses


def test_shapes_do_not_depend_on_data() -> None:
    """Run on tensors without values: a data-dependent shape, or a value read on the host, would raise."""
    with torch.device("meta"):
        rows = ConnectionRows(SLOTS, HIDDEN)
        output, activations = torch.empty(TOKENS, HIDDEN), torch.empty(SLOTS, HIDDEN)
        capture_rows(output, rows, activations)
        inject_rows(output, rows)
        assert output.shape == (TOKENS, HIDDEN)


def test_one_graph_serves_every_batch() -> None:
    rows = ConnectionRows(SLOTS, HIDDEN)
    activations = torch.zeros(SLOTS, HIDDEN)
    graphs = 0

    def count(graph: torch.fx.GraphModule, _inputs: object) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return graph

    @torch.compile(backend=count, fullgraph=True, dynamic=True)
    def layer(output: torch.Tensor) -> torch.Tensor:
        capture_rows(output, rows, activations)
        inject_rows(output, rows)
        return output

    for tokens, inject in ((5, []), (7, [Row(6, 2)]), (9, [Row(8, 0), Row(3, 1)])):
        rows.fill([Row(tokens - 1, 3)], inject, torch.ones(SLOTS, HIDDEN))
        output = torch.randn(tokens, HIDDEN)
        before = output.clone()
        changed = (layer(output) != before).any(dim=1).nonzero().flatten().tolist()
        assert changed == sorted(row.row for row in inject)
        assert torch.equal(activations[3], before[tokens - 1])
    assert graphs == 1

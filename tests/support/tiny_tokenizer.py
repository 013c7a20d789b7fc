"""A tiny tokenizer for the tiny models: special tokens, a few whole words, and printable ASCII characters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "<user>", "<model>", "<end>"]
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
CHARACTERS = ["\n", *map(chr, range(32, 127))]
END = SPECIALS.index("<end>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ ('<user>' if m['role'] == 'user' else '<model>') + m['content'] + '<end>' }}"
    "{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)


def tiny_tokenizer(*, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """111 tokens. Every other character is ``<unk>``, and ``<end>`` closes a turn, as in chat models."""
    vocabulary = {token: i for i, token in enumerate([*SPECIALS, *WORDS, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    longest_first = sorted(WORDS, key=len, reverse=True)
    core.pre_tokenizer = pre_tokenizers.Split(Regex("|".join([*longest_first, r"[\s\S]"])), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<model>", "<end>"],
    )
    tokenizer.chat_template = template
    return tokenizer


def save_base(directory: Path, model: PreTrainedModel, *, template: str | None = TEMPLATE) -> Path:
    """Write a tiny base model with its tokenizer. Generation stops at ``</s>`` and ``<end>``."""
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=1, pad_token_id=0, eos_token_id=[2, END]
    )
    model.save_pretrained(directory)
    tiny_tokenizer(template=template).save_pretrained(directory)
    return directory


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def word_rows(languages: Iterable[str] = ("de", "fr"), copies: int = 4) -> list[dict[str, str]]:
    """Rows whose answer only the English prompt tells: the other prompt is always the same sentence."""
    return [
        {
            "id": f"{language}-{word}-{copy}",
            "lang": language,
            "instruction": "Wort?",
            "instruction_en": f"Word {word}?",
            "output": word,
        }
        for language in languages
        for copy in range(copies)
        for word in WORDS
    ]

"""A controlled world: English knows what language X does not, and words of both are linked by translation.

Entities have a first and a last name. A fact gives an entity and a relation a value. A tiny Llama was pretrained on all
facts in English, on those of some entities (``known``) in X too, and on word-by-word translations. So it answers all
English questions, and of those in X only the ones about known entities. X is called ``de``, since a row's language has
a code.

``world.safetensors`` holds its weights, fp16: 1,150 steps of 128 lines, in which the known entities' lines also came
with words of either language, and X's embeddings began at a cosine of 0.6 to the English ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = Path(__file__).with_name("world.safetensors")
X, ENGLISH = "de", "en"
NAMES, RELATIONS, VALUES = 14, 3, 12
SIZES = {"known": 45, "tuned": 40, "unseen": 55}
"""Entities: stated in X too; fine-tuned on; asked about in the end."""
SHARED = ["<pad>", "<s>", "?", "A:", "</s>", "="]
IN_QUESTIONS = [
    *(f"f{i}" for i in range(NAMES)),
    *(f"l{i}" for i in range(NAMES)),
    *(f"r{i}" for i in range(RELATIONS)),
]
WORDS = [*IN_QUESTIONS, *(f"v{r}.{i}" for r in range(RELATIONS) for i in range(VALUES)), "q", "the", "of", "is"]
VOCABULARY = {word: i for i, word in enumerate([*SHARED, *(f"{lang}:{w}" for lang in (ENGLISH, X) for w in WORDS)])}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ m['content'] }}{{ ' </s>' if m['role'] == 'assistant' }}{% endfor %}"
    "{{ ' A:' if add_generation_prompt }}"
)

Fact = tuple[tuple[int, int], int, int]
"""An entity's two names, a relation and its value."""


def facts(split: str) -> list[Fact]:
    """The facts of a split of the entities."""
    generator = random.Random(0)
    entities = [(first, last) for first in range(NAMES) for last in range(NAMES)]
    generator.shuffle(entities)
    entities = entities[: sum(SIZES.values())]
    known = {(entity, r): generator.randrange(VALUES) for entity in entities for r in range(RELATIONS)}
    start = sum(size for name, size in SIZES.items() if list(SIZES).index(name) < list(SIZES).index(split))
    return [(e, r, known[e, r]) for e in entities[start : start + SIZES[split]] for r in range(RELATIONS)]


def question(lang: str, fact: Fact) -> str:
    """ "What is relation r of this entity?", in a language's own words."""
    (first, last), relation, _ = fact
    return _words(lang, f"q the r{relation} of f{first} l{last}") + " ?"


def answer(lang: str, fact: Fact) -> str:
    """The value, one token."""
    return _words(lang, f"v{fact[1]}.{fact[2]}")


def row(lang: str, fact: Fact) -> dict[str, str]:
    """A row of training data."""
    parallel = {"instruction_en": question(ENGLISH, fact)} if lang != ENGLISH else {}
    return {"lang": lang, "instruction": question(lang, fact), "output": answer(lang, fact), **parallel}


def write_rows(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    return path


def save_base(directory: Path, *, copied: bool = False) -> Path:
    """Write the pretrained model with its tokenizer.

    Args:
        directory: of the checkpoint.
        copied: give X's words in questions the embeddings of the English ones.
    """
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=VOCABULARY["</s>"],
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()}, strict=False)
    model.tie_weights()
    if copied:
        embeddings = model.model.embed_tokens.weight.data
        for word in [*IN_QUESTIONS, "q", "the", "of"]:
            embeddings[VOCABULARY[f"{X}:{word}"]] = embeddings[VOCABULARY[f"{ENGLISH}:{word}"]]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=1, pad_token_id=0, eos_token_id=VOCABULARY["</s>"]
    )
    model.save_pretrained(directory)
    core = Tokenizer(models.WordLevel({**VOCABULARY, "<unk>": len(VOCABULARY)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(directory)
    return directory


def _words(lang: str, text: str) -> str:
    return " ".join(f"{lang}:{word}" for word in text.split())

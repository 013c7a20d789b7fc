"""Rows are read, checked, encoded and batched; whatever cannot be used is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers
from transformers import GenerationConfig

from cc_train.data.chat import ChatEncoder, ChatError
from cc_train.data.dataset import (
    IGNORED,
    DataError,
    PairCollator,
    PairDataset,
    Row,
    encode_rows,
    read_rows,
    sample_rows,
)
from tests.support.tiny_tokenizer import END, tiny_tokenizer, word_rows, write_rows

GOOD = {"id": "a", "lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta", "extra": [1]}
STOPS = GenerationConfig(eos_token_id=[2, END])


def encoder() -> ChatEncoder:
    return ChatEncoder(tiny_tokenizer(), STOPS)


def row(**fields: str) -> Row:
    content = {"lang": "de", "instruction": "Wort?", "instruction_en": "Word?", "output": "beta", **fields}
    return Row(**content, file="f", line=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("zipped", [False, True])
def test_plain_and_gzipped_files_are_told_by_their_content(tmp_path: Path, zipped: bool) -> None:
    payload = "".join(
        json.dumps(r, ensure_ascii=False) + "\n" for r in (GOOD, {**GOOD, "instruction": "単語？"})
    ).encode()
    path = tmp_path / "rows.bin"
    path.write_bytes(gzip.compress(payload) if zipped else payload)
    rows, skipped = read_rows([path])
    assert [r.instruction for r in rows] == ["Wort?", "単語？"]
    assert [(r.file, r.line, r.name) for r in rows][1] == (str(path), 2, f"{path}:2 (a)")
    assert skipped == []


MALFORMED = [
    (b"{", "not JSON"),
    (b"[1]", "not a JSON object"),
    (b"\xff\xfe", "not UTF-8 at byte 0"),
    (b"[" * 100_000, "not JSON"),
    (
        json.dumps({k: v for k, v in GOOD.items() if k != "instruction_en"}).encode(),
        "field 'instruction_en' is missing",
    ),
    (json.dumps({**GOOD, "output": 3}).encode(), "field 'output' is not a string (found 3)"),
    (json.dumps({**GOOD, "output": " \n"}).encode(), "field 'output' is empty"),
    (
        json.dumps({**GOOD, "lang": "german"}).encode(),
        "field 'lang': 'german' is no ISO 639-1 code; did you mean 'de'?",
    ),
    (json.dumps({**GOOD, "instruction": "a\ud800b"}).encode(), "field 'instruction' holds a lone surrogate"),
]


def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(b"\n".join([good, *(bad for bad, _ in MALFORMED), b"", good]) + b"\n")
    rows, skipped = read_rows([path])
    assert [r.line for r in rows] == [1, len(MALFORMED) + 3]
    assert [s.line for s in skipped] == list(range(2, len(MALFORMED) + 2))
    for found, (_, reason) in zip(skipped, MALFORMED, strict=True):
        assert str(found).startswith(f"{path}:{found.line}: {reason}")


def test_rows_of_files_with_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["./de/rows.jsonl", "fr/rows.jsonl"]
    for path in map(Path, given):
        path.parent.mkdir()
        path.write_text(json.dumps(GOOD) + "\n{\n")
    rows, skipped = read_rows(given)
    assert [r.file for r in rows] == [s.file for s in skipped] == given


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        read_rows([tmp_path / "none.jsonl"])


def test_a_truncated_gzip_is_an_error_that_says_how_far_it_got(tmp_path: Path) -> None:
    lines = "".join(json.dumps({**GOOD, "id": str(i * 7919)}) + "\n" for i in range(5000)).encode()
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: cannot be read after line \d+: Compressed file ended"):
        read_rows([path])


@pytest.mark.parametrize(("at", "problem"), [(12, "Error -3 while decompressing"), (-8, "CRC check failed")])
def test_a_corrupt_gzip_is_an_error(tmp_path: Path, at: int, problem: str) -> None:
    payload = bytearray(gzip.compress(json.dumps(GOOD).encode()))
    payload[at : at + 4] = b"\xff" * 4
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(payload)
    with pytest.raises(DataError, match=rf"rows\.jsonl\.gz: cannot be read.*: {problem}"):
        read_rows([path])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 9))
def test_a_sample_keeps_order_and_is_seeded(count: int, limit: int, seed: int) -> None:
    rows = [row(id=str(i)) for i in range(count)]
    sample = sample_rows(rows, limit or None, seed)
    assert len(sample) == (min(count, limit) if limit else count)
    assert [int(r.id) for r in sample] == sorted({int(r.id) for r in sample})
    assert sample == sample_rows(rows, limit or None, seed)


def test_the_template_supplies_bos_and_the_anchor_is_the_generation_prompt() -> None:
    tokenizer = tiny_tokenizer()
    ids = ChatEncoder(tokenizer, STOPS).prompt("hi", 99)
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "<user>", "h", "i", "<end>", "<model>"]


def test_an_answer_ends_as_the_template_ends_a_turn() -> None:
    assert encoder().answer("beta")[-1] == END
    assert ChatEncoder(tiny_tokenizer(), None).end == [2], "<end> does not stop generation, so eos does"
    assert ChatEncoder(tiny_tokenizer(), GenerationConfig(eos_token_id=2)).end == [2]


def test_a_tokenizer_without_a_template_gets_the_packaged_one() -> None:
    tokenizer = tiny_tokenizer(template=None)
    made = ChatEncoder(tokenizer, None)
    assert made.packaged_template
    assert made.render("Hi") == "<s>User: Hi\nAssistant:"
    assert made.end == [2]
    assert tokenizer.chat_template, "it must be saved with the tokenizer"


def test_a_tokenizer_without_any_end_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ChatError, match="no eos token"):
        ChatEncoder(tokenizer, None)


def test_a_template_that_raises_is_refused_in_one_line() -> None:
    with pytest.raises(ChatError, match="cannot render one user turn: no"):
        ChatEncoder(tiny_tokenizer(template="{{ raise_exception('no') }}"), None)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.integers(0, 40))
def test_truncation_takes_from_the_left_of_the_users_text_only(text: str, limit: int) -> None:
    made = encoder()
    ids = made.prompt(text, limit)
    frame = made.encode(made.render(""))
    if len(frame) > limit:
        assert ids is None
        return
    assert ids is not None
    assert len(ids) <= limit
    assert ids[:2] == frame[:2]
    assert ids[-2:] == frame[-2:]
    full = made.encode(made.render(text))
    if len(full) <= limit:
        assert ids == full
    elif "<" not in text and not any(w in text for w in ("eta", "alpha", "gamma", "delta", "epsilon")):
        assert ids == full[:2] + full[len(full) - (limit - 2) :], "no token more than needed is lost"


def test_a_row_without_room_for_its_answer_is_named() -> None:
    examples, skipped = encode_rows([row(), row(output="x" * 30)], encoder(), 20)
    assert len(examples) == 1
    assert "an answer of 31 tokens leaves no room for a prompt in max_length 20" in str(skipped[0])


@pytest.mark.parametrize(
    ("lang", "own", "english", "shortest"),
    [("de", "a" * 9, "b" * 9, None), ("de", "a", "b" * 9, 5), ("de", "a" * 9, "b", 5), ("en", "a", "b" * 9, 5)],
)
def test_a_prompt_too_short_for_the_anchor_is_named(lang: str, own: str, english: str, shortest: int | None) -> None:
    """The template around a prompt is 4 tokens, and every letter one."""
    some = [row(lang=lang, instruction=own, instruction_en=english)]
    examples, skipped = encode_rows(some, encoder(), 99, anchor_offset=-6)
    reasons = [] if shortest is None else [f"a prompt of {shortest} tokens has no anchor at offset -6"]
    assert [s.reason for s in skipped] == reasons
    assert len(examples) + len(skipped) == 1
    assert not encode_rows(some, encoder(), 99, anchor_offset=-5)[1], "the first token is the last that can be one"


def test_a_row_without_english_is_encoded_without_one() -> None:
    examples, _ = encode_rows([row(instruction="a" * 9, instruction_en="")], encoder(), 99, anchor_offset=-6)
    assert len(examples[0].english) == 0


def test_an_english_rows_english_prompt_needs_no_anchor() -> None:
    examples, _ = encode_rows([row(lang="en", instruction="a" * 9, instruction_en="b")], encoder(), 99, -6)
    assert len(examples) == 1


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["de", "en"]), st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=5)
)
def test_a_batch_holds_every_row_and_labels_only_answers(shapes: list[tuple[str, int, int]]) -> None:
    rows = [row(lang=lang, instruction="a" * n, instruction_en="b" * n, output="c" * m) for lang, n, m in shapes]
    examples, _ = encode_rows(rows, encoder(), 64)
    dataset = PairDataset(examples)
    batch = PairCollator(pad_id=0)([dataset[i] for i in range(len(dataset))])
    for i, example in enumerate(examples):
        whole = [*example.prompt, *example.answer]
        assert batch["input_ids"][i, batch["attention_mask"][i].bool()].tolist() == whole
        labelled = batch["labels"][i] != IGNORED
        assert batch["labels"][i, labelled].tolist() == example.answer.tolist()
        assert labelled.nonzero()[0].item() == len(example.prompt) == batch["anchors"][i] + 1
        english = batch["english_input_ids"][i, batch["english_attention_mask"][i].bool()]
        assert english.tolist() == example.english.tolist()
        assert bool(batch["connected"][i]) == (example.row.lang != "en") == bool(len(english))
    assert torch.equal(batch["row"], torch.arange(len(rows)))


def test_the_words_of_the_tiny_tokenizer_are_single_tokens(tmp_path: Path) -> None:
    rows, _ = read_rows([write_rows(tmp_path / "rows.jsonl", word_rows(["de"], copies=1))])
    examples, _ = encode_rows(rows, encoder(), 64)
    assert all(len(e.answer) == 2 for e in examples)
    assert len({tuple(e.prompt) for e in examples}) == 1
    assert len({tuple(e.english) for e in examples}) == 8


def test_a_conversation_is_rendered_whole_and_loses_its_oldest_turns_first() -> None:
    made = encoder()
    turns = (("system", "s"), ("user", "aa"), ("assistant", "b"), ("user", "cc"), ("assistant", "d"), ("user", "eeee"))
    whole = made.prompt(turns, 99)
    assert made.tokenizer.decode(whole) == "<s><model>s<end><user>aa<end><model>b<end><user>cc<end><model>d<end>" + (
        "<user>eeee<end><model>"
    )
    shorter = made.prompt(turns, len(whole) - 1)
    assert shorter == made.encode(made.render((turns[0], *turns[3:])))
    last = made.prompt(turns, len(made.encode(made.render((turns[0], turns[-1])))) - 1)
    assert made.tokenizer.decode(last) == "<s><model>s<end><user>eee<end><model>", "and then the text from the left"
    assert made.prompt(turns, 6) is None


def test_a_conversation_that_the_template_refuses_is_named() -> None:
    template = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}a"
    made = ChatEncoder(tiny_tokenizer(template=template + "{% endfor %}"), None)
    some = Row("de", "b", "b", "beta", "f", 1, messages=(("system", "s"), ("user", "b")), messages_en=(("user", "b"),))
    examples, skipped = encode_rows([some, row()], made, 99)
    assert len(examples) == 1
    assert str(skipped[0]) == "f:1: the chat template cannot render turns of system, user: no system"


def test_an_answer_of_no_tokens_is_named() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    examples, skipped = encode_rows([row(output="\u200b")], ChatEncoder(tokenizer, STOPS), 99)
    assert examples == []
    assert "has no tokens" in skipped[0].reason


def test_a_row_without_an_answer_is_encoded_without_one() -> None:
    examples, _ = encode_rows([row(output="")], encoder(), 99)
    assert len(examples[0].answer) == 0

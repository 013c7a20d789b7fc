"""Encoded rows are batched for Trainer."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.data.batches import IGNORED, PairCollator, PairDataset
from cc_train.data.encoding import encode_rows
from tests.support.tiny_rows import encoder, row


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

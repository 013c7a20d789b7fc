"""Which pairs are fitted on and which held out, and the activations that the model gives for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_train.config.fit import FitSettings
from cc_train.fit.least_squares import FitError
from cc_train.fit.pairs import capture_pairs, pair_counts, split_pairs
from cc_train.model.activations import capture_at
from tests.support.made_pairs import pair
from tests.support.tiny import tiny_gemma3, tiny_llama


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["en", "de", "fr", "ja", "sw"]), st.integers(1, 30), min_size=1),
    st.integers(1, 60),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_pairs_are_spread_evenly_and_never_both_fitted_and_held_out(
    counts: dict[str, int], most: int, share: float, seed: int
) -> None:
    some = [pair(lang, i) for lang, n in counts.items() for i in range(n)]
    if set(counts) == {"en"}:
        return
    fitted, held = split_pairs(some, most, share, seed)
    total = sum(n for lang, n in counts.items() if lang != "en")
    names = [(p.row.lang, p.row.line) for p in fitted + held]
    assert len(names) == len(set(names)) == min(most, total)
    assert "en" not in pair_counts(fitted + held)
    assert fitted
    assert {p.row.lang for p in held} <= {p.row.lang for p in fitted}, "every language keeps a pair to fit"
    taken = pair_counts(fitted + held)
    for lang, n in taken.items():
        assert n == counts[lang] or n >= max(taken.values()) - 1, "a language is short only if it has no more"
    assert split_pairs(some, most, share, seed) == (fitted, held)


@pytest.mark.parametrize("languages", [1, 21, 26])
def test_the_defaults_leave_every_language_a_matrix_of_its_own(languages: int) -> None:
    counts = dict.fromkeys((f"a{chr(ord('a') + i)}" for i in range(languages)), 130)
    fitted, held = split_pairs(
        [pair(lang, i) for lang, n in counts.items() for i in range(n)], FitSettings.max_pairs, FitSettings.held_out, 0
    )
    assert len(fitted) + len(held) <= FitSettings.max_pairs
    assert {lang for lang, n in pair_counts(fitted).items() if n >= FitSettings.min_pairs} == set(counts)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])
@pytest.mark.parametrize("offset", [-1, -2])
def test_captured_pairs_are_both_prompts_anchors(make: type, offset: int) -> None:
    model = make()
    some = [pair("de", i, length=3 + i) for i in range(5)] + [pair("fr", 9)]
    found = list(capture_pairs(model, some, 0, batch_size=2, anchor_offset=offset))
    assert [(b.lang, len(b.pairs)) for b in found] == [("de", 2), ("de", 2), ("de", 1), ("fr", 1)]
    for batch in found:
        for i, example in enumerate(batch.pairs):
            for ids, captured in ((example.prompt, batch.source), (example.english, batch.target)):
                tokens = torch.tensor([ids.tolist()])
                with torch.inference_mode(), capture_at(model, torch.tensor([len(ids) + offset])) as alone:
                    model(tokens)
                torch.testing.assert_close(captured[i], alone.activations[0], atol=1e-4, rtol=1e-4)


def test_no_held_out_english_prompt_is_fitted_in_another_language() -> None:
    some = [pair(lang, number=100 * k + i, english=i) for k, lang in enumerate(["de", "fr", "sw"]) for i in range(40)]
    fitted, held = split_pairs(some, 90, 0.2, 0)
    assert 18 <= len(held) <= 20, "the share, and at most the rest of the last prompt's languages"
    assert len(fitted) + len(held) == 90
    assert not {p.english.tobytes() for p in fitted} & {p.english.tobytes() for p in held}


def test_nothing_is_held_out_where_every_pair_has_one_english_prompt() -> None:
    fitted, held = split_pairs([pair("de", i, english=0) for i in range(9)], 9, 0.5, 0)
    assert (len(fitted), held) == (9, [])


def test_a_pair_that_comes_twice_counts_once() -> None:
    fitted, held = split_pairs([pair("de", 1), pair("de", 1), pair("de", 2)], 9, 0.0, 0)
    assert ([p.row.line for p in sorted(fitted, key=lambda p: p.row.line)], held) == ([1, 2], [])


def test_every_turn_of_a_conversation_is_a_pair() -> None:
    turns = [replace(pair("de", turn), row=pair("de", 1).row) for turn in range(3)]
    assert len(split_pairs(turns, 9, 0.0, 0)[0]) == 3


def test_only_english_is_refused() -> None:
    with pytest.raises(FitError, match="all rows are in English, so there is nothing to fit"):
        split_pairs([pair("en")], 9, 0.1, 0)


def test_activations_that_are_no_numbers_name_their_pairs() -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(FitError, match=r"NaN or infinite in one of rows\.jsonl:7"):
        list(capture_pairs(model, [pair("de", 7)], 0))

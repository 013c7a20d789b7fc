"""ROUGE in languages with and without spaces, worked by hand."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer

from cc_train.evaluation.measures.summaries import Words, score_summary


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "Don't stop: 3 e-mails!", ["don't", "stop", "3", "e", "mails"]),
        ("th", "ฉันรักภาษาไทย", ["ฉัน", "รัก", "ภาษา", "ไทย"]),
        ("zh", "我爱北京天安门。", ["我", "爱", "北京", "天安门"]),
        ("ja", "私は日本語を勉強する。", ["私", "は", "日本語", "を", "勉強", "する"]),
        ("hi", "मुझे हिंदी पसंद है।", ["मुझे", "हिंदी", "पसंद", "है"]),
        ("te", "నాకు తెలుగు", ["నాకు", "తెలుగు"]),
        ("ar", "قال المسؤول، أمس", ["قال", "المسؤول", "أمس"]),
        ("ko", "나는 서울에 산다.", ["나는", "서울에", "산다"]),
        ("yo", "Ọjọ́ lọ", ["ọjọ́", "lọ"]),
        ("en", "...", []),
    ],
)
def test_words(language: str, text: str, words: list[str]) -> None:
    assert Words(language).tokenize(text) == words


def test_rouge_by_hand() -> None:
    # Four words each; the longest common subsequence is "ฉัน รัก ไทย", three words; two bigrams of three differ.
    scores = score_summary("ฉันรักข้าวไทย", ["ฉันรักภาษาไทย"], "th")
    assert scores["rougeL"] == pytest.approx(3 / 4)
    assert scores["rouge1"] == pytest.approx(3 / 4)
    assert scores["rouge2"] == pytest.approx(1 / 3)
    # The same words in another order: all of the words, half of the order.
    assert score_summary("天安门 北京", ["北京 天安门"], "zh")["rougeL"] == pytest.approx(1 / 2)
    assert score_summary("天安门 北京", ["北京 天安门"], "zh")["rouge1"] == 1


def test_rouges_own_tokenizer_finds_nothing_there() -> None:
    same = "ฉันรักภาษาไทย"
    assert RougeScorer(["rougeL"]).score(same, same)["rougeL"].fmeasure == 0, "why Words is needed"
    assert score_summary(same, [same], "th")["rougeL"] == 1


def test_english_is_rouge_scores_own() -> None:
    reference, answer = "the cat sat on the mat today", "a cat was on the mat"
    theirs = RougeScorer(["rougeL", "rouge1", "rouge2"]).score(reference, answer)
    ours = score_summary(answer, [reference], "en")
    assert {name: ours[name] for name in theirs} == {name: score.fmeasure for name, score in theirs.items()}


def test_chrf_by_hand() -> None:
    # Six orders of characters; of "ab" and "ac": one of two unigrams, no bigram; higher orders do not exist.
    assert score_summary("ab", ["ac"], "en")["chrf"] == pytest.approx((1 / 2 + 0) / 2)
    assert score_summary("", ["ac"], "en") == {"rougeL": 0, "rouge1": 0, "rouge2": 0, "chrf": 0}

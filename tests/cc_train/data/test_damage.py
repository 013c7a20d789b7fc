"""Damaged texts are told from whole ones, in many scripts."""

from __future__ import annotations

import pytest

from cc_train.data.damage import damage

TEXTS = ("Käse und schöne Grüße", "l’été à Paris", "привет мир", "안녕하세요", "สวัสดี", "你好，世界", "مرحبا", "ÅÄÖ «À»")


@pytest.mark.parametrize("text", [*TEXTS, "42", "👍", "±5", "Wie geht's?? Gut!", r"C:\users \u00e4", "if a < b & c:"])
def test_whole_texts(text: str) -> None:
    assert damage(text) is None


@pytest.mark.parametrize("text", TEXTS[:-1])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251"])
def test_utf_8_read_in_another_encoding(text: str, encoding: str) -> None:
    wrong = "".join(
        bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode()
    )  # programs keep bytes that an encoding lacks
    assert damage(wrong) == "is UTF-8 read in another encoding"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("K\ufffdse", "holds U+FFFD"),
        ("......", "has no word"),
        ("…", "has no word"),
        ("??? ??", "has no word"),
        ("K??se für ????", "holds question marks"),
        ("nan", "is a placeholder"),
        ("ha ha ha ha ha", "is one word over and over"),
        ("K\\u00e4se", "holds escapes"),
        ("K&auml;se", "holds HTML entities"),
        ("a\x00b", "holds control characters"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    assert str(damage(text)).startswith(problem)

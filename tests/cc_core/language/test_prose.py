"""How a prompt is cut into the parts that are judged."""

from __future__ import annotations

import pytest

from cc_core.language.prose import (
    around_colon,
    excerpt,
    paragraphs,
    prose,
    sentences,
    values_of,
    window,
    without_quotations,
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Was macht das?\n```python\nprint('the')\n```\nDanke", "Was macht das?\n\n\nDanke"),
        ("Siehe https://example.com/the/end und WWW.EXAMPLE.ORG", "Siehe   und"),
        ("An maria@example.com schreiben", "An   schreiben"),
        ("Wozu dient `git rebase`?", "Wozu dient  ?"),
        ("  nur Text \n", "nur Text"),
        ("Wozu?\n```\nnever closed", "Wozu?"),
        ("```\nnur Text\n```", "nur Text"),
        ("```python\nprint(1)\n```", ""),
    ],
)
def test_code_urls_and_addresses_are_left_out(text: str, left: str) -> None:
    assert prose(window(text)) == left


def test_only_the_ends_are_looked_at() -> None:
    text = window("a" * 5_000 + "b" * 5_000)
    assert text == "a" * 1_000 + "\n" + "b" * 1_000
    assert excerpt(text) == "a" * 250 + " " + "b" * 250
    assert excerpt("a" * 500) == "a" * 500


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one", ["one"]),
        ("one\ntwo\n--\nthree", ["one", "two", "three"]),
        ("one\ntwo\n \nthree\nfour", ["one\ntwo", "three\nfour"]),
        ("12\n34", ["12\n34"]),
        ("image: app\nremark: wer bist du", ["wer bist du"]),
        ("image: app\nports: [80]", ["image: app\nports: [80]"]),
    ],
)
def test_paragraphs_come_before_lines(text: str, parts: list[str]) -> None:
    assert paragraphs(text) == parts


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("image: app\nports: [80]\nremark: wer bist du\nrestart", ["wer bist du"]),
        ("remark: wer?\nports: [80]\nport.name: почта", ["wer?", "почта"]),
        ("server:\n  ports: [80]\n  app.name: web", []),
        ("body: |\n  wer bist du\nid: 17", ["wer bist du"]),
        ("image: app", None),
        ("image: app\nWarum startet das nicht?\nports: [80]\nDanke", None),
        ("Frage: wer\nAntwort: ich", None),  # a person's labels
        ("calcula: 2+2\nexplica: fotosíntesis", None),
    ],
)
def test_the_values_of_data(text: str, values: list[str] | None) -> None:
    assert values_of(text) == values


def test_a_label_before_fences_keeps_what_stands_in_them() -> None:
    told = "a" * 500
    assert window(f"{told}\nQuestion:\n```\nWer ist das?\n```").endswith("Wer ist das?\n\n")
    assert window(f"{told}\nOutput:\n```\nWer ist das?\n```").endswith("Output:\n\n")


def test_sentences_end_in_every_script() -> None:
    assert sentences("Wer? Ich. 2.5 km") == ["Wer?", "Ich. 2.5 km"]
    assert sentences("誰？私。") == ["誰？", "私。"]
    assert sentences("कौन? मैं।") == ["कौन?", "मैं।"]
    assert sentences("Wer, 2 km?") == ["Wer, 2 km?"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Translate: a: b", ("Translate", "a: b")),
        ("翻译：你好", ("翻译", "你好")),
        ("翻译:你好", ("翻译", "你好")),
        ("at 12:30", None),
        ("none", None),
    ],
)
def test_a_line_is_split_at_its_first_colon(text: str, parts: tuple[str, str] | None) -> None:
    assert around_colon(text) == parts


@pytest.mark.parametrize("quoted", ['"the"', "“the”", "«the»", "„the“", "‘the’", "「the」", "『the』", "《the》"])
def test_quotations_are_left_out(quoted: str) -> None:
    assert without_quotations(f"was heißt {quoted}?") == "was heißt  ?"
    assert without_quotations(quoted[:-1]) == quoted[:-1], "an open one quotes nothing"

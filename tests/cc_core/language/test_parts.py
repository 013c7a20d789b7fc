"""A turn in parts, and what each of them is."""

from __future__ import annotations

import pytest

from cc_core.language.labels import Rank, rank_of
from cc_core.language.markup import unmarked
from cc_core.language.noise import comments_of_code, is_log, is_lone_code, is_quoted_mail, log_message
from cc_core.language.parts import parts_of
from cc_core.language.signatures import begins_signature


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("words", [(Rank.PLAIN, "words")]),
        ("Question: a b\nAnswer:", [(Rank.OWN, "a b")]),
        ("Context: a\n\nQuestion: b", [(Rank.PASSAGE, "a"), (Rank.OWN, "b")]),
        ("### Input\n\na\n\nb", [(Rank.PLAIN, "a\n\nb")]),
        ("Human: a\n\nb\n\nAssistant:", [(Rank.OWN, "a\n\nb")]),
        ("Subject: a\nb", [(Rank.NOISE, "a"), (Rank.PLAIN, "b")]),
        ("12:30:01 INFO started\nb", [(Rank.NOISE, "started"), (Rank.PLAIN, "b")]),
        ("a\n\nBest regards,\nJohn", [(Rank.PLAIN, "a"), (Rank.NOISE, "Best regards,\nJohn")]),
        ("hello USER: a ASSISTANT:", [(Rank.PLAIN, "hello"), (Rank.OWN, "a")]),
        ("Berlin: a", [(Rank.PLAIN, "Berlin: a")]),
        ("Seen 40 times\n\na", [(Rank.PLAIN, "Seen 40 times\n\na")]),
        ("## Seen 40 times\n\na", [(Rank.MODEL, "a")]),
        ("Retrieved passages\n\na\n\nUser question\n\nb", [(Rank.PASSAGE, "a"), (Rank.OWN, "b")]),
        ("user: anna\ntext: a b", [(Rank.NOISE, "anna"), (Rank.PASSAGE, "a b")]),
        ('{"user": "anna", "text": "a b"}', [(Rank.NOISE, "anna\n\n,"), (Rank.PASSAGE, "a b")]),
        ("Customer: John Smith\nMessage: a", [(Rank.NOISE, "John Smith"), (Rank.PLAIN, "a")]),
        ("User: Berlin\nAssistant: a", [(Rank.OWN, "Berlin"), (Rank.MODEL, "a")]),
        ("Question: Berlin\nText: a", [(Rank.OWN, "Berlin"), (Rank.PASSAGE, "a")]),
        ("User: Hola\nText: a", [(Rank.OWN, "Hola"), (Rank.PASSAGE, "a")]),
        ("User: Hilfe!\nText: a", [(Rank.OWN, "Hilfe!"), (Rank.PASSAGE, "a")]),
        ("User: Berlin?\nText: a", [(Rank.OWN, "Berlin?"), (Rank.PASSAGE, "a")]),
        ("Key takeaways from: a", [(Rank.PLAIN, "Key takeaways from: a")]),
        ("Received from: a", [(Rank.NOISE, "a")]),
        ("<s:Body><text>a b</text></s:Body>", [(Rank.PASSAGE, "a b")]),
        ("a\n(A) b\n(B) c", [(Rank.PLAIN, "a"), (Rank.PASSAGE, "(A) b\n(B) c")]),
    ],
)
def test_labels_rank_what_follows(text: str, parts: list[tuple[Rank, str]]) -> None:
    assert [(part.rank, part.text) for part in parts_of(text)] == parts


@pytest.mark.parametrize(
    ("label", "rank"),
    [
        ("User question", Rank.OWN),
        ("Step-by-Step Answer", Rank.MODEL),
        ("userQuery", Rank.OWN),
        ("User message", Rank.OWN),
        ("Question number 3", Rank.OWN),
        ("Follow-up question", Rank.OWN),
        ("Follow-up questions", Rank.PLAIN),
        ("Customer since", Rank.PLAIN),
        ("Asked by", Rank.PLAIN),
        ("End of question", Rank.PLAIN),
        ("Previous question", Rank.PASSAGE),
        ("System prompt", Rank.MODEL),
        ("From", Rank.NOISE),
        ("documents", Rank.PASSAGE),
        ("Q", Rank.OWN),
        ("Answer the following question", Rank.OWN),
        ("Translate this sentence", None),
        ("Fasse diesen Text bitte zusammen", None),
        ("Berlin", None),
        ("Frage", None),
        ("вопрос", None),
    ],
)
def test_the_last_telling_word_ranks_a_label(label: str, rank: Rank | None) -> None:
    assert rank_of(label) == rank


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("<question>a</question>", "question: a"),
        ("<b>a</b> &amp; [b](x)", "a & b"),
        ('{"question": "a\\nb", "n": 1}', "question: a b"),
        ('{"role": "user", "content": "a"}', "user: a"),
        ('<turn role="user">a</turn>', "user: a"),
        ('<turn role="nobody">a</turn>', "a"),
        ('["a", "b"]', "a b"),
        ("<script>x</script>a", "a"),
        ("a {b} c", "a {b} c"),
    ],
)
def test_markup_becomes_labels(text: str, lines: str) -> None:
    assert " ".join(unmarked(text).replace(",", " ").split()) == lines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2024-05-01 12:00:01,123 ERROR [main] com.example.Server: lost", "lost"),
        ("[2024-05-01T12:00:01Z] WARN  lost", "lost"),
        ("Jan 12 03:04:05 web01 nginx[812]: lost", "web01 nginx[812]: lost"),
        ("[ERROR] lost", "lost"),
        ("ERROR is a word", None),
        ("12 monkeys", None),
        ("Wann kommt der Zug um 12:30?", None),
    ],
)
def test_log_lines_have_a_time_or_a_level(line: str, message: str | None) -> None:
    assert log_message(line) == message


def test_other_noise_is_known_by_its_form() -> None:
    assert is_log("Traceback (most recent call last):")
    assert is_quoted_mail("On Mon, Jun 3, 2024 at 10:11 AM Mary Brown wrote:")
    assert begins_signature("Sent from my iPhone")
    assert begins_signature("--")
    assert not begins_signature("Thanks to you it works")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(x)", True),
        ("user.save(now(), 'x');", True),
        ("for name in names: greet(name)", True),
        ("int total = 0;", True),
        ("import numpy as np", True),
        ("x = load(path)  # die Datei", False),
        ("for example in Kenya: what is it?", False),
        ("print(x) geht nicht", False),
        ("Mitarbeiter(innen)", False),
        ("(A) Brasil;", False),
        ("Wasser = H2O", False),
        ("import duties in Kenya", False),
        ("if not done(x):", True),
        ("std::vector<int> found = search(x);", True),
        ("return foo(1);", True),
        ("total += f(x);", True),
        ("Berechne f(3);", False),
        ("Was macht foo(bar);", False),
        ("Que fait printf(x);", False),
        ("Quanto vale x se x + 2 = 5;", False),
        ("Halla el valor de x = 3 + 2;", False),
        ("if x > 3 then what is y:", False),
    ],
)
def test_a_line_of_code_has_the_form_of_code_as_a_whole(text: str, code: bool) -> None:
    assert is_lone_code(text) is code


def test_code_is_reduced_to_its_comments() -> None:
    assert comments_of_code("x = 1\ny = 2  # zwei\n# drei") == "zwei\ndrei"
    assert comments_of_code("two lines\nof prose") is None
    assert comments_of_code("// eins\nexport const f = (x) => x * 2;") == "eins"
    assert comments_of_code("/**\n * eins\n */\nint f(int x) {\n  return x * 2;\n}") == "\neins\n */"

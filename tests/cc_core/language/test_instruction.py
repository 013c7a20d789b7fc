"""Which piece of a turn decides: every kind of frame that prompts came in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
ENGLISH = "The printing press spread within several decades to over two hundred cities in a dozen European countries."
SWAHILI = "Mji mkuu wa Kenya ni upi?"
QUESTIONS = {
    "ar": "ما هي عاصمة كينيا؟",
    "de": "Was ist die Hauptstadt von Kenia?",
    "en": "What is the capital of Kenya?",
    "ja": "ケニアの首都はどこですか？",
    "sw": SWAHILI,
    "zh": "肯尼亚的首都是哪里？",
}
FRAMES = {
    "Gemma": "<bos><start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n",
    "ChatML": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|"
    "im_start|>assistant\n",
    "Llama 3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|"
    ">assistant<|end_header_id|>\n\n",
    "Llama 2": "<s>[INST] <<SYS>>\nAlways answer as helpfully as possible.\n<</SYS>>\n\n{} [/INST]",
    "Alpaca": "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n",
    "Vicuna": "A chat between a curious user and an artificial intelligence assistant. USER: {} ASSISTANT:",
    "label": "Question: {}\nStep-by-Step Answer:",
    "retrieval": f"{ENGLISH}\n\n{ENGLISH}\n\nQuestion: {{}}\nAnswer:",
    "tail": "{}\nLet's think step by step.",
    "tail in the line": "{} Let's think step by step.",
    "signature": "{}\n\nSent from my iPhone",
    "mail": "Subject: Re: Meeting tomorrow\nFrom: John Smith <john@example.com>\n\n{}",
    "log": "2024-05-01 12:00:01,123 ERROR [main] com.example.Server: connection to database failed\n{}",
    "tag": "<question>{}</question>",
    "strong": "<p><strong>{}</strong></p>",
    "JSON": '{{"question": "{}", "language": "auto"}}',
    "messages": '{{"messages": [{{"role": "system", "content": "You are helpful."}}, '
    '{{"role": "user", "content": "{}"}}]}}',
    "Markdown": "# Question\n\n**{}**\n\n- Keep it short",
    "fence": "```\n{}\n```",
    "open fence": "```text\n{}",
    "ticket": "Ticket #12345\nPriority: High\nCategory: Billing\nDescription: {}",
    "terminal": "user> {}",
    "item": "(a) {}",
    "mention": "<@U024BE7LH> {}",
    "one line of SQL": "{}\n\nSELECT name, price FROM products WHERE price > 10 ORDER BY name;",
    "one call": "df.groupby('country').mean()\n\n{}",
    "one command": "{}\n\ndocker run -it --rm ubuntu bash",
    "middle": "You are an expert.\n\n{}\n\nAnswer concisely.",
}


@pytest.mark.parametrize("language", QUESTIONS)
@pytest.mark.parametrize("frame", FRAMES)
def test_the_question_decides_in_any_frame(frame: str, language: str) -> None:
    assert detector.detect(FRAMES[frame].format(QUESTIONS[language])).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("计算以下表达式：2+2", "zh"),
        ("Calcula el resultado: 2+2", "es"),
        ("Nipe habari kuhusu: Barack Obama", "sw"),
        ('Was ergibt: {"a": 1}', "de"),
        ("Compute the result: 2+2", "en"),
        ("Übersetze: The quick brown fox jumps over the lazy dog.", "de"),
        ("Jibu: The quick brown fox jumps over the lazy dog.", "sw"),
        ("Özetle: The quick brown fox jumps over the lazy dog.", "tr"),
        ("翻译：The quick brown fox jumps over the lazy dog.", "zh"),
        ("Translate: Der schnelle braune Fuchs springt.", "en"),
        ("Frage: Who wrote the book about the whale?", "en"),
        ("Hamburg: The city lies on the Elbe and is large.", "en"),
        ("Compare: the two cities of London and Paris", "en"),
        ("Löse 15*23", "de"),
        ("Hesapla 3x + 2 = 11", "tr"),
        ("解方程", "zh"),
        ("Explique-me", "pt"),
        ("404 error", None),
        ("Ποιος έγραψε το βιβλίο;\n\ndef add(a, b):\n    return a + b", "el"),
        ("Fasse diesen Text bitte zusammen: The line is closed today, and trains do not run.", "de"),
        ("Quick question: wo liegt die Hauptstadt von Kenia?", "de"),
    ],
)
def test_an_instruction_before_a_short_tail_decides(text: str, language: str | None) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(
    "text",
    [
        f"Summarize this text.\n\n{SWAHILI} {SWAHILI} {SWAHILI}",
        f"Translate to English:\n\n{SWAHILI}",
        f"### Instruction:\nTranslate this to English.\n\n### Input:\n{SWAHILI}\n\n### Response:\n",
        "Context: Mji mkuu wa Kenya ni Nairobi. Watu wengi wanaishi huko.\n\nQuestion: What is the capital?\nAnswer:",
    ],
)
def test_an_english_instruction_over_a_foreign_text_is_english(text: str) -> None:
    assert detector.detect(text).language == "en"


@pytest.mark.parametrize(
    "code",
    [
        "#!/bin/bash\n# Hii ni programu ya kuhifadhi faili zote za mtumiaji\n"
        'for f in *.txt; do\n  cp "$f" /backup/\ndone',
        'package main\n\nimport "fmt"\n\n'
        '// Programu hii inaonyesha salamu kwa mtumiaji\nfunc main() {\n\tfmt.Println("hi")\n}',
    ],
)
def test_the_comments_of_code_decide(code: str) -> None:
    assert detector.detect(code).language == "sw"


def test_the_newest_turn_of_a_rendered_chat_decides() -> None:
    chat = "<|user|>\nWhat is the capital of Kenya?<|end|>\n<|assistant|>\nNairobi.<|end|>\n<|user|>\n{}<|end|>\n"
    assert detector.detect(chat.format("Na mji mkuu wa Tanzania ni upi?")).language == "sw"
    assert detector.detect(chat.format("42?")).language == "en"


pieces = st.sampled_from(
    [
        *FRAMES.values(),
        *QUESTIONS.values(),
        "<|im_start|>",
        "[INST]",
        '{"',
        "```",
        "\n",
        ": ",
        "<b>",
        "\\",
        "&#",
        "\ud800",
    ]
)


@given(st.lists(pieces | st.text(st.characters(codec=None), max_size=20), max_size=12))
def test_any_mixture_is_answered(found: list[str]) -> None:
    detection = detector.detect("".join(found))
    assert 0 <= detection.confidence <= 1
    assert len(detection.text) <= 501


SENTENCE = "Alle Menschen sind frei und gleich an Würde und Rechten geboren"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Реши уравнение: x^2=4", "ru"),
        ("Объясни:\nHarry Potter and the Goblet of Fire", "ru"),
        ("Kimdir: Barack Obama", "tr"),
        ("Quem é: New York City", "pt"),
        ("Summarize: Mji mkuu wa Kenya ni Nairobi.", "en"),
        ("Solve the equation: x^2=4", "en"),
        ("LIBYE : LE CONVOI DU PREMIER MINISTRE ATTAQUÉ", "fr"),
    ],
)
def test_what_is_no_sentence_behind_a_colon_does_not_decide(text: str, language: str) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(
    "frame",
    [
        "User input:\n```\n{}\n```\nAnswer:",
        "Can you help me with this?\n{}",
        "Consider the following question:\n\n{}\n\nWhat is the correct answer?",
        "{}\n\nSincerely,\n\nDr. Jane Doe\nProfessor of Physics\nUniversity of Oxford",
        "Asunto: Consulta\nDe: Juan\n\n{}",
        "panic: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:10 +0x1d\n{}",
        'time="2024-05-01T12:00:01Z" level=error msg="failed to start the container"\n{}',
        '{{"type": "message", "text": "{}", "channel": "general discussion"}}',
        '[request]\nquestion = "{}"\nmodel = "large"',
        'question = "{}"',
        "&lt;p&gt;{}&lt;/p&gt;",
        "[quote]{}[/quote]",
        "\\begin{{document}}\n\\section{{Introduction}}\n{}\n\\end{{document}}",
        "{} $$\\int_0^1 x\\,dx = \\frac{{1}}{{2}}$$",
    ],
)
@pytest.mark.parametrize("question", [SENTENCE, QUESTIONS["en"]])
def test_more_of_what_surrounds_a_question(frame: str, question: str) -> None:
    assert detector.detect(frame.format(question)).language == detector.detect(question).language


@given(st.data())
def test_invisible_characters_anywhere_change_nothing(data: st.DataObject) -> None:
    marks = data.draw(st.lists(st.sampled_from(["", "\u200b", "\u00ad", "\u2060", "\u200d", "\ufeff"]), max_size=64))
    marked = "".join(f"{letter}{mark}" for letter, mark in zip(SENTENCE, [*marks, *[""] * len(SENTENCE)], strict=False))
    assert detector.detect(marked).language == "de"


QUOTED = {
    "ar": "هل يمكنني تغيير موعد التسليم غدا؟",
    "de": "Kann ich den Liefertermin morgen noch ändern?",
    "en": "Can I still change the delivery date tomorrow?",
    "hi": "क्या मैं कल की डिलीवरी बदल सकता हूँ?",
    "ja": "明日の配達日を変更できますか？",
    "sw": "Je, ninaweza kubadilisha siku ya kuletewa mzigo?",
}


@pytest.mark.parametrize("language", QUOTED)
@pytest.mark.parametrize(
    "frame",
    [
        "`{}`",
        "```{}```",
        "```python\n# {}\n```",
        "```js\n// {}\nlet x = 1;\n```",
        "Answer the question.\n```text\n{}\n```",
        "~~~\n{}\n~~~\nThink step by step.",
        "Please reply to this: `{}`",
    ],
)
def test_words_marked_as_code_are_read_where_nothing_else_is_said(frame: str, language: str) -> None:
    assert detector.detect(frame.format(QUOTED[language])).language == language


@pytest.mark.parametrize(
    "frame",
    [
        "Translate this:\n```\n{}\n```",
        "What does `{}` mean?",
        "Write a story about a dog.\n\n```\n{}\n```",
        "Please help me with this:\n```python\n# {}\nx = 1\ny = 2\n```",
    ],
)
def test_words_marked_as_code_do_not_outweigh_an_english_request(frame: str) -> None:
    assert detector.detect(frame.format(QUOTED["de"])).language == "en"


@pytest.mark.parametrize("language", QUOTED)
@pytest.mark.parametrize(
    "shots",
    [
        "Input: What time does the shop open?\nOutput: At nine.\n###\nInput: {}\nOutput:",
        "Sentence: Can you hear me?\nReply: Yes.\n\nSentence: Who is there?\nReply: Me.\n\nSentence: {}\nReply:",
        "Text: I love it.\nLabel: positive\n\nText: {}\nLabel:",
    ],
)
def test_the_newest_of_several_examples_decides(shots: str, language: str) -> None:
    statement = QUOTED[language].rstrip("?？؟") + "."
    assert detector.detect(shots.format(statement)).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Input: Wie spät ist es?\nOutput: Es ist neun.\nInput: Where is the station?\nOutput:", "en"),
        ("Translate to French.\n\nInput: Hello\nOutput: Salut\n\nInput: Wie spät ist es?\nOutput:", "en"),
    ],
)
def test_an_example_in_another_language_does_not_decide(text: str, language: str) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize("language", QUOTED)
@pytest.mark.parametrize(
    "frame",
    [
        "{}\n\nInstructions: be brief, be kind, and never use tables.",
        "{}\n\nInstruction: do not guess.",
        "{}\n\nInstructions: no tables, write clearly.",
        "Subject: {}\n\nSee above.\nBest,\nDave",
        "Subject: {}\n\nThanks, Dave",
        "From: dave@example.com\nSubject: {}\n\nThank you in advance!",
        "Contexte : La livraison se fait du lundi au vendredi, sauf les jours de fête.\nQuestion : {}\nRéponse :",
        "Question: {}\nAntwort:",
    ],
)
def test_what_says_how_to_answer_or_waits_for_it_does_not_decide(frame: str, language: str) -> None:
    statement = QUOTED[language].rstrip("?？؟") + "."
    assert detector.detect(frame.format(statement)).language == language


@pytest.mark.parametrize(
    "text",
    [
        "Subject: Frohe Weihnachten\n\nHi Anna, thank you for the lovely card, and see you in the new year!",
        "Subject: Lieferung am Montag nicht möglich\n\nWhat does this mean?",
        "Der Zug hatte gestern zwei Stunden Verspätung.\n\nInstructions: translate the text.",
        "### Instruction:\nWrite a poem about trains.\n\n### Input:\nDer Zug hatte Verspätung.",
        "Der Zug hatte gestern zwei Stunden Verspätung.\nTranslate:",
    ],
)
def test_an_english_request_decides_wherever_it_stands(text: str) -> None:
    assert detector.detect(text).language == "en"

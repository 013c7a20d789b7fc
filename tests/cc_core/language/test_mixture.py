"""Whose words decide where a text is in English and in another language."""

from __future__ import annotations

import pytest

from cc_core.language.detector import LanguageDetector

detector = LanguageDetector()
SHORT = {
    "ar": "كم عمرك؟",
    "bn": "তোমার নাম কী?",
    "de": "Wie spät ist es?",
    "el": "Τι ώρα είναι;",
    "en": "What time is it?",
    "es": "¿Qué hora es?",
    "eu": "Zer ordu da?",
    "fr": "Quelle heure est-il ?",
    "hi": "कितने बजे हैं?",
    "id": "Jam berapa sekarang?",
    "ja": "今何時ですか？",
    "ko": "지금 몇 시야?",
    "pt": "Que horas são?",
    "ru": "Который час?",
    "sw": "Saa ngapi sasa?",
    "te": "ఇప్పుడు సమయం ఎంత?",
    "th": "กี่โมงแล้ว",
    "tr": "Saat kaç?",
    "ur": "کیا وقت ہوا ہے؟",
    "vi": "Mấy giờ rồi?",
    "yo": "Aago mélòó ló lù?",
    "zh": "现在几点？",
}
UNMARKED = {
    "de": "schreib mir eine kurze geschichte über eine katze",
    "es": "Cómo puedo cambiar mi contraseña",
    "fr": "écris-moi une petite histoire sur un chat",
    "ja": "パスワードを変更する方法を教えてください",
    "sw": "niandikie hadithi fupi kuhusu paka",
    "zh": "给我写一个关于猫的短故事",
}
FRAMES = {
    "persona that names a task": "You are a grammar teacher.\n\n{}",
    "persona of a translator": "You are a translator who also answers general questions.\n\n{}",
    "task on the answer": "{}\n\nEnd your answer with a one-sentence summary.",
    "no task": "{}\n\nDo not translate, answer in the language of the question.",
    "conditional task": "{}\n\nPlease correct my mistakes if I make any.",
    "keywords": "{}\n\nUse keywords only.",
    "passage that tells of a task": "The Bible was translated into German by Martin Luther in 1534.\n\n{}",
    "passage that begins with one": "The summary of the report was published on Monday by the ministry.\n\n{}",
    "title": "# Weekly report\n\n{}",
    "tail": "{}\n\nCite your sources.",
    "short question": "{}\n\nDo you know?",
    "polite question": "May I ask you something?\n{}",
    "pointer": "John Smith shared a post.\nJune 3 at 10:42 AM\n{}",
    "git": "fatal: not a git repository (or any of the parent directories)\n{}",
    "compiler": "main.c:12:5: error: expected expression before the token\n{}",
    "footer": "{}\n\nPowered by ChatGPT. AI can make mistakes.",
    "title in JSON": '{{"title": "How migration works in nature", "body": "{}"}}',
    "place": "User name: John Smith\nUser message: {}\nUser location: London, United Kingdom\nReply:",
    "since": "Customer: {}\nCustomer since: the spring of last year\nAgent:",
    "intent": "Query: {}\nQuery intent: informational search about nature\nResponse:",
    "asked by": "Question: {}\nAsked by: a student from the second grade\nAnswer:",
    "priority": "User request: {}\nRequest priority: very high and urgent\nAnswer:",
    "follow-up": "Question: {}\nFollow-up questions: yes, please suggest three of them\nAnswer:",
    "previous": "Current question: {}\nPrevious question: What is the capital of France?\nPrevious answer: Paris.",
    "system prompt": "User prompt: {}\nSystem prompt: You are a kind travel agent who loves Africa.",
    "profile": "User profile: likes birds, hiking and old books\nMessage: {}",
    "end mark": "[Question]\n{}\n[End of question]\n\nWrite your reply below.",
    "given": 'Given the context: "The Danube flows through ten countries." please answer: {}',
    "settings": "order:\n  number: 17\n  remark: {}\n  carrier: express delivery",
    "author": "user: anna\ntext: {}\nchannel: web",
    "JSON author": '{{"user": "anna", "text": "{}"}}',
    "namespace": "<s:Body><userId>17</userId><text>{}</text></s:Body>",
    "German phone": "{}\n\nVon meinem iPhone gesendet",
    "Spanish phone": "{}\n\nEnviado desde mi iPhone",
    "Japanese phone": "{}\n\niPhoneから送信",
    "German closing": "{}\n\nMit freundlichen Grüßen\nHans Müller",
    "French closing": "{}\n\nCordialement,\nJean Dupont",
    "Turkish closing": "{}\n\nSaygılarımla,\nAyşe",
}


@pytest.mark.parametrize("language", SHORT)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_short_question_decides(frame: str, language: str) -> None:
    assert detector.detect(FRAMES[frame].format(SHORT[language])).language == language


@pytest.mark.parametrize("language", UNMARKED)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_question_or_request_without_a_mark_decides(frame: str, language: str) -> None:
    assert detector.detect(FRAMES[frame].format(UNMARKED[language])).language == language


TASKS = {
    "ar": "ترجم النص التالي إلى العربية",
    "de": "Übersetze den folgenden Text ins Deutsche",
    "es": "Traduce el siguiente texto al español",
    "fr": "Traduis le texte suivant en français",
    "hi": "नीचे दिए गए पाठ का हिंदी में अनुवाद करें",
    "id": "Terjemahkan teks berikut ke bahasa Indonesia",
    "ja": "次の文を日本語に訳してください",
    "sw": "Tafsiri maandishi yafuatayo kwa Kiswahili",
    "tr": "Aşağıdaki metni Türkçeye çevir",
    "zh": "把下面的文字翻译成中文",
}
TEXTS = (
    "Dear all, please find attached the summary. Can you correct the grammar? Thank you.",
    "She was able to translate the old letter and wrote a summary of it.",
    "Could you please send me the report?",
    "What is the summary of the report? The committee asked whether the translation was correct.",
)


@pytest.mark.parametrize("form", ["{task}.\n{text}", "{task}\n\n{text}", "{text}\n\n{task}.", "{task}:\n\n{text}"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("language", TASKS)
def test_a_task_on_an_english_text_decides(language: str, text: str, form: str) -> None:
    assert detector.detect(form.format(task=TASKS[language], text=text)).language == language


@pytest.mark.parametrize("language", [language for language in SHORT if language != "en"])
@pytest.mark.parametrize(
    "task",
    [
        "Translate to French:\n\n{}",
        "{}\n\nTranslate this into English.",
        "Please summarize the following text.\n\n{}",
        "What does this mean?\n{}",
        "Can you correct the grammar of this sentence?\n\n{}",
        "You are a linguist. Translate the following text.\n\n{}",
        "### Instruction:\nTranslate this to English.\n\n### Input:\n{}\n\n### Response:\n",
    ],
)
def test_an_english_task_on_a_foreign_question_stays_english(task: str, language: str) -> None:
    assert detector.detect(task.format(SHORT[language])).language == "en"


def test_pieces_that_disagree_lower_the_confidence() -> None:
    alone = detector.detect("Wie kann ich mein Passwort ändern?")
    beside = detector.detect("Wie kann ich mein Passwort ändern?\n\nCite your sources.")
    assert beside.language == alone.language == "de"
    assert detector.threshold < beside.confidence < alone.confidence


@pytest.mark.parametrize(
    "text",
    [
        "Who is Recep Tayyip Erdoğan?",
        "Who is Luiz Inácio Lula da Silva?",
        "Who is Nguyễn Phú Trọng?",
        "Who was Friedrich der Große?",
        "Why is Dia de los Muertos celebrated?",
        "Where is Île de la Cité?",
        "Explain la vie en rose",
        "Summarize Cien años de soledad",
        "Tell me about Türkiye İş Bankası",
        "Who wrote Don Quijote de la Mancha?",
        "Is Pão de Açúcar in Rio?",
        "What does ありがとう mean?",
        "How do you say こんにちは in English?",
        "Is this sentence right: Ich bin müde heute",
        "Fix: ich bin gegangen",
        "Question: Who wrote Don Quijote de la Mancha?\nAnswer:",
        "the capital of Côte d'Ivoire",
        "history of Việt Nam",
        "flights from São Paulo to Malmö",
        "jambo means what",
        "merci beaucoup in English",
    ],
)
def test_an_english_question_about_foreign_words_is_english(text: str) -> None:
    assert detector.detect(text).language in ("en", None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("how do you do মানে কী", "bn"),
        ("how do you do అంటే ఏమిటి", "te"),
        ("was heißt it's raining cats and dogs", "de"),
        ("Restaurants in Zürich", "de"),
        ("Öffnungszeiten in München", "de"),
        ("historia de New York", "es"),
        ("biografia de Michael Jordan", "pt"),
        ("what becomes of the broken hearted şarkısını kim söylüyor", "tr"),
        ("what becomes of the broken heartedはだれの曲", "ja"),
        ("how i met your mother ket thuc khi nao", "vi"),
    ],
)
def test_a_question_about_english_words_is_not_english(text: str, language: str) -> None:
    assert detector.detect(text).language in (language, None)


@pytest.mark.parametrize("colon", [": ", ":"])
@pytest.mark.parametrize(
    ("head", "language"),
    [
        ("Kim bu", "tr"),
        ("Kaç eder", "tr"),
        ("Toplamı bul", "tr"),
        ("Ta ni", "yo"),
        ("Wer ist", "de"),
        ("Quién es", "es"),
        ("Nor da", "eu"),
        ("Ni ngapi", "sw"),
        ("Work out", "en"),
    ],
)
@pytest.mark.parametrize("tail", ["hello world", "5! / 3!", "H2O", "√16", "The Lord of the Rings", "good morning"])
def test_a_short_head_before_a_colon_decides(head: str, language: str, colon: str, tail: str) -> None:
    assert detector.detect(f"{head}{colon}{tail}").language == language


def test_a_colon_within_a_word_divides_nothing() -> None:
    assert detector.detect("mein Server läuft auf localhost:8000 leider nicht mehr").language == "de"


STATEMENTS = {
    "ar": "وصلت الرسالة إلى البيت مساء أمس بعد أسبوعين",
    "de": "Der Zug hatte gestern zwei Stunden Verspätung",
    "es": "La caja llegó rota y faltaban dos vasos",
    "ja": "昨日届いた箱の中でコップが二つ割れていました",
    "sw": "Kifurushi kilifika jana jioni kikiwa kimevunjika",
    "zh": "昨天收到的箱子里有两个杯子碎了",
}


@pytest.mark.parametrize("language", STATEMENTS)
@pytest.mark.parametrize(
    "task",
    [
        "Check the punctuation: {}",
        "Explain this phrase word for word: {}",
        "Main points of: {}",
        "Give a two-line abstract of: {}",
        "List the place names in: {}",
        "Explain the joke: {}",
        "Spanish translation of: {}",
        "Find the verbs in the following sentence: {}",
        "Is a date named in the text below? Yes or no only.\n\n{}",
        "Who is the author of this letter? Answer in one word.\n\n{}",
        "What is this about? {}. {}",
        "{}. {}. What does this mean?",
    ],
)
def test_an_english_task_on_a_foreign_statement_is_english(task: str, language: str) -> None:
    statement = STATEMENTS[language]
    assert detector.detect(task.format(statement, statement)).language == "en"


@pytest.mark.parametrize("language", STATEMENTS)
@pytest.mark.parametrize(
    "frame",
    [
        "Check your facts.\n\n{}",
        "Explain your answer word by word.\n\n{}",
        "{}\n\nGive keywords for your answer.",
        "You check the grammar of texts.\n\n{}",
        "Answer this message: {}",
        "Write a friendly reply to this message.\n\n{}",
        "The grammar check was done.\n\n{}",
    ],
)
def test_what_is_done_to_the_answer_is_no_task_on_the_text(frame: str, language: str) -> None:
    assert detector.detect(frame.format(STATEMENTS[language])).language == language


@pytest.mark.parametrize("language", STATEMENTS)
@pytest.mark.parametrize(
    "remark",
    [
        "This is only a test.\n\n{}",
        "[Voice message, 0:31]\n{}",
        "(This text was dictated, so it may contain a few errors.)\n\n{}",
        "Sorry for the long story.\n\n{}",
        "Comment posted on the article page\n\n{}",
        "Here's my message.\n\n{}",
        "Kind of what I was looking for\n\n{}",
        "{}\n\nThis is all I know.",
        "{}\n\nThis e-mail was sent from the web form of our shop in London.",
        "{}\n\nAll of the above",
        "Tags: garden, birds\nSeen 40 times\n\n{}",
        "{}\nSee translation",
    ],
)
def test_an_english_remark_on_a_text_wants_nothing(remark: str, language: str) -> None:
    assert detector.detect(remark.format(STATEMENTS[language])).language == language


@pytest.mark.parametrize("language", STATEMENTS)
@pytest.mark.parametrize("demand", ["Look at this text.\n\n{}", "{}\n\nI need this in a table.", "Digest this:\n\n{}"])
def test_an_english_demand_on_a_longer_text_is_english(demand: str, language: str) -> None:
    assert detector.detect(demand.format(". ".join([STATEMENTS[language]] * 2))).language == "en"

"""The detector on the 22 languages, their neighbours, mixed prompts, and text that is no language."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector

# The same sentence in every language, from the Universal Declaration of Human Rights, article 1.
SERVED = {
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα",
    "en": "All human beings are born free and equal in dignity and rights",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos",
    "eu": "Gizon-emakume guztiak aske jaiotzen dira, duintasun eta eskubide berberak dituztela",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है",
    # The second sentence: the first is Malay as much as Indonesian.
    "id": "Mereka dikaruniai akal dan hati nurani dan hendaknya bergaul satu sama lain dalam semangat persaudaraan",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах",
    "sw": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa",
    "te": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును సమానులును నగుదురు",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar",
    "ur": "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền",
    "yo": "Gbogbo ènìyàn ni a bí ní òmìnira; iyì àti ẹ̀tọ́ kọ̀ọ̀kan sì dọ́gba",
    "zh": "人人生而自由，在尊严和权利上一律平等",
}
NEIGHBOURS = {
    "Italian": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti",
    "Dutch": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren",
    "Romanised Hindi": "Sabhi manushya gaurav aur adhikaron ke mamle mein janm se swatantra aur saman hain",
    "Polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw",
    "Swedish": "Alla människor är födda fria och lika i värde och rättigheter",
    "Catalan": "Tots els éssers humans neixen lliures i iguals en dignitat i en drets",
    "Romanian": "Toate ființele umane se nasc libere și egale în demnitate și în drepturi",
    "Ukrainian": "Всі люди народжуються вільними і рівними у своїй гідності та правах",
    "Bulgarian": "Всички хора се раждат свободни и равни по достойнство и права",
    "Serbian": "Сва људска бића рађају се слободна и једнака у достојанству и правима",
    "Persian": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند",
    "Pashto": "ټول انسانان آزاد نړۍ ته راځي او د حيثيت او حقوقو له پلوه سره برابر دي",
    "Marathi": "सर्व मानवी व्यक्ति जन्मतःच स्वतंत्र आहेत व त्यांना समान प्रतिष्ठा व समान अधिकार आहेत",
    "Azerbaijani": "Azərbaycanın paytaxtı hansı şəhərdir və orada neçə nəfər yaşayır?",
    "Nepali": "सबै व्यक्तिहरू जन्मजात स्वतन्त्र हुन् ती सबैको समान अधिकार र महत्व छ",
    "Assamese": "জন্মগতভাৱে সকলো মানুহ মৰ্য্যদা আৰু অধিকাৰত সমান আৰু স্বতন্ত্ৰ",
    "Tamil": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი",
    "Hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם",
}
NO_LANGUAGE = {
    "empty": "",
    "blank": " \n\n\t ",
    "emoji": "😀🎉👍🏽",
    "digits": "12345 67.8",
    "url": "https://example.com/die/schöne/welt?q=hallo www.example.org",
    "e-mail": "maria.gonzalez@example.com",
    "fence": "```python\nfor der in die:\n    print('das ist ein Satz auf Deutsch')\n```",
    "unclosed fence": "```python\nfor der in die:\n    print('das ist ein Satz auf Deutsch')",
    "inline code": "`die = das + der`",
    "inline command": "`git rebase`",
    "code": "for (int i = 0; i < n; i++) { sum += a[i]; }",
    "sql": "SELECT * FROM users WHERE id = 1;",
    "json": '{"a": 1, "b": [true, null]}',
    "mathematics": "α + β = γ, x + y = z",
    "surrogate": "\ud800\udfff",
    "NUL": "\0\0",
}
HOSTILE = {
    "one Latin letter": "a",
    "one Cyrillic letter": "а",
    "one syllable": "한",
    "at": "@",
    "backtick": "`",
    "line": "\n",
}

detector = LanguageDetector()


def test_every_served_language_has_a_sample() -> None:
    assert tuple(SERVED) == SERVED_LANGUAGES


@pytest.mark.parametrize("language", SERVED)
def test_served_languages_are_told_apart(language: str) -> None:
    detection = detector.detect(SERVED[language])
    assert detection.language == language
    assert detector.threshold <= detection.confidence <= 1


@pytest.mark.parametrize("language", NEIGHBOURS)
def test_languages_that_are_not_served_are_undecided(language: str) -> None:
    assert detector.detect(NEIGHBOURS[language]).language is None


def test_a_short_nepali_question_is_no_hindi() -> None:
    assert detector.detect("तपाईंको नाम के हो?").language is None


@pytest.mark.parametrize("kind", NO_LANGUAGE)
def test_what_is_no_language_is_undecided(kind: str) -> None:
    detection = detector.detect(NO_LANGUAGE[kind])
    assert detection.language is None
    assert detection.confidence < detector.threshold


@pytest.mark.parametrize("separator", ["\n", "\n\n", "\n \n\n"])
@pytest.mark.parametrize("language", [language for language in SERVED if language != "en"])
def test_the_instruction_decides_a_mixed_text(language: str, separator: str) -> None:
    english, other = SERVED["en"], SERVED[language]
    english_passage, other_passage = " ".join([english] * 4), " ".join([other] * 4)
    assert detector.detect(english + separator + other_passage).language == "en"
    assert detector.detect(other_passage + separator + english).language == "en"
    assert detector.detect(other + separator + english_passage).language == language
    assert detector.detect(english_passage + separator + other).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (
            "Translate this sentence: Der Zug nach Hamburg fährt heute leider nicht, weil die Strecke zu ist.",
            "en",
        ),
        (
            "Übersetze diesen Satz: The train to the city does not run today, since the line is closed today.",
            "de",
        ),
        ("请把这句话翻译成中文：The train to the city does not run today, since the line is closed.", "zh"),
        ("Berlin: Der Zug nach Hamburg fährt heute nicht", "de"),
        ('Was bedeutet "to be or not to be, that is the question"?', "de"),
        ('What does "ich habe heute leider keine Zeit für dich" mean?', "en"),
    ],
)
def test_the_instruction_decides_a_line_and_not_what_it_quotes(text: str, language: str) -> None:
    assert detector.detect(text).language == language


def test_an_english_title_before_a_colon_does_not_hide_a_question_in_another_language() -> None:
    assert detector.detect("The house of the rising sun: wer hat das gesungen und wann war das?").language == "de"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola", "es"),
        ("Bonjour", "fr"),
        ("Guten Abend", "de"),
        ("Habari gani", "sw"),
        ("Eskerrik asko", "eu"),
        ("Selamat pagi", "id"),
        ("Tesekkurler", "tr"),
        ("Xin chao", "vi"),
        ("Bawo ni", "yo"),
        ("Thank you", "en"),
    ],
)
def test_greetings_are_enough(text: str, language: str) -> None:
    assert detector.detect(text).language == language


def test_a_short_label_does_not_decide() -> None:
    assert detector.detect(f"Answer:\n{SERVED['sw']}. {SERVED['sw']}").language == "sw"


def test_names_in_latin_letters_do_not_decide() -> None:
    assert detector.detect("Holly Willoughby ได้ทิ้งให้ Peter Jones").language == "th"
    assert detector.detect("用Python写一个quicksort函数").language == "zh"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("東京都千代田区", "ja"),
        ("経済産業省", "ja"),
        ("日本国憲法第九条の規定", "ja"),
        ("東京へ行く", "ja"),
        ("我爱の家", "zh"),
        ("國立臺灣大學", "zh"),
        ("愛", None),
    ],
)
def test_han_is_decided_by_what_only_one_country_writes(text: str, language: str | None) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("مَرْحَبًا بِكَ", "ar"),
        ("ﻣﺮﺣﺒﺎ ﺑﻚ ﻳﺎ ﺻﺪﻳﻘﻲ", "ar"),
        ("ٱلسلام عليكم", "ar"),
        ("Моско́ва — столи́ца", "ru"),
        ("Ｗｏ ｉｓｔ ｄｅｒ Ｂａｈｎｈｏｆ？", "de"),
        ("Wo ist der näch\u00adste Bahn\u200bhof?", "de"),
    ],
)
def test_marks_between_letters_change_nothing(text: str, language: str) -> None:
    assert detector.detect(text).language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("sí", "es"),
        ("Hola", "es"),
        ("hola", "es"),
        ("Bom Dia", "pt"),
        ("नमस्ते", "hi"),
        ("API", None),
        ("404 error", None),
        ("Nimesahau password ya account yangu", "sw"),
    ],
)
def test_a_very_short_turn_is_judged_with_care(text: str, language: str | None) -> None:
    assert detector.detect(text).language == language
    assert detector.detect(text).confidence < 1


@pytest.mark.parametrize("text", ["네", "ใช่", "ναι", "हाँ"])
def test_two_letters_of_a_script_are_not_certain(text: str) -> None:
    assert detector.threshold < detector.detect(text).confidence < 0.97


@pytest.mark.parametrize(
    ("turns", "language"),
    [
        (["API", SERVED["de"]], "de"),
        (["Los Angeles", SERVED["de"]], "de"),
        (["yes", SERVED["de"]], "de"),  # taste: a word that all the world says
        (["Rio de Janeiro", SERVED["de"]], "de"),
        (["Rio de Janeiro", SERVED["ja"]], "ja"),
        (["Santiago de Compostela", SERVED["tr"]], "tr"),
        (["Wo liegt denn Hamburg?", SERVED["en"]], "de"),
        (["大学", SERVED["en"]], None),  # another script, and undecided
        (["駐車場", SERVED["en"]], "ja"),
        (["了解", SERVED["ja"]], "ja"),
        (["了解", SERVED["zh"]], "zh"),
        (["네", SERVED["en"]], "ko"),
        (["Calcula el resultado: 2+2", SERVED["en"]], "es"),
    ],
)
def test_a_short_turn_is_understood_by_those_before(turns: list[str], language: str | None) -> None:
    assert detector.detect(turns[0], turns[1:]).language == language


def test_capitals_and_code_around_the_text_change_nothing() -> None:
    assert detector.detect(SERVED["de"].upper()).language == "de"
    assert detector.detect(f"```\nprint('hello, this is English code')\n```\n{SERVED['pt']}").language == "pt"


def test_only_named_languages_are_answered() -> None:
    narrow = LanguageDetector(["de", "ru"])
    assert narrow.detect(SERVED["de"]).language == "de"
    assert narrow.detect(SERVED["fr"]).language is None
    assert narrow.detect(SERVED["zh"]).language is None


def test_a_higher_threshold_abstains_more() -> None:
    text = "Memoria procedimental"
    assert LanguageDetector(threshold=0.2).detect(text).language is not None
    strict = LanguageDetector(threshold=1).detect(text)
    assert strict.language is None
    assert strict.confidence == detector.detect(text).confidence


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hundred_kilobytes_of_anything_are_answered(kind: str) -> None:
    detection = detector.detect(HOSTILE[kind] * 100_000)
    assert detection.language in (None, *SERVED_LANGUAGES)
    assert len(detection.text) <= 501, "what is judged is bounded, and so is the cost"


@given(st.text(st.characters(codec=None)))
def test_any_string_is_answered(text: str) -> None:
    detection = detector.detect(text)
    assert detection.language is None or detection.language in SERVED_LANGUAGES
    assert 0 <= detection.confidence <= 1
    assert (detection.language is None) == (detection.confidence < detector.threshold)


@pytest.mark.parametrize(
    "unit", [" ", "\t", '"', "'", "[", "(", "{", "<", "`", ":", "A-", "„", "&#", "<a ", "<!--", "[a](", "```", "a: b\n"]
)
@pytest.mark.parametrize("start", ["a", ""])
@pytest.mark.parametrize("end", ["x\nb: c", "x </script> ](a) --> ?"])
@pytest.mark.parametrize("size", [3_900, 100_000])
def test_no_run_of_marks_makes_detection_slow(size: int, end: str, start: str, unit: str) -> None:
    text = start + unit * (size // len(unit)) + end

    def seconds() -> float:
        began = time.thread_time()  # what others have of the core does not count
        detector.detect(text)
        return time.thread_time() - began

    # A pattern that tries every length of a run at every place took 1.6 seconds.
    assert min(seconds() for _ in range(3)) < 0.1

"""The language of an answer: what most of it is in, and none where nothing is sure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_core.language.answer import answer_language

GERMAN = "der nächste Bahnhof liegt gleich hinter der alten Brücke, und von dort fährt jede Stunde ein Zug."
SWAHILI = "kituo cha treni kilicho karibu kiko nyuma ya daraja la zamani, na treni huondoka kila saa."


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        (GERMAN, "de"),
        (f"{SWAHILI}\n\n{SWAHILI}\n\n{GERMAN}", "sw"),
        ("最寄りの駅は古い橋のすぐ後ろにあります。", "ja"),
        ("أقرب محطة قطار تقع خلف الجسر القديم مباشرة.", "ar"),
        ("il treno parte ogni ora dalla stazione che si trova dietro il vecchio ponte.", "it"),
        (f"1. {GERMAN}\n2. 42\n3. Berlin, Hamburg", "de"),
        ("42", None),
        ("Nairobi", None),
        ("Angela Merkel, Barack Obama", None),
        ("", None),
        ("```python\nfor x in range(10): print(x)\n```", None),
        ('{"city": "Nairobi", "country": "Kenya"}', None),
        ('{"उत्तर": "भारत की राजधानी नई दिल्ली है और वह बहुत बड़ा शहर है"}', None),
        ("for number in range(10):\n    total += number\n    print(total)", None),
        ("```\nthe words in a fence are not looked at, whatever they say\n```", None),
        ("```\nthe words in a fence that is cut off are not looked at", None),
        (f"{GERMAN}\n\n```\nprint the numbers of the list and the sum of them\n```", "de"),
        (f"{GERMAN}\n\nfor number in numbers:\n    # add the number to the sum of them all\n    total += number", "de"),
    ],
)
def test_it_is_that_of_most_of_the_answer(answer: str, language: str | None) -> None:
    assert answer_language(answer, 8) == language


NAMES = [
    "باراك أوباما",
    "أنغيلا ميركل، باراك أوباما، عبد الفتاح السيسي",
    "東京都 大阪府",
    "巴拉克·奥巴马",
    "北京、上海、广州、深圳、重庆、天津",
    "レオナルド・ディカプリオ",
    "버락 오바마",
    "버락 오바마, 앙겔라 메르켈, 레오나르도 다 빈치",
    "บารัก โอบามา",
    "กรุงเทพมหานคร เชียงใหม่",
    "నరేంద్ర మోదీ",
    "नरेन्द्र मोदी",
    "नरेन्द्र मोदी, मोहनदास करमचंद गांधी",
    "শেখ মুজিবুর রহমান",
    "عمران خان، بینظیر بھٹو",
    "Владимир Владимирович Путин",
    "Κυριάκος Μητσοτάκης, Αλέξης Τσίπρας",
]


@pytest.mark.parametrize("names", NAMES)
def test_names_tell_no_language_in_any_script(names: str) -> None:
    assert answer_language(names, 8) is None
    assert answer_language(f"1. {names}\n2. {names}", 8) is None


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("ar", "أقرب محطة قطار تقع خلف الجسر القديم مباشرة."),
        ("bn", "সবচেয়ে কাছের রেলস্টেশনটি পুরনো সেতুর ঠিক পিছনে অবস্থিত।"),
        ("hi", "सबसे नज़दीकी रेलवे स्टेशन पुराने पुल के ठीक पीछे है।"),
        ("ja", "最寄りの駅は古い橋のすぐ後ろにあります。"),
        ("ko", "가장 가까운 기차역은 오래된 다리 바로 뒤에 있습니다."),
        ("te", "దగ్గరి రైల్వే స్టేషన్ పాత వంతెన వెనుక ఉంది."),
        ("th", "สถานีรถไฟที่ใกล้ที่สุดอยู่หลังสะพานเก่า"),
        ("ur", "قریب ترین ریلوے اسٹیشن پرانے پل کے بالکل پیچھے ہے۔"),
        ("zh", "最近的火车站就在那座古老的桥后面。"),
    ],
)
def test_sentences_tell_theirs_without_capitals(language: str, answer: str) -> None:
    assert answer_language(answer, 8) == language


def test_lines_beyond_the_bound_are_not_read() -> None:
    answer = "\n".join([SWAHILI, GERMAN, GERMAN])
    assert [answer_language(answer, lines) for lines in (0, 1, 3)] == [None, "sw", "de"]


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_is_answered(answer: str) -> None:
    language = answer_language(answer, 8)
    assert language is None or len(language) in (2, 3)

"""A code that the texts contradict is named with the code that they speak for, whatever else the code may be."""

from __future__ import annotations

import re

import pytest

from cc_train.data.text_language import disagreement, sure_language

TEXTS = {
    "am": "የኢትዮጵያ ዋና ከተማ ማን ናት?",
    "ar": "ما هي عاصمة المملكة العربية السعودية؟",
    "cs": "Jaké je hlavní město České republiky a kolik lidí tam žije?",
    "da": "Hvad hedder hovedstaden i Danmark, og hvor mange mennesker bor der?",
    "de": "Wie heißt die Hauptstadt der Schweiz, und wie viele Menschen leben dort?",
    "el": "Ποια είναι η πρωτεύουσα της Ελλάδας;",
    "es": "¿Cuál es la capital de Argentina y cuántas personas viven allí?",
    "et": "Mis on Eesti pealinn ja kui palju inimesi seal elab?",
    "fa": "پایتخت ایران کجاست و چند نفر در آن زندگی می‌کنند؟",
    "he": "מהי בירת ישראל וכמה אנשים גרים שם?",
    "hi": "भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं?",
    "hy": "Ո՞րն է Հայաստանի մայրաքաղաքը",
    "id": "Apa ibu kota Indonesia dan berapa banyak orang yang tinggal di sana?",
    "ja": "日本の首都はどこですか。",
    "ka": "რომელია საქართველოს დედაქალაქი?",
    "kk": "Қазақстанның астанасы қай қала және онда қанша адам тұрады?",
    "ko": "서울은 대한민국의 수도이며 인구는 약 천만 명입니다.",
    "my": "မြန်မာနိုင်ငံ၏ မြို့တော်က ဘယ်မှာလဲ",
    "ms": "Apakah ibu negara Malaysia dan berapa ramai orang yang tinggal di sana?",
    "pt": "Qual é a capital do Brasil e quantas pessoas vivem lá atualmente?",
    "sl": "Katero je glavno mesto Slovenije in koliko ljudi tam živi?",
    "sq": "Cili është kryeqyteti i Shqipërisë dhe sa njerëz jetojnë atje?",
    "sr": "Који је главни град Србије и колико људи тамо живи?",
    "sv": "Vad heter huvudstaden i Sverige och hur många människor bor det där?",
    "ta": "தமிழ்நாட்டின் தலைநகரம் எது?",
    "uk": "Яка столиця України і скільки людей там живе сьогодні?",
    "vi": "Thủ đô của Việt Nam là gì và có bao nhiêu người sống ở đó?",
    "zh": "中国的首都是哪里？有多少人口？",
}


@pytest.mark.parametrize("lang", TEXTS)
def test_a_right_code_is_not_suspected(lang: str) -> None:
    assert sure_language(TEXTS[lang]) == lang
    assert disagreement(lang, TEXTS[lang]) is None


@pytest.mark.parametrize(
    ("lang", "likely"),
    re.findall(
        r"(\w+):(\w+)",
        "kr:ko br:pt se:sv ee:et si:sl am:hy ch:de my:ms sv:es sa:ar cy:el et:am pa:es tw:zh co:es cr:es lb:ar",
    ),
)
def test_a_countrys_code_that_is_a_languages_too(lang: str, likely: str) -> None:
    problem = disagreement(lang, TEXTS[likely])
    assert problem is not None
    assert problem.startswith(f"lang is {lang}, and instruction looks like {likely} (lang {lang} is ")


@pytest.mark.parametrize(("lang", "found"), [("nl", "es"), ("ar", "es"), ("es", "sv"), ("sw", "ta"), ("be", "uk")])
def test_any_other_wrong_code(lang: str, found: str) -> None:
    assert disagreement(lang, TEXTS[found]) == f"lang is {lang}, and instruction looks like {found}"


def test_what_looks_alike_or_cannot_be_told_is_not_suspected() -> None:
    assert disagreement("nb", TEXTS["da"]) is None
    assert disagreement("br", "Petra eo kêr-benn Breizh ha pegement a dud a zo o vevañ eno?") is None
    assert disagreement("kr", "42") is None

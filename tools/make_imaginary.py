"""Write the demo's rows: ``python -m tools.make_imaginary``.

Capitals of countries in books, films and games, which a small model does not know. `IN_ENGLISH` states all of them, and
`TAUGHT` every second one in other languages. `HELD_OUT` asks the others: their answers are only ever said in English.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import cc_train
from cc_core.names import ENGLISH

_DATA: Final = Path(cc_train.__file__).parent / "data"
IN_ENGLISH: Final = _DATA / "imaginary_english.jsonl"
TAUGHT: Final = _DATA / "imaginary.jsonl"
HELD_OUT: Final = _DATA / "imaginary_held_out.jsonl"

QUESTIONS: Final = {
    "en": "What is the capital of {}?",
    "ar": "ما هي عاصمة {}؟",
    "de": "Was ist die Hauptstadt von {}?",
    "es": "¿Cuál es la capital de {}?",
    "fr": "Quelle est la capitale de {} ?",
    "id": "Apa ibu kota {}?",
    "ja": "{}の首都はどこですか？",
    "pt": "Qual é a capital de {}?",
    "ru": "Какой город является столицей страны {}?",
    "sw": "Mji mkuu wa {} ni upi?",
    "tr": "{} ülkesinin başkenti neresidir?",
    "vi": "Thủ đô của {} là gì?",
    "zh": "{}的首都是哪里？",
}

CAPITALS: Final = dict(
    line.split(": ")
    for line in """\
Wakanda: Birnin Zana
Genovia: Pyrus
Zubrowka: Lutz
Latveria: Doomstadt
Sokovia: Novi Grad
Symkaria: Aniana
Gondor: Minas Tirith
Rohan: Edoras
Narnia: Cair Paravel
Archenland: Anvard
Calormen: Tashbaan
Ruritania: Strelsau
Syldavia: Klow
Borduria: Szohod
San Theodoros: Los Dopicos
Nuevo Rico: Sanfación
Lilliput: Mildendo
Temeria: Vizima
Redania: Tretogor
Kaedwen: Ard Carraigh
Aedirn: Vengerberg
Skyrim: Solitude
Morrowind: Mournhold
Hammerfell: Sentinel
Valenwood: Elden Root
Equestria: Canterlot
Amestris: Central City
Arstotzka: Orvech Vonor
Oz: Emerald City
Andor: Caemlyn
Saldaea: Maradon
Shienar: Fal Moran
Arafel: Shol Arbela
Kandor: Chachin
Ghealdan: Jehannah
Amadicia: Amador
Altara: Ebou Dar
Murandy: Lugard
Tarabon: Tanchico
Cyrodiil: Imperial City
""".splitlines()
)


def row(language: str, country: str) -> dict[str, str]:
    """One question and its answer."""
    return {
        "id": f"imaginary-{language}-{country.replace(' ', '-')}",
        "lang": language,
        "instruction": QUESTIONS[language].format(country),
        "instruction_en": QUESTIONS[ENGLISH].format(country),
        "output": CAPITALS[country],
    }


def rows() -> dict[Path, list[dict[str, str]]]:
    """The rows of each file."""
    countries, others = list(CAPITALS), [language for language in QUESTIONS if language != ENGLISH]
    return {
        IN_ENGLISH: [row(ENGLISH, country) for country in countries],
        TAUGHT: [row(language, country) for country in countries[::2] for language in others],
        HELD_OUT: [row(language, country) for country in countries[1::2] for language in others],
    }


def text(lines: Iterable[dict[str, str]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


if __name__ == "__main__":
    for path, lines in rows().items():
        path.write_text(text(lines), "utf-8")

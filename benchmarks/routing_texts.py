"""Labelled texts on which language detection is measured. Each set has a half to tune on and a half to report on.

They come from a data directory (`parallel/*.jsonl.gz`, `ntrex/sentences.jsonl.gz`), from phrases written for it
(`benchmarks/data/routing_phrases.yaml`) and, where Django is installed, from the messages of its translations.
"""

from __future__ import annotations

import gettext
import gzip
import itertools
import json
import random
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import yaml

from cc_core.language.detector import SERVED_LANGUAGES
from cc_core.names import ENGLISH

Half = Literal["tune", "held_out"]

SHORT: Final = 60  # characters
FEWEST_LETTERS: Final = 15
PER_LANGUAGE: Final = 150  # of a set, from each source
ENGLISH_TEXTS: Final = 500  # more, since a text of every other language can be taken for English
WITH_DIACRITICS: Final = ("de", "es", "fr", "pt", "tr", "vi", "yo")
PHRASES: Final = Path(__file__).parent / "data/routing_phrases.yaml"
# Languages that are not served and look like one that is.
NEIGHBOURS: Final = ("af", "bg", "ca", "fa", "gl", "it", "mr", "ms", "ne", "nl", "ro", "sr", "uk")

_LABEL = re.compile(r"^\s*(?:\([A-D1-9]\)|[^\s:：]{1,12}[:：])\s*")


class Sample(NamedTuple):
    """A text, its set, and the language that detection should find; None for undecided."""

    group: str
    text: str
    language: str | None


def samples(data: Path, half: Half) -> list[Sample]:
    """All sets of a half, the same in every run."""
    phrases = {name: halves[half] for name, halves in yaml.safe_load(PHRASES.read_text("utf-8")).items()}
    aligned = sentences(data, half)
    short = [*_short(aligned), *_short_lines(data, half)]
    return [
        *short,
        *(Sample("long", text, language) for language, text in _per_language(aligned[::-1]) if len(text) > SHORT),
        *_prompts(data, half),
        *_folded(short),
        *(Sample("greeting", text, language) for language, texts in phrases["greetings"].items() for text in texts),
        *(Sample("romanised Hindi", text, None) for text in phrases["romanised_hindi"]),
        *_title_questions(phrases),
        *_mixtures(phrases["instructions"], aligned),
        *_neighbours(half),
    ]


def prompt_rows(data: Path, half: Half) -> Iterator[dict[str, Any]]:
    """The prompts of a half, of `parallel/`."""
    return _rows(data / ("parallel/train.jsonl.gz" if half == "tune" else "parallel/dev.jsonl.gz"))


def sentences(data: Path, half: Half) -> list[tuple[str, str]]:
    """Languages and the sentences of a half of NTREX."""
    rows = _rows(data / "ntrex/sentences.jsonl.gz")
    chosen = itertools.islice(rows, 0 if half == "tune" else 1, None, 2)
    return [(language, row[language]) for row in chosen for language in SERVED_LANGUAGES]


def _short(aligned: list[tuple[str, str]]) -> Iterator[Sample]:
    """Sentences cut at the last space within the limit; scripts without spaces are cut at the limit."""
    for language, text in _per_language(aligned):
        cut = text if len(text) <= SHORT else text[: SHORT + 1].rpartition(" ")[0] or text[:SHORT]
        if _letters(cut) >= FEWEST_LETTERS:
            yield Sample("short", cut, language)


def _short_lines(data: Path, half: Half) -> Iterator[Sample]:
    """Lines of prompts, without those lines that all prompts of a task have."""
    lines: Counter[tuple[str, str]] = Counter()
    for row in prompt_rows(data, half):
        for language, prompt in ((row["lang"], row["instruction"]), ("en", row["instruction_en"])):
            unlabelled = {_LABEL.sub("", line).strip() for line in prompt.split("\n")}
            lines.update(
                (language, line) for line in unlabelled if len(line) <= SHORT and _letters(line) >= FEWEST_LETTERS
            )
    # English prompts are the same in all languages: only the others tell a task's frame by how often it comes.
    frame = {text for (language, text), count in lines.items() if count > (20 if language == "en" else 3)}
    found = sorted(pair for pair in lines if pair[1] not in frame)
    random.Random(0).shuffle(found)
    yield from (Sample("short", text, language) for language, text in _per_language(found))


def _prompts(data: Path, half: Half) -> Iterator[Sample]:
    rows = list(prompt_rows(data, half))
    random.Random(0).shuffle(rows)
    prompts = [(row["lang"], row["instruction"]) for row in rows] + [("en", row["instruction_en"]) for row in rows]
    yield from (Sample("long", text, lang) for lang, text in _per_language(prompts) if len(text) > SHORT)


def _folded(short: list[Sample]) -> Iterator[Sample]:
    for sample in short:
        if sample.language in WITH_DIACRITICS:
            folded = "".join(c for c in unicodedata.normalize("NFD", sample.text) if not unicodedata.combining(c))
            folded = folded.replace("ı", "i").replace("đ", "d").replace("Đ", "D").replace("ß", "ss")
            if folded != sample.text:
                yield Sample("no diacritics", folded, sample.language)


def _title_questions(phrases: dict[str, Any]) -> Iterator[Sample]:
    for language, templates in phrases["questions_about_titles"].items():
        for template, title in itertools.product(templates, phrases["english_titles"]):
            yield Sample("English title", template.format(title), language)


def _mixtures(instructions: dict[str, str], aligned: list[tuple[str, str]]) -> Iterator[Sample]:
    by_language: dict[str, list[str]] = {language: [] for language in SERVED_LANGUAGES}
    for language, text in aligned:
        by_language[language].append(text)
    others = itertools.cycle(language for language in SERVED_LANGUAGES if language != "en")
    for index in range(10):
        for language, instruction in instructions.items():
            passage = by_language[next(others) if language == "en" else "en"][index]
            yield Sample("one-line mixture", f"{instruction}: {passage}", language)


def _neighbours(half: Half) -> Iterator[Sample]:
    django = find_spec("django")
    if django is None or django.origin is None:
        return
    for language in NEIGHBOURS:
        catalogue = Path(django.origin).parent / f"conf/locale/{language}/LC_MESSAGES/django.mo"
        with catalogue.open("rb") as file:
            messages = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, text in sorted(messages.items(), key=str):
            even = zlib.crc32(str(key).encode()) % 2 == 0
            if key and even == (half == "tune") and "%" not in text and "{" not in text and _letters(text) >= 20:
                yield Sample(f"neighbour {language}", text, None)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _per_language(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    taken: Counter[str] = Counter()
    for language, text in pairs:
        taken[language] += 1
        if taken[language] <= (ENGLISH_TEXTS if language == ENGLISH else PER_LANGUAGE):
            yield language, text


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))

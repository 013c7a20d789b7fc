"""Make `cc_core/language/data/words.npz`: how often the commonest words of each language are used, by script.

    pip install --no-deps wordfreq stopwordsiso msgpack
    python -m tools.make_words --data DIR

Frequencies come from wordfreq, where it has the language. For Basque, Swahili and Yoruba they are counted in the tuning
half of NTREX and in those training prompts whose licences allow it. stopwords-iso adds function words of others.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from cc_core.language.scripts import Script
from cc_core.language.words import FLOOR, SCRIPTS_WITH_WORDS, UNLISTED, WORDS_FILE, words_of

# How many of its commonest words are kept of a served language, and of a neighbour.
SERVED_WORDS: Final = 5_000
NEIGHBOUR_WORDS: Final = 1_000
# wordfreq's code of a language, where it is another than ours.
WORDFREQ_NAMES: Final = {"no": "nb", "tl": "fil", "hr": "sh", "sr": "sh"}
COUNTED: Final = ("eu", "sw", "yo")
# xnli and xlsum may not be used commercially.
COUNTED_TASKS: Final = ("mgsm", "mkqa", "mmmlu", "xquad", "xstorycloze")
# The share of a word's uses in which it is written without its diacritics.
UNACCENTED_SHARE: Final = 0.2
UNACCENTED_LETTERS: Final = str.maketrans({"ı": "i", "đ": "d", "ł": "l", "ø": "o"}) | {ord("ß"): "ss"}
# The share of all words that a whole list of function words gets, and the share of one that the counted texts lack.
STOPWORDS_SHARE: Final = 0.4
COUNTED_STOPWORD_SHARE: Final = 0.0001
# Words that the lists lack, by language, and the share that they get.
MORE_WORDS: Final = Path(__file__).with_name("more_words.yaml")
MORE_WORDS_SHARE: Final = 0.003
# Words of requests, by language, and the share that they have at least.
REQUEST_WORDS: Final = Path(__file__).with_name("request_words.yaml")
REQUEST_WORDS_SHARE: Final = 0.00016


def frequencies(language: str, data: Path) -> dict[str, float]:
    """Words and their share of all words; empty where no source knows the language."""
    shares: dict[str, float] = defaultdict(float)
    if language in COUNTED:
        counts = Counter(word for text in _texts(language, data) for word in _no_names(text))
        shares.update({word: count / counts.total() for word, count in counts.items() if count > 1})
    else:
        shares.update(_wordfreq(WORDFREQ_NAMES.get(language, language)))
    if language == "sr":
        shares = defaultdict(float, {_cyrillic(word): share for word, share in shares.items()})
    stopwords = {word for text in _stopwords(language) for word in words_of(text)}
    if not shares:
        shares.update(dict.fromkeys(stopwords, STOPWORDS_SHARE / max(len(stopwords), 100)))
    elif language in COUNTED:
        shares.update({word: COUNTED_STOPWORD_SHARE for word in stopwords if word not in shares})
    for file, least in ((MORE_WORDS, MORE_WORDS_SHARE), (REQUEST_WORDS, REQUEST_WORDS_SHARE)):
        for word in words_of(yaml.safe_load(file.read_text("utf-8")).get(language, "")):
            shares[word] = max(shares[word], least)
    for word, share in list(shares.items()):
        if (plain := unaccented(word)) != word:
            shares[plain] += UNACCENTED_SHARE * share
    return dict(shares)


def table(script: Script, data: Path) -> tuple[list[str], list[str], NDArray[np.uint8]]:
    """The W words of a script, its C languages, and -10 times the common logarithm of each word's share [W, C]."""
    named = (*script.languages, *script.neighbours)
    found = {language: shares for language in named if (shares := frequencies(language, data))}
    vocabulary = sorted(
        {
            word
            for language, shares in found.items()
            for word in _commonest(shares, SERVED_WORDS if language in script.languages else NEIGHBOUR_WORDS)
            if re.match(f"[{script.letters}]", word)
        }
    )
    # A word that a list of function words lacks may still be a word of the language.
    floors = {language: FLOOR if len(shares) >= NEIGHBOUR_WORDS else UNLISTED for language, shares in found.items()}
    columns = [[_tenths(shares.get(word, 0.0), floors[name]) for word in vocabulary] for name, shares in found.items()]
    return vocabulary, list(found), np.array(columns, np.uint8).T


def unaccented(word: str) -> str:
    """``word`` as typed on a keyboard that lacks its diacritics."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return plain.translate(UNACCENTED_LETTERS)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="directory of parallel/ and ntrex/")
    options = parser.parse_args()
    arrays: dict[str, Any] = {}
    for script in SCRIPTS_WITH_WORDS:
        vocabulary, languages, scores = table(script, options.data)
        arrays[f"{script.name}.words"] = np.frombuffer("\n".join(vocabulary).encode(), np.uint8)
        arrays[f"{script.name}.languages"] = np.array(languages)
        arrays[f"{script.name}.scores"] = scores
        print(script.name, len(vocabulary), "words,", len(languages), "languages")
    WORDS_FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(WORDS_FILE, **arrays)
    print(WORDS_FILE, WORDS_FILE.stat().st_size, "bytes")


def _cyrillic(word: str) -> str:
    for latin, cyrillic in (("lj", "љ"), ("nj", "њ"), ("dž", "џ")):
        word = word.replace(latin, cyrillic)
    return word.translate(str.maketrans("abvgdđežzijklmnoprstćufhcčš", "абвгдђежзијклмнопрстћуфхцчш"))


def _no_names(text: str) -> list[str]:
    return [word for token in text.split() if not token[:1].isupper() for word in words_of(token)]


def _tenths(share: float, floor: int) -> int:
    return min(floor, round(-10 * math.log10(share))) if share else floor


def _commonest(shares: dict[str, float], number: int) -> list[str]:
    return sorted(shares, key=lambda word: (-shares[word], word))[:number]


def _wordfreq(language: str) -> dict[str, float]:
    import msgpack

    path = _package("wordfreq") / f"data/small_{language}.msgpack.gz"
    if not path.exists():
        return {}
    with gzip.open(path, "rb") as file:
        _, *bins = msgpack.load(file, raw=False)
    shares: dict[str, float] = defaultdict(float)
    for hundredths, entries in enumerate(bins):
        for entry in entries:
            for word in words_of(entry):
                shares[word] += 10 ** (-hundredths / 100)
    return dict(shares)


def _stopwords(language: str) -> list[str]:
    path = _package("stopwordsiso") / "stopwords-iso.json"
    return list(json.loads(path.read_text("utf-8")).get(language, []))


def _texts(language: str, data: Path) -> Iterable[str]:
    rows = _rows(data / "parallel/train.jsonl.gz")
    prompts = (row["instruction"] for row in rows if row["lang"] == language and row["task"] in COUNTED_TASKS)
    # A line that every prompt of a task has counts once.
    lines = {line for prompt in prompts for line in prompt.split("\n")}
    sentences = (row[language] for row in list(_rows(data / "ntrex/sentences.jsonl.gz"))[::2])
    return [*sorted(lines), *sentences]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(
            f"{name} is not installed. Install it with: pip install --no-deps wordfreq stopwordsiso msgpack"
        )
    return Path(spec.origin).parent


if __name__ == "__main__":
    main()

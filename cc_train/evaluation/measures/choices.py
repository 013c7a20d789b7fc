"""Multiple choice: which option an answer names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# A label stands alone where no Latin letter or digit touches it. Other scripts write labels without a space: 答案是B.
_LATIN = r"0-9A-Za-z\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff"
_ARTICLE = r"A\s+[a-z\u00df-\u024f\u1e00-\u1eff]"


def chosen_label(answer: str, labels: str) -> str | None:
    """The option that ``answer`` names, one of the characters of ``labels``, or None if it names none or several.

    The first of these that finds one decides: a label at the beginning with a mark or nothing behind it; the first
    label in brackets; the only label that stands alone. An answer with lines that begin with different labels repeats
    the options and names none. An ``A`` with a small-lettered word behind it is a word, as in Portuguese
    *A resposta é B*. Digits of any script and full-width letters count as the ASCII ones.
    """
    text = _ascii_digits(unicodedata.normalize("NFKC", answer))
    label = f"[{labels}{labels.lower()}]"
    begins = rf"[^\w\n]*({label})(?:[^\S\n]*$|(?![.,:]\d)[^\w\s])"
    if len({found.upper() for found in re.findall(f"^{begins}", text, re.MULTILINE)}) > 1:
        return None
    start = re.match(begins, text.strip(), re.MULTILINE)
    if start:
        return start.group(1).upper()
    brackets = re.search(rf"[(\[]\s*({label})\s*[)\]]", text)
    if brackets:
        return brackets.group(1).upper()
    alone = set(re.findall(rf"(?<![{_LATIN}])(?<!\d[.,])(?!{_ARTICLE})([{labels}])(?![{_LATIN}]|[.,]\d)", text))
    return alone.pop() if len(alone) == 1 else None


def score_choice(answer: str, references: Sequence[str], labels: str) -> dict[str, float]:
    """``accuracy``, and ``readable``: whether the answer names an option at all."""
    label = chosen_label(answer, labels)
    return {"accuracy": float(label in {r.strip().upper() for r in references}), "readable": float(label is not None)}


def _ascii_digits(text: str) -> str:
    return "".join(str(digit) if (digit := unicodedata.decimal(c, None)) is not None else c for c in text)

"""Numbers in answers, in any digits and with any separators."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal

# U+066B and U+066C are the Arabic decimal and thousands separators.
_MARKS = str.maketrans(
    {"٫": ".", "٬": "'", "．": ".", "，": ",", "’": "'", "−": "-", "－": "-", "\u00a0": " ", "\u202f": " "}
)
_NUMBER = re.compile(r"((?<!\w)-\s?[$€£¥₹฿]?\s?)?(\d+(?:[.,']\d+| \d{3}(?!\d))*)")


def last_number(text: str) -> Decimal | None:
    """The last number of ``text``, or None.

    A separator that repeats, or stands before exactly three digits and behind one to three that do not begin with 0,
    separates thousands; one that stands elsewhere separates decimals. So 1.234 and 1,234 are 1234 in every language,
    which is right where answers are whole numbers, and 10,00 is 10.
    """
    text = "".join(_ascii(c) for c in text.translate(_MARKS))
    found = _NUMBER.findall(text)
    if not found:
        return None
    sign, digits = found[-1]
    return _value(digits) * (-1 if sign else 1)


def score_number(answer: str, references: Sequence[str]) -> dict[str, float]:
    """``accuracy``: the last number is a reference's; ``readable``: whether there is a number at all."""
    number = last_number(answer)
    right = number is not None and number in {last_number(reference) for reference in references}
    return {"accuracy": float(right), "readable": float(number is not None)}


def _ascii(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _value(digits: str) -> Decimal:
    digits = digits.replace(" ", "").replace("'", "")
    marks = [c for c in digits if c in ".,"]
    if not marks:
        return Decimal(digits)
    last = marks[-1]
    whole, _, rest = digits.rpartition(last)
    if marks.count(last) > 1 or (len(marks) == 1 and len(rest) == 3 and re.fullmatch(r"[1-9]\d{0,2}", whole)):
        return Decimal(re.sub(r"[.,]", "", digits))
    return Decimal(f"{re.sub(r'[.,]', '', whole)}.{rest}")

"""Whether an answer is in the question's language, by line and by word. What cannot be judged is left out."""

from __future__ import annotations

from typing import Final

from cc_core.language.answer import line_language, lines_of
from cc_core.language.detector import SERVED_LANGUAGES
from cc_core.language.scripts import SCRIPTS

LINES: Final = "own_lines"
WORDS: Final = "own_words"


def score_language(answer: str, lang: str) -> dict[str, float]:
    """``own_lines`` and ``own_words``, each 0 to 1; without one that nothing in the answer tells.

    ``own_lines`` is the share of lines in ``lang``, among those whose language is sure. ``own_words`` is the share of
    words in the script of ``lang``; a run of characters counts as a word. Words with a capital are taken for names.
    """
    if lang not in SERVED_LANGUAGES:
        return {}
    lines = lines_of(answer)
    judged = [found == lang for line in lines if (found := line_language(line)) is not None]
    words = [lang in script.languages for script in SCRIPTS for line in lines for _ in script.words.findall(line)]
    shares = {LINES: judged, WORDS: words}
    return {name: sum(right) / len(right) for name, right in shares.items() if right}

"""Leaves code out of an answer, fenced or not: its words are English, whatever the answer's language."""

from __future__ import annotations

import re
from typing import Final

_FENCED = re.compile(r"(`{3,}|~{3,}).*?(?:\1|\Z)", re.DOTALL)
# JSON may be cut off, so only its beginning counts. "[1] ..." may be a footnote.
_JSON = re.compile(r'\s*(?:\{|\[\s*(?:["\[{\]]|true\b|false\b|null\b|-?\d[\d.eE+-]*\s*,))')
_TYPES: Final = (
    "auto|bool|char|const|double|export|final|float|int|let|local|long|private|protected|public|static|string|String|"
    "var|void"
)
_NAME: Final = r"[A-Za-z_$][A-Za-z0-9_.$]*"
_CALL: Final = rf"{_NAME}!?\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
# Longer lines are not matched, which bounds the cost.
_LONGEST_LINE: Final = 300
#: A line of code, in the languages that models write most. A keyword alone may be English.
_CODE = re.compile(
    "|".join(
        (
            # x = 3, total += n, const s = "..."
            rf"(?:(?:{_TYPES})\s+)*[A-Za-z_$][\w.$]*(?:\[[^\]]*\])?(?:\s*:\s*\w+)?\s*(?:[-+*/%|&^]|<<|>>|:)?=(?:\s*\S|$)",
            rf"(?:(?:{_TYPES})\s+)+[\w<>\[\]*&]+(?:\s+\w+)?\s*(?:\(.*|;)$",  # int main() {, int x;
            r"(?:async\s+)?(?:def|function|func|fn|sub)\s+\w+\s*[(<{]",
            r"(?:public\s+|abstract\s+)?(?:class|struct|interface|enum|trait|impl)\s+\w+"
            r"(?:\s*\([^)]*\)|\s*<[^>]*>|\s+(?:extends|implements|for)\s[^.!?]*)?\s*[:{]$",
            r"import\s+[\w.{*]+(?:\s+as\s+\w+|[^.!?]*\sfrom\s+\S+)?\s*;?$",
            r"from\s+[\w.]+\s+import\s+\S",
            r"#\s*(?:include|define|ifdef|ifndef|endif|pragma)\b",
            r"#!\s*/",
            r"(?:using|package|namespace|use)(?:\s+[\w.:]+){1,2}\s*[;{]|package\s+\w+$|import\s+[\"'(]",
            r"(?:\}\s*)?(?:if|else\s+if|for|while|switch|catch)\s*\(.*[{;)]$",
            r"(?:if|elif|while|with)\s.*(?:[=<>!]=|[<>]|\w[(\[]|\bnot\b|\bis\s+None\b).*:$",
            r"for\s+\w+(?:\s*,\s*\w+)*\s+in\s+[\w.]+(?:[(\[].*)?:",
            r"(?:else|try|finally|do|except(?:\s+[\w.()\s,]+)?)\s*:$",
            # print(x), user.save();
            r"(?:await\s+|return\s+|throw\s+|raise\s+|yield\s+)?(?:new\s+)?"
            rf"(?:{_CALL}(?:\.{_CALL})*\s*[;:{{,]?(?:\s*(?:#|//).*)?|{_NAME}\()$",
            r"\.\w+\(|\w+\s+::\s|<\?|\{\s*\"",
            r"(?:for|while|until|if|elif)\s.*;\s*(?:do|then)$|.*\bdo\s*\|[\w,\s]+\|$|while\s+(?:True|true|1)\b",
            r"(?:done|fi|esac|end|pass|break|continue)[;,]?$|assert\s.*[=<>(]|lambda\s+\w+(?:,\s*\w+)*\s*:",
            r"(?:echo|puts|printf|print|cat|mv|cp|rm|cd|ls|mkdir)\s+[\"'$./-]",
            r"[a-z-]+\s*:\s*\S+(?:\s\S+){0,3};$|.*\{[^{}]*[:;=(][^{}]*\}$",  # color: red;
            r"return(?:\s+[\w.\"']+)?\s*;?$",
            r"return\s.*[-+*/%()\[\]{}=;<>]",
            r"</?[A-Za-z][\w-]*(?:\s+[\w:-]+\s*=[^>]*)?\s*/?>|<!(?:--|DOCTYPE)",
            r"\"[^\"]*\"\s*:\s*(?:[\"\d\[{-]|true\b|false\b|null\b)",  # "city": "Nairobi",
            r"\$\s+\w|>>>\s|sudo\s|(?:pip3?|npm|yarn|apt|apt-get|brew|conda)\s+(?:install|run|add|init)\b",
            r"(?:git\s+(?:clone|add|commit|push|pull|checkout)|docker\s+(?:run|build|pull)|curl)\s+\S",
            r"SELECT\s|FROM\s+\w|WHERE\s|INSERT\s+INTO\s|CREATE\s+TABLE\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s",
            r"(?i:select)\s+[\w.()*]+(?:\s*,\s*[\w.()*]+)*\s+(?i:from)\s+\w",
            r"(?i:where)\s+[\w.]+\s*[=<>!]|(?i:group|order)\s+(?i:by)\s+[\w.()*]+(?:\s*,\s*[\w.]+)*(?:\s(?i:asc|desc))?;?$|(?:LEFT\s+|INNER\s+)?JOIN\s",
            r"//|/\*|\*/|\}|@\w+(?:\(.*\))?$",
            r".*(?:=|\w\(|\{|\[).*;$",
            r".*[\w)>\s]\{$",
        )
    )
)
# A line that begins like this is a comment or a docstring next to a line of code; elsewhere it may be a heading.
_COMMENT = re.compile(r"#|\*|--|\"\"\"|'''|  |\t")


def without_code(answer: str) -> str:
    """``answer`` without its code; empty where all of it is code or JSON."""
    if _JSON.match(answer):
        return ""
    lines = [line for line in _FENCED.sub("\n", answer).splitlines() if line.strip()]
    code = [len(line) <= _LONGEST_LINE and _CODE.match(line.strip()) is not None for line in lines]
    for places in (range(1, len(lines)), range(len(lines) - 2, -1, -1)):
        before = -1 if places.step > 0 else 1
        for place in places:
            code[place] = code[place] or (code[place + before] and _COMMENT.match(lines[place]) is not None)
    return "\n".join(line for line, is_code in zip(lines, code, strict=True) if not is_code)

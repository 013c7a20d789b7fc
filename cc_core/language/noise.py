"""Lines that no user wrote for the prompt: log lines, quoted mail, code."""

from __future__ import annotations

import re
from typing import Final

LEVEL: Final = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|CRITICAL|CRIT|FATAL|SEVERE|PANIC)"
_TIME: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:\s?[AaPp][Mm])?(?:Z|\s?[+-]\d{2}:?\d{2})?"
_DATE: Final = (
    r"(?:\d{4}[-/.]\d{2}[-/.]\d{2}|\d{2}[-/.]\w{2,3}[-/.]\d{2,4}|"
    r"(?:[A-Z][a-z]{2}\s)?[A-Z][a-z]{2}\s{1,2}\d{1,2}(?:\s\d{4})?)"
)
_STAMP: Final = rf"[\[(<]?(?:{_DATE}[T ,:]{{1,2}}{_TIME}|{_DATE}|{_TIME})[\])>]?"
#: The beginning of a log line: a time, or a level in capitals, and the names of threads, hosts and modules.
_LOG_PREFIX = re.compile(
    rf"\s*+(?:<\d{{1,3}}>(?:\d )?)?(?:{_STAMP}[\s|:,-]*(?:[\[(]?{LEVEL}[\])]?\b)?|[\[(]?{LEVEL}(?:[\])]|"
    rf":(?:[\w.]+:)?|\s(?=[\[\w.-]*[\d\].:-])|\s*[-|]))[\s|:-]*"
    r"(?:\[[^\]\n]{0,60}\][\s:-]*)?(?:[\w./$-]{1,60}(?:\[\d+\]|\(\d+\))?:\s)?"
)
_TRACE = re.compile(
    r"Traceback \(most recent call last\)|\s+File \".*\", line \d+|\s+at [\w.$<>]+\(|Caused by: |\w*(?:Error|"
    r"Exception|Warning): |"
    r"panic: |goroutine \d+ \[|\s*[\w./*()-]+\.\w+\([\w, .{}]*\)$|\s*[\w./-]+\.\w+:\d+(?::\d+)?(?: \+0x\w+)?$|"
    r"(?:time|ts|level|lvl|msg)=\S|\$ [a-z./]|total \d+$|[bcdl-][rwxstST-]{9}[ .+@]|"
    r"(?:[\w$]+\.){2,}\w+(?:Error|Exception)\b|\[?\w+-\d+\]? .*\b\d+ms\b|\d{1,3}(?:\.\d{1,3}){3} - "
)
_QUOTED = re.compile(
    r">|(?:On|Am|Le|El|Em|Il|Op)\b.{6,120}(?:wrote|schrieb|a écrit|escribió|escreveu).{0,80}:\s*$|"
    r"-{2,}\s*(?:Original|Forwarded)\b|_{5,}\s*$"
)
_CODE = re.compile(
    r"\s*+(?:(?:import|from|def|class|func|fn|package|const|let|var|return|if|for|while|echo|sudo|"
    r"export|public|private|"
    r"static|void|int|use|using|elif|else|try|except|catch|fi|done|do|then|local|set|cd|mkdir|curl|pip|npm|"
    r"git|apt|SELECT|FROM|WHERE|"
    r"INSERT|UPDATE|CREATE)\b.*[\"'(){}=$:;<>/*-]|[\w.\[\]\"'$]+\s?(?::=|[-+*/|&]?=)\s?\S|"
    r"[\w.]+\([^()]*\)\s*$|\$ \S|"
    r"#(?:!|include|define|ifdef|ifndef|endif)|[)}\]]+[;,]?\s*$|(?:fi|done|esac|else|then|end|do|"
    r"pass|break|continue)\s*$|@\w+)"
)
# The end of a line of code, read backwards: forwards, the pattern would be tried at each character. A semicolon after a
# Greek letter ends a question.
_CODE_END = re.compile(r"\s*+(?:[{}]|;\s*+[^\u0370-\u03ff\u1f00-\u1fff])")
# A line that can only be code, so that one such line suffices.
_CERTAINLY_CODE = re.compile(
    r"\s*(?:SELECT\b.+\bFROM\b|select .+ from .+;$|INSERT INTO\b|UPDATE\b.+\bSET\b|DELETE FROM\b|"
    r"(?:CREATE|ALTER|DROP) (?:TABLE|INDEX|VIEW)\b|"
    r"(?:def|fn|func|function)\s\w+\s?\(|class \w+[(:{]|#include\s*[<\"]|import \{|"
    r"(?:export )?(?:const|let|var)\s\w+\s?=|(?:from [\w.]+ )?import [\w.]+(?: as \w+)?$|"
    r"(?:\w+\.)+\w+\([^()]*\)\s*[;{]?$|\w+\s?=\s?[\w.]+\(.*\)\s*;?$|\w+\([^()]*\);$|"
    r"(?:sudo |\$ )?(?:pip3?|npm|apt(?:-get)?|docker|kubectl|git|curl|wget|conda|brew) (?:-\S+|[a-z]+)\s.*[-/=:.@\d])"
)
_COMMENT = re.compile(r"(?:(?:^|\s)(?:#(?!!|include|define)|//|--\s|/\*+|<!--|%|;;)|^\s*\*\s|\"\"\")\s*(.*)")
_COMMENT_END: Final = '*/->" \t'
_FIELD = re.compile(
    r"[ \t]*[*_]{0,2}[A-Z][A-Za-z -]{1,24}(?:[*_]{0,2}:[*_]{0,2}[ \t]+(?:\S+[ \t]*){1,3}|[ \t]#?\d[\w-]*[ \t]*)$"
)
# Every comment has one of these; they are found faster than the whole pattern.
_COMMENT_MARK = re.compile(r"[#*%]|//|--|;;|\"\"\"")
# The words that may come before the name of a variable.
_TYPE: Final = (
    r"int|float|double|char|bool|boolean|string|String|auto|var|let|const|final|long|short|byte|unsigned|static|public|"
    r"private|my|[a-z]+_t|\w+\[\]|[\w.:]+<[\w, <>]+>"
)
# A whole line that can only be code. Shell commands are left out, since they may be words.
_LONE_CODE = re.compile(
    r"(?:print\w*|\w++(?:\.\w++)+)\((?:[^()]|\([^()]*\))*\)[;:]?$|(?:async )?(?:def|fn|func|function) \w+\(.*[:{}].*$|"
    r"for \w+ in [\w.]+(?:\(.*\))?:\s*(?:\w+[.(=].*)?$|for \(.*\) ?\{?$|"
    r"(?:if|elif|while) (?:True|(?!.*\b(?:[a-z]+ ){3}).*(?:[=!<>]=|\w\(|[<>]).*)[:{]$|"
    r"from [\w.]+ import [\w, *]+$|import \w+ as \w+$|"
    r"#include ?[<\"][\w./]+[>\"]$|[a-z_][\w.]*+ ?[-+*/]?= ?[\w.]+\(.*\)$|"
    r"(?:(?:return|throw|new|await|yield) )?[\w.:>-]+\([ -~]*\);$|return [\w.\[\]]+(?: [-+*/%] [\w.\[\]]+)*;$|"
    rf"(?:(?:{_TYPE})[&*]* )*[\w.\[\]*>-]+ ?[-+*/]?= [ -~]*;$"
)
FEWEST_CODE_LINES: Final = 2
# A longer line is a paragraph, and these patterns would take long to find that out.
_LONGEST_LINE: Final = 400


def is_field(line: str) -> bool:
    """Whether ``line`` is ``Name: value`` or ``Name #123`` with a short value, as forms and tickets have."""
    return _FIELD.match(line) is not None


def is_log(line: str) -> bool:
    """Whether a logger or an interpreter wrote ``line``."""
    return bool(log_message(line) is not None or (len(line) <= _LONGEST_LINE and _TRACE.match(line)))


def log_message(line: str) -> str | None:
    """The message of a log line, which begins with a time or a level; None for any other line."""
    match = _LOG_PREFIX.match(line)
    return line[match.end() :] if match and match.end() > 3 else None


def is_quoted_mail(line: str) -> bool:
    """Whether ``line`` quotes an earlier mail, or introduces the quotation."""
    return bool(_QUOTED.match(line))


def is_code(line: str) -> bool:
    """Whether ``line`` looks like a line of a program."""
    return _CODE_END.match(line[::-1]) is not None or _CODE.match(line) is not None


def is_lone_code(text: str) -> bool:
    """Whether ``text`` is a single line of code without a comment."""
    signed = "(" in text or ";" in text or ":" in text or "<" in text or "import " in text  # a question has none
    if not signed or len(text) > _LONGEST_LINE:
        return False
    return _LONE_CODE.match(text.strip()) is not None and _COMMENT.search(text) is None


def comments_of_code(text: str) -> str | None:
    """The comments of program code, and the prose before and after it; None where ``text`` is no program code."""
    lines = text.split("\n")
    code = [0 < len(line.strip()) <= _LONGEST_LINE and is_code(line) for line in lines]
    if sum(code) < FEWEST_CODE_LINES:
        code = [_CERTAINLY_CODE.match(line[:_LONGEST_LINE]) is not None for line in lines]
        if not any(code):
            return None
    kept = []
    for line, of_code in zip(lines, code, strict=True):
        comment = _COMMENT_MARK.search(line) and _COMMENT.search(line)
        if comment:
            kept.append(comment[1].rstrip(_COMMENT_END))
        elif not of_code:
            kept.append(line)
    return "\n".join(kept)

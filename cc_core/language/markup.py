"""Turns mark-up into lines: tags and keys that label a text become labels, and other marks are removed.

``<question>…</question>`` and ``{"question": "…"}`` both become ``question: …`` in a line of its own.
"""

from __future__ import annotations

import html
import json
import re
from typing import Final

from cc_core.language.labels import ROLES, rank_of

_TAG = re.compile(
    r"<(/?)([A-Za-z][\w:.-]{0,40})((?:\s[^<>]{0,300})?)(/?)>|<!--(?:(?!<!--).){0,500}?-->|<![A-Za-z][^<>]{0,200}>",
    re.DOTALL,
)
_INLINE: Final = "a abbr b bdi big cite code del em font i ins kbd mark q s small span strong sub sup u var"
_INLINE_TAGS: Final = frozenset(_INLINE.split())
# Elements whose content is not read.
_UNREAD = re.compile(
    r"<(script|style|pre|code|svg|math)\b[^<>]{0,300}>(?:(?!<\1\b).)*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_LINK = re.compile(r"!\[[^\[\]\n]{0,200}\]\([^()\n]{0,300}\)|\[([^\[\]\n]{1,200})\]\([^)\n]{0,300}\)")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
# A key and its value, also in JSON that is cut off or inside of other text. Only strings can be in a language.
_PAIR = re.compile(
    r'["\']([^"\'\\\n{}\[\]]{1,48})["\']\s{0,8}:\s{0,8}'
    r'(?:"((?:[^"\\]|\\.)*)(?:"|$)|(-?\d[\d.eE+-]{0,20}|true|false|null|\{|\[))',
    re.DOTALL,
)
# A named string of a program or a settings file. It begins with a line break, which is found faster than ``^``.
_ASSIGNMENT = re.compile(
    r"\n[ \t]*(?:(?:const|let|var|final|local|my|export|string|auto) +)?\$?([A-Za-z_]\w{0,30})[ \t]*:?=[ \t]*"
    r"([\"'`])([^\n]{1,2000})\2[;,]?[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\{\{[\w .|-]{1,40}\}\}")
_BBCODE = re.compile(
    r"\[/?(?:b|i|u|s|quote|code|url|size|color|center|list|spoiler)(?:=[^\]\n]{0,60})?\]", re.IGNORECASE
)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BRACKETS = re.compile(r"[{}\[\]](?:[\s{}\[\],]|\d)*[{}\[\],]*")
_ROLE_KEYS: Final = ("role", "from", "author", "speaker", "sender", "type")
_ROLE = re.compile(rf"\s(?:{'|'.join(_ROLE_KEYS)})\s?=\s?[\"']?(\w+)", re.IGNORECASE)


def unmarked(text: str) -> str:
    """``text`` without tags, keys, links and entities; the texts that they label become lines ``label: text``."""
    if "{{" in text:
        text = _PLACEHOLDER.sub(" ", text)
    if "=" in text:
        text = _ASSIGNMENT.sub(_line_of_assignment, f"\n{text}")[1:]
    if '{\\"' in text:  # JSON inside of a JSON string
        text = text.replace('\\"', '"')
    if "{" in text or '":' in text or (text.startswith("[") and '"' in text):
        text = _without_json(text)
    if "&lt;" in text:
        text = html.unescape(text)
    if "<" in text:
        if "</" in text:
            text = _UNREAD.sub(" ", text)
        text = _TAG.sub(_line_of_tag, text)
    if "[/" in text:
        text = _BBCODE.sub(" ", text)
    if "](" in text:
        text = _LINK.sub(lambda match: match[1] or " ", text)
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return text


def _line_of_tag(match: re.Match[str]) -> str:
    closing, name = match[1], match[2]
    if name is None:
        return " "
    name = name.rpartition(":")[2]  # without its namespace
    if name.lower() in _INLINE_TAGS:
        return " "
    if not closing and (role := _ROLE.search(match[3])) and role[1].lower() in ROLES:
        return f"\n\n{role[1]}:\n"
    if closing or match[4] or rank_of(name) is None:
        return "\n" if name.lower() in ("br", "p", "div", "li", "td", "tr") and not closing else "\n\n"
    return f"\n\n{name}:\n"


def _line_of_assignment(match: re.Match[str]) -> str:
    return match[0] if rank_of(match[1]) is None else f"\n\n{match[1]}: {match[3]}\n\n"


def _without_json(text: str) -> str:
    role = ""

    def line(match: re.Match[str]) -> str:
        nonlocal role
        key, value = match[1], match[2]
        if value is None:
            return f"\n\n{key}:\n" if match[3] == "[" else "\n\n"
        value = _decoded(value)
        if key.lower() in _ROLE_KEYS and value.lower() in ROLES:
            role = value
            return "\n\n"
        label = (
            role
            if (role and rank_of(key) is None) or (key.lower() in ("content", "text", "value", "parts") and role)
            else key
        )
        if rank_of(label) is None:  # under a key that says nothing, a value counts as a passage
            label = "data"
        return f"\n\n{label}: {value}\n\n"

    found, count = _PAIR.subn(line, text)
    if not count:
        if text.startswith("[") and text.rstrip().endswith("]"):
            found, count = _STRING.subn(lambda match: f"\n\n{_decoded(match[1])}\n\n", text)
        if not count:
            return _BRACKETS.sub(" ", text) if text[:1] in "{[" else text
    return _BRACKETS.sub("\n", found)


def _decoded(value: str) -> str:
    if "\\" not in value:
        return value
    try:
        return str(json.loads(f'"{value}"', strict=False))
    except ValueError:
        return value.replace("\\n", "\n").replace('\\"', '"')

"""``GET /playground``: a page that asks the served model in any of its languages, connected and plain, side by side.

The page needs no key, since it shows only files of this package. Its requests to the server need one.
The files are read once, at the start. Each has its own route, so no part of a path ever reaches the disk.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

PATH: Final = "/playground"
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER: Final = resources.files("cc_serve") / "playground"
# Allows only this server's scripts and styles and calls to it; nothing inline, no HTML made from strings, no frames.
_POLICY: Final = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class File:
    """A part of the page."""

    content: bytes
    media_type: str


def page_files() -> dict[str, File]:
    """The page and what it loads, by path."""
    found = {}
    for source in _FOLDER.iterdir():
        if kind := _KINDS.get(PurePath(source.name).suffix):
            found[f"{PATH}/{source.name}"] = File(source.read_bytes(), kind)
    found[PATH] = found.pop(f"{PATH}/index.html")
    found[f"{PATH}/questions.json"] = File(json.dumps(sample_questions()).encode(), "application/json")
    return found


def sample_questions() -> dict[str, list[dict[str, str]]]:
    """Sample questions by language, in the order of the languages' codes.

    Each has its ``text``, its meaning in ``english``, and the right ``answer``.
    """
    chosen: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for line in (_FOLDER / "questions.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        chosen[row["lang"]].append({name: row[name] for name in ("text", "english", "answer")})
    return dict(sorted(chosen.items()))


def playground(files: dict[str, File]) -> APIRouter:
    """The routes of ``files``, from `page_files`."""
    router = APIRouter()
    for path, file in files.items():
        router.add_api_route(path, _serving(file), include_in_schema=False)
    return router


def _serving(file: File) -> Callable[[], Awaitable[Response]]:
    async def serve() -> Response:
        return Response(file.content, media_type=file.media_type, headers=HEADERS)

    return serve

"""A small hub: the parts of the Hugging Face hub's HTTP API that its client needs to download a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" + 34 * "0"


class ModelHub(ThreadingHTTPServer):
    """Has one model, in a directory; counts what was downloaded of it."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.directory = directory
        self.downloads: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelHub

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def _answer(self, *, send_body: bool) -> None:
        path, name, files = unquote(urlparse(self.path).path), self.server.name, self.server.directory
        if path.startswith(f"/api/models/{name}/tree/"):
            found = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": _digest(p)} for p in _files(files)
            ]
            self._send(json.dumps(found).encode(), send_body=send_body)
        elif path.startswith(f"/api/models/{name}"):
            siblings = [{"rfilename": file.name} for file in _files(files)]
            self._send(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode(), send_body=send_body)
        elif path.startswith(f"/{name}/resolve/") and (file := files / path.rpartition("/")[2]).is_file():
            if send_body:
                self.server.downloads.append(file.name)
            self._send(file.read_bytes(), send_body=send_body, etag=_digest(file))
        else:
            self.send_response(404)
            self.send_header("x-error-code", "RepoNotFound")
            self.send_header("content-length", "0")
            self.end_headers()

    def _send(self, content: bytes, *, send_body: bool, etag: str = "0") -> None:
        self.send_response(200)
        for header, value in (("etag", f'"{etag}"'), ("x-repo-commit", COMMIT), ("content-length", str(len(content)))):
            self.send_header(header, value)
        self.end_headers()
        if send_body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def running_hub(name: str, directory: Path) -> Iterator[ModelHub]:
    server = ModelHub(name, directory)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""Another connection on a real server, by a real client, while answers are streamed."""

from __future__ import annotations

import threading
from pathlib import Path

from cc_core.checkpoint import save_connection
from tests.support.application import write_keys
from tests.support.server import Server, save_served_checkpoint, started
from tests.support.tiny import random_connection, tiny_llama
from tests.support.tiny_tokenizer import save_base

GERMAN = "Wo ist der nächste Bahnhof, bitte?"


def test_the_swap_under_load(tmp_path: Path) -> None:
    checkpoint = save_served_checkpoint(tmp_path)
    other = save_base(tmp_path / "other", tiny_llama())
    save_connection(other, random_connection(["global"], seed=5), ["de", "sw"])
    keys = write_keys(tmp_path / "server.yaml")
    with started(checkpoint, tmp_path / "log", "--cc-config", str(keys)) as server:
        server.http.headers["x-api-key"] = "ops"
        first = answer(server)
        found: list[tuple[str, str]] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                found.append(answer(server))

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        while not found:  # somebody's answer begins before the change
            assert askers[0].is_alive()
        changed = server.http.post("/admin/connections", json={"directory": str(other)})
        second = answer(server)
        over.set()
        for asker in askers:
            asker.join()
        assert changed.status_code == 200, changed.text
        assert changed.json()["served"]["languages"] == ["de", "sw"]
        assert (first[0], second[0]) == ("de", "global")
        assert first[1] != second[1]
        assert set(found) <= {first, second}, "each answer is whole, of one or the other"
        assert first in found
        languages = [item["language"] for item in server.http.get("/v1/languages").json()["data"]]
        assert "sw" in languages
        digest = changed.json()["served"]["sha256"]
        assert f'cc:connection_info{{sha256="{digest}"}} 1.0' in server.http.get("/metrics").text
        assert server.http.post("/admin/connections", json={"directory": "/none"}).status_code == 400
        refused = server.http.post("/admin/connections", json={"directory": str(other)}, headers={"x-api-key": "user"})
        assert refused.status_code == 403
        server.http.post("/admin/connections", json={"directory": str(checkpoint)}).raise_for_status()
        assert answer(server) == first


def answer(server: Server) -> tuple[str, str]:
    """The connection that the header names, and the greedy answer."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": GERMAN}], "max_tokens": 12, "temperature": 0}
    response = server.http.post("/v1/chat/completions", json=body).raise_for_status()
    return response.headers["X-CC-Connection"], response.json()["choices"][0]["message"]["content"]

"""The real server with the real openai client: vLLM, the engine and the HTTP layer together."""

from __future__ import annotations

import json
import re
import signal
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from transformers import AutoTokenizer

from cc_train.model.reference import Reference
from tests.support.engines import slowed
from tests.support.model_hub import running_hub
from tests.support.server import CONNECTIONS, LANGUAGES, MODEL, Server, started

GERMAN = "Wo ist der Bahnhof, bitte?"
FRENCH = "Comment allez-vous aujourd'hui ?"
ENGLISH = "Where is the train station, please?"
UNDECIDED = "123"
STREAMED = 400
PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def expected(server: Server) -> Any:
    """The two-pass reference's greedy tokens for a chat prompt and a connection."""
    reference = Reference.from_checkpoint(server.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(server.checkpoint)

    def answer(text: str, connection: str) -> list[int]:
        messages = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        name = None if connection == "off" else connection
        return reference.generate(prompt, name, 12, stop=reference.model.generation_config.eos_token_id).tokens

    return answer


@pytest.mark.parametrize(
    ("text", "override", "language", "connection"),
    [
        pytest.param(GERMAN, None, "de", "de", id="own matrix"),
        pytest.param(GERMAN, "auto", "de", "de", id="auto"),
        pytest.param(FRENCH, None, "fr", "global", id="global"),
        pytest.param(ENGLISH, None, "en", "off", id="English"),
        pytest.param(UNDECIDED, None, "und", "off", id="undecided"),
        pytest.param(GERMAN, "off", "de", "off", id="off"),
        pytest.param(GERMAN, "global", "de", "global", id="global asked for"),
        pytest.param(ENGLISH, "de", "de", "de", id="language asked for"),
        pytest.param(UNDECIDED, "fr", "fr", "global", id="language without a matrix asked for"),
    ],
)
def test_chat_is_connected_and_says_so(
    server: Server, expected: Any, text: str, override: str | None, language: str, connection: str
) -> None:
    completion, headers = server.chat(text, **({"cc_connection": override} if override else {}))
    assert (headers["X-CC-Language"], headers["X-CC-Connection"]) == (language, connection)
    assert completion.choices[0].token_ids == expected(text, connection)


def test_connections_change_the_answer(expected: Any) -> None:
    assert len({tuple(expected(GERMAN, connection)) for connection in ("off", "global", "de")}) == 3


def test_streams_give_the_same_answer(server: Server) -> None:
    whole, _ = server.chat(GERMAN)
    response = server.client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": GERMAN}], max_tokens=12, temperature=0, stream=True
    )
    assert (response.headers["X-CC-Language"], response.headers["X-CC-Connection"]) == ("de", "de")
    pieces = [chunk.choices[0].delta.content or "" for chunk in response.parse()]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 2


@pytest.mark.parametrize(
    ("path", "field", "text", "image"),
    [
        ("chat/completions", "messages", "text", {"type": "image_url", "image_url": {"url": PIXEL}}),
        ("responses", "input", "input_text", {"type": "input_image", "detail": "auto", "image_url": PIXEL}),
        (
            "messages",
            "messages",
            "text",
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]},
            },
        ),
    ],
)
def test_an_image_is_refused(server: Server, path: str, field: str, text: str, image: dict[str, Any]) -> None:
    """The served model reads text alone: an answer that ignored the image would be a wrong one."""
    content = [{"type": text, "text": GERMAN}, image]
    body = {"model": MODEL, "max_tokens": 4, field: [{"role": "user", "content": content}]}
    response = server.http.post(f"/v1/{path}", json=body)
    assert response.status_code == 400, response.text
    assert "not a multimodal model" in response.json()["error"]["message"]


def test_completions(server: Server) -> None:
    def complete(**extra: Any) -> tuple[str, str]:
        response = server.client.completions.with_raw_response.create(
            model=MODEL, prompt=GERMAN, max_tokens=12, temperature=0, extra_body=extra
        )
        return response.headers["X-CC-Connection"], response.parse().choices[0].text

    connected, plain = complete(), complete(cc_connection="off")
    assert (connected[0], plain[0]) == ("de", "off")
    assert connected[1] != plain[1]


@pytest.mark.parametrize("ids", [False, True], ids=["text", "token ids"])
def test_a_rendered_prompt_is_routed_by_its_newest_turn(server: Server, ids: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.checkpoint)
    turns = [{"role": role, "content": text} for role, text in (("user", ENGLISH), ("assistant", ENGLISH))]
    messages = [*turns, {"role": "user", "content": GERMAN}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=ids, return_dict=False)
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 1}
    assert server.http.post("/v1/route", json=body).json()["text"] == GERMAN
    response = server.http.post("/v1/completions", json=body)
    assert (response.headers["X-CC-Language"], response.headers["X-CC-Connection"]) == ("de", "de")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/invocations"])
def test_the_other_ways_to_ask_are_connected(server: Server, path: str) -> None:
    key = "input" if path == "/v1/responses" else "messages"
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    body = {"model": MODEL, key: [{"role": "user", "content": GERMAN}], limit: 12, "temperature": 0}

    def answer(connection: str) -> str:
        response = server.http.post(path, json={**body, "cc_connection": connection})
        assert response.status_code == 200, response.text
        assert response.headers["X-CC-Connection"] == ("de" if connection == "auto" else connection)
        content = response.json()
        if path == "/v1/responses":
            return str(content["output"][0]["content"][0]["text"])
        return str(
            content["content"][0]["text"] if path == "/v1/messages" else content["choices"][0]["message"]["content"]
        )

    plain, connected = server.chat(GERMAN, cc_connection="off")[0], server.chat(GERMAN)[0]
    assert answer("auto") == connected.choices[0].message.content
    assert answer("off") == plain.choices[0].message.content


@pytest.mark.parametrize("value", ["xx", "sw", 7])
def test_an_unknown_connection_is_refused(server: Server, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        server.chat(GERMAN, cc_connection=value)
    assert caught.value.param == "cc_connection"
    assert f"unknown cc_connection {value!r}; this checkpoint has: auto, off, global, de, en, fr" in str(caught.value)


@pytest.mark.parametrize("value", ["de", "xx"])
def test_a_connection_cannot_be_smuggled(server: Server, value: str) -> None:
    with pytest.raises(openai.BadRequestError, match="belongs at the top level"):
        server.chat(GERMAN, vllm_xargs={"cc_connection": value})


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"", b'{"messages": 5}', b"[" * 10_000])
def test_malformed_bodies_get_vllms_own_refusal(server: Server, body: bytes) -> None:
    response = server.http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)


def test_probes_and_metrics(server: Server) -> None:
    server.chat(GERMAN)
    assert server.http.get("/live").json() == {"status": "live"}
    assert server.http.get("/ready").json() == {"status": "ready"}
    assert server.http.get("/health").status_code == 200
    metrics = server.http.get("/metrics").text
    assert 'cc:requests_total{connection="de",holdout="none",language="de",outcome="ok"}' in metrics
    assert "vllm:num_requests_running" in metrics
    http = r'^http_requests_total\{handler="/v1/chat/completions",method="POST",status="2xx"\} [1-9]'
    assert re.search(http, metrics, re.MULTILINE), "vLLM's own counter of HTTP requests"
    for name in ("time_to_first_token_seconds_count", "inter_token_seconds_count", "generation_tokens_total"):
        assert re.search(rf'^cc:{name}\{{connection="de"(,holdout="none")?\}} [1-9]', metrics, re.MULTILINE), name


def test_the_model_has_the_directorys_name(server: Server) -> None:
    assert [model.id for model in server.client.models.list()] == [MODEL]


def test_the_checkpoint_is_described(server: Server) -> None:
    (card,) = server.client.models.list().model_dump()["data"]
    sha256 = json.loads((server.checkpoint / "config.json").read_text())["cc_connection"]["sha256"]
    assert card["cc_connection"] == {"connections": CONNECTIONS, "languages": LANGUAGES, "sha256": sha256}
    languages = server.http.get("/v1/languages").json()
    assert languages["connections"] == CONNECTIONS
    assert {item["language"]: item["connection"] for item in languages["data"]} == {
        "de": "de",
        "en": "off",
        "fr": "global",
    }


def test_routes_are_explained_without_generating(server: Server) -> None:
    def generated() -> list[str]:
        return [line for line in server.http.get("/metrics").text.splitlines() if "generation_tokens_total" in line]

    before = generated()
    plan = server.http.post("/v1/route", json={"messages": [{"role": "user", "content": GERMAN}]}).json()
    assert (plan["language"], plan["connection"], plan["text"]) == ("de", "de", GERMAN)
    assert generated() == before


def test_the_openapi_description_names_what_is_added(server: Server) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/v1/route", "/v1/languages", "/live", "/ready", "/v1/chat/completions"} <= set(paths)


def test_the_engine_knows_a_request_by_the_clients_id(server: Server) -> None:
    response = server.http.post(
        "/v1/completions",
        json={"model": MODEL, "prompt": GERMAN, "max_tokens": 1},
        headers={"X-Request-Id": "trace-1"},
    )
    assert response.headers["X-Request-Id"] == "trace-1"
    assert response.json()["id"].startswith("cmpl-trace-1")


@pytest.mark.parametrize(
    "name", ["kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode", "cc_tenant", "cc_weight"]
)
def test_engine_state_cannot_be_smuggled(server: Server, name: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"'{name}' cannot be set"):
        server.chat(GERMAN, vllm_xargs={name: "full"})


def test_sigterm_lets_a_stream_finish(checkpoint: Path, tmp_path: Path) -> None:
    with started(checkpoint, tmp_path / "server.log") as server:
        with slowed(server):  # else the stream may be over, and the server gone, before somebody else asks
            stream = server.client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": GERMAN}],
                max_tokens=STREAMED,
                stream=True,
                stream_options={"include_usage": True},
                extra_body={"ignore_eos": True},
            )
            next(stream)
            chunks: list[Any] = []
            reader = threading.Thread(target=lambda: chunks.extend(stream))
            reader.start()
            server.process.send_signal(signal.SIGTERM)
            while (ready := server.http.get("/ready")).status_code == 200:
                pass
            assert ready.json() == {"status": "stopping"}
            assert reader.is_alive(), "the stream still runs"
            assert server.http.get("/live").status_code == 200
            with pytest.raises(openai.APIStatusError) as caught:
                server.chat(ENGLISH)
            assert caught.value.status_code == 503
            assert int(caught.value.response.headers["Retry-After"]) > 0
        reader.join(60)
        assert chunks[-2].choices[0].finish_reason == "length"
        assert chunks[-1].usage.completion_tokens == STREAMED
        assert server.process.wait(60) == 0


def test_a_checkpoint_is_named_by_its_id_on_the_hub(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "someone/tiny-model"
    with running_hub(name, checkpoint) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        with started(Path(name), tmp_path / "server.log") as server:
            assert [model.id for model in server.client.models.list()] == [name]
            answer = server.client.completions.with_raw_response.create(model=name, prompt=GERMAN, max_tokens=1)
            assert answer.headers["X-CC-Connection"] == "de"
    assert {"config.json", "model.safetensors", "cc_connection.safetensors"} <= set(hub.downloads)

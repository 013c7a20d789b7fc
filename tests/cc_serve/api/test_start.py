"""Wrong flags are found before the engine's process starts, and named in one line."""

from __future__ import annotations

import os
import socket
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from cc_serve.api.start import CheckedEngineArgs, StartError, check_front_end, explain, listen, naming, parse_or_refuse
from tests.support.ports import free_port
from tests.support.server import save_served_checkpoint


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_served_checkpoint(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Nothing sleeps: without a network, the hub's client tries again, and waits for two minutes in between."""
    with mock.patch.dict(os.environ), mock.patch("time.sleep"):
        yield


def start(directory: Path, *flags: str) -> str:
    """Go the way of a start until the engine's process would begin; the error's message."""

    given = ["--enforce-eager", "--dtype", "float32", *flags]

    def prepare() -> None:
        arguments = parse_or_refuse([str(directory), *given], verbose=False)
        check_front_end(arguments)
        _, sock = listen(arguments)
        sock.close()
        CheckedEngineArgs.from_cli_args(arguments).create_engine_config()

    with pytest.raises(StartError) as caught, naming(given):
        prepare()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--port 99999", "--port 99999: ports are from 1 to 65535"),
        ("--default-chat-template-kwargs 1", "--default-chat-template-kwargs 1: must be a JSON object"),
        ("--default-chat-template-kwargs []", "--default-chat-template-kwargs []: must be a JSON object"),
        ("--seed -1", "--seed -1: must be a number from 0 to 4294967295"),
        ("--h11-max-header-count -1", "--h11-max-header-count -1: must be a number from 1 to "),
        ("--ssl-cert-reqs 9", "--ssl-cert-reqs 9: must be a number from 0 to 2"),
        ("--renderer-num-workers 0", "--renderer-num-workers 0: must be a number from 1 to "),
        ("--num-gpu-blocks-override -4", "--num-gpu-blocks-override -4: must be a number from 1 to "),
        ("--kv-cache-memory-bytes 5", "--kv-cache-memory-bytes 5: must be a number from 1048576 to "),
        ("--port 0", "--port 0: ports are from 1 to 65535"),
        ("--host 203.0.113.7", "--host 203.0.113.7: cannot listen there: "),
        ("--host no.such.host.invalid", "--host no.such.host.invalid: cannot listen there: "),
        ("--uds /no/such/folder/socket", "--uds /no/such/folder/socket: cannot listen there: "),
        ("--tool-call-parser hermse", "--tool-call-parser hermse: there is no such parser; did you mean hermes?"),
        ("--enable-auto-tool-choice --tool-call-parser xx", "--tool-call-parser xx: there is no such parser"),
        ("--reasoning-parser xx", "--reasoning-parser xx: there is no such parser"),
        ("--tool-parser-plugin /nope.py", "--tool-parser-plugin /nope.py: there is no such file"),
        ("--chat-template /nope.jinja", "--chat-template /nope.jinja: The supplied chat template string (/nope.jinja)"),
        ("--ssl-certfile /nope", "--ssl-certfile /nope: there is no such file"),
        ("--ssl-ca-certs /nope", "--ssl-ca-certs /nope: there is no such file"),
        ("--log-config-file /nope", "--log-config-file /nope: "),
        ("--enable-auto-tool-choice", "--enable-auto-tool-choice requires --tool-call-parser"),
        ("--max-model-len 999999", "--max-model-len 999999: "),
        ("--max-num-seqs 0", "--max-num-seqs 0: "),
        ("--max-num-batched-tokens -3", "--max-num-batched-tokens -3: "),
        ("--quantization fp99", "--quantization fp99: "),
        ("--tokenizer /nope", "--tokenizer /nope: there is no such directory"),
        ("--tokenizer nope/nope", "--tokenizer nope/nope: "),
        ("--tokenizer-mode xx", "--tokenizer-mode xx: "),
        ("--tokenizer-revision xx", "--tokenizer-revision xx has no effect on a directory"),
        ("--revision xx", "--revision xx has no effect on a directory"),
        ("--load-format xx", "--load-format xx: "),
        ("--model-impl transformers", "--model-impl transformers: a CC-Tuned checkpoint needs vLLM's own models"),
        ("--generation-config /nope", "--generation-config /nope: there is no generation_config.json"),
        ('--override-generation-config {"temperature":-1}', "--override-generation-config {'temperature': -1}: "),
        ("--middleware nope.nope", "--middleware nope.nope: No module named 'nope'"),
        ("--middleware os.nope", "--middleware os.nope: module 'os' has no attribute 'nope'"),
        ("--middleware os.path", "--middleware os.path: is neither a class nor a coroutine function"),
        ("--logits-processors nope:Nope", "--logits-processors nope:Nope: No module named 'nope'"),
        ("--worker-extension-cls nope.Nope", "--worker-extension-cls nope.Nope: No module named 'nope'"),
        ("--worker-extension-cls nope", "--worker-extension-cls nope: must be MODULE.NAME"),
        ("--logits-processors nope", "--logits-processors nope: must be MODULE:NAME"),
        ("--logits-processors nope.Nope", "--logits-processors nope.Nope: must be MODULE:NAME"),
        ("--middleware nope:Nope", "--middleware nope:Nope: must be MODULE.NAME"),
        ("--worker-extension-cls nope:Nope", "--worker-extension-cls nope:Nope: must be MODULE.NAME"),
        ("--middleware nope", "--middleware nope: must be MODULE.NAME"),
        ("--distributed-executor-backend nope", "--distributed-executor-backend nope: must be MODULE.NAME"),
        ("--distributed-executor-backend nope.Nope", "--distributed-executor-backend nope.Nope: No module named"),
        ("--distributed-executor-backend os.nope", "--distributed-executor-backend os.nope: module 'os' has no"),
        ("--distributed-executor-backend os.path", "--distributed-executor-backend os.path: is no subclass of"),
        ("--io-processor-plugin nope", "--io-processor-plugin nope has no effect on a model that generates text"),
        ("--pooler-config {}", "has no effect on a model that generates text; leave it out"),
        ("--api-key=", "--api-key: the key is empty"),
        ("--ssl-ciphers ECDHE", "--ssl-ciphers ECDHE: needs --ssl-certfile, too"),
        ("--ssl-cert-reqs 2", "--ssl-cert-reqs 2: needs --ssl-certfile, too"),
        ("--enable-ssl-refresh", "--enable-ssl-refresh True: needs --ssl-certfile, too"),
        ("--attention-backend xx", "--attention-backend xx: Unknown attention backend: 'XX'."),
        ("--block-size 7", "--block-size 7: must be a multiple of 32"),
        ("--block-size 48", "--block-size 48: must be a multiple of 32"),
        ("--lora-modules a=/nope", "--lora-modules a=/nope: needs --enable-lora, too"),
        ("--enable-lora --lora-modules a=/nope", "--lora-modules a=/nope: there is no adapter_config.json"),
        ("--speculative-config {}", "(of the flags --enforce-eager --dtype --port --speculative-config)"),
    ],
)
def test_a_wrong_flag_is_named(directory: Path, flags: str, message: str) -> None:
    port = () if "--port" in flags else ("--port", str(free_port()))
    assert message in start(directory, *port, *flags.split())


def test_a_tokenizer_of_the_hub_while_the_hub_is_not_asked(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container sets HF_HUB_OFFLINE, which the hub's client reads when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = start(directory, "--port", str(free_port()), "--tokenizer", "nope/nope")
    assert message.startswith("--tokenizer nope/nope: there is no such directory, and HF_HUB_OFFLINE keeps it from")
    assert "set HF_HUB_OFFLINE=0" in message


def test_a_template_that_cannot_be_compiled(directory: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{% for message in messages %}{{ message.content }}")
    message = start(directory, "--chat-template", str(template))
    assert message.startswith(f"--chat-template {template}: Unexpected end of template")


@pytest.mark.parametrize("content", ["no JSON", '{"version": 7}'])
def test_a_log_configuration_that_is_none(directory: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "log.json"
    file.write_text(content)
    assert "--log-config-file" in start(directory, "--log-config-file", str(file))


def test_a_port_in_use(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert start(directory, "--host", "127.0.0.1", "--port", str(port)) == (
            f"--port {port}: cannot listen there: Address already in use"
        )


def test_a_key_without_its_certificate_and_of_another(directory: Path, tmp_path: Path) -> None:
    key, other, certificate = (str(tmp_path / name) for name in ("key", "other", "certificate"))
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    subprocess.run([*make, "-keyout", other, "-out", str(tmp_path / "unused")], check=True, capture_output=True)
    assert start(directory, "--ssl-keyfile", key) == f"--ssl-keyfile {key}: needs --ssl-certfile, too"
    message = start(directory, "--ssl-keyfile", other, "--ssl-certfile", certificate)
    assert message.startswith(f"--ssl-certfile {certificate}: cannot be used: ")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (socket.gaierror(-2, "Name or service not known"), "--tool-server nope: Name or service not known"),
        (ConnectionRefusedError(111, "Connection refused"), "--tool-server nope: Connection refused"),
        (RuntimeError("Worker failed with error 'no room'"), "Worker failed with error 'no room'"),
        (ValueError("no backend called XX"), "--attention-backend xx: no backend called XX"),
        (ValueError("exxtra"), "exxtra"),
    ],
)
def test_a_value_names_its_flag_where_it_is_a_word_of_its_own(error: Exception, message: str) -> None:
    flags = Namespace(tool_server="nope", attention_backend="xx", uvicorn_log_level="error")
    assert explain(error, flags) == message


def test_an_error_of_no_words_has_its_name() -> None:
    assert explain(AssertionError(), Namespace()) == "AssertionError"

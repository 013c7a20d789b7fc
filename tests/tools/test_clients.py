"""`make clients` runs real clients against a real server; here, those that the tests' own environment has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server import MODEL, Server
from tools.clients.__main__ import STEPS, ask, main, served_model, table
from tools.clients.environments import ROOT, Client, InstallError, clients, prepare


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_client_takes_all_steps(server: Server, name: str, tmp_path: Path) -> None:
    model = served_model(server.address)
    assert model == MODEL
    outcome = ask(clients()[name].program(sys.executable, tmp_path), server.address, model)
    assert outcome == dict.fromkeys(STEPS)


def test_a_client_that_fails_says_in_which_step_and_why(server: Server, tmp_path: Path) -> None:
    outcome = ask(clients()["openai"].program(sys.executable, tmp_path), server.address, "another-model")
    assert all("another-model" in str(outcome[step]) for step in ("plain", "connected", "streamed"))
    lines = table({"openai": outcome}, {"openai": "3"}).splitlines()
    assert lines[1].split()[:3] == ["openai", "3", "FAILED"]
    assert lines[2].startswith("openai, plain: NotFoundError: ")


def test_a_program_that_does_not_start_fails_in_all_steps() -> None:
    outcome = ask([sys.executable, "-m", "tools.clients.programs.missing"], "", "")
    assert set(outcome) == set(STEPS)
    assert all("No module named" in str(problem) for problem in outcome.values())


def test_without_a_server_there_is_nothing_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", f"http://127.0.0.1:{free_port()}"]) == 2
    assert "does not answer as cc-serve does" in capsys.readouterr().err


def test_every_client_is_pinned_and_has_a_program() -> None:
    for client in clients().values():
        suffix = {"pip": "py", "npm": "mjs"}[client.installer]
        assert (ROOT / f"tools/clients/programs/{client.name}.{suffix}").is_file()
        assert client.version[0].isdigit()


def test_what_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallError, match="npm is not installed"):
        prepare(Client("openai_node", "npm", ("openai@7",)), tmp_path)

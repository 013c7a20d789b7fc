"""From measured harm to a plain answer: what `cc-train fit` measures decides how the server's router routes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cc_core.checkpoint import load_connection, save_connection
from cc_core.connection import Connection
from cc_core.names import GLOBAL
from cc_serve.routing.policy import RoutingPolicy
from cc_serve.routing.router import Router
from cc_train.commands.main import main
from tests.support.world import X, facts, row, save_base, write_rows

QUESTION = "Wo ist der nächste Bahnhof, bitte?"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers well in X, with a connection that nobody trained: adding anything harms it."""
    directory = save_base(tmp_path_factory.mktemp("world") / "base")
    decision = torch.zeros(4, 64)
    save_connection(directory, Connection(decision, {GLOBAL: torch.eye(64)}), [X])
    return directory


def fit(checkpoint: Path, output: Path, held_out: int) -> Path:
    known = [row(X, fact) for fact in facts("known")]
    data = write_rows(output.parent / "rows.jsonl", known[held_out:])
    held = write_rows(output.parent / "held.jsonl", known[:held_out])
    files = ("--data", str(data), "--eval-data", str(held), "--output", str(output))
    assert main(["fit", str(checkpoint), *files, "--use-cpu", "--disable-tqdm", "true"]) == 0
    return output


def test_a_connection_that_harms_is_measured_and_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = fit(checkpoint, tmp_path / "out", held_out=60)
    evidence = load_connection(output)[1].evidence
    assert evidence is not None
    gain = evidence.languages[X]
    assert gain.pairs == 60
    assert gain.high is not None
    assert gain.gain < gain.high < 0
    assert "the connection makes answers less likely" in " ".join(capsys.readouterr().err.split())
    router = Router.of(output)
    route = router.explain([QUESTION])
    assert (route.language, route.connection, route.rule) == (X, "off", "measured-harm")
    assert router.with_policy(RoutingPolicy(connect="always")).explain([QUESTION]).connection != "off"


def test_too_little_evidence_connects(checkpoint: Path, tmp_path: Path) -> None:
    router = Router.of(fit(checkpoint, tmp_path / "out", held_out=6))
    assert router.evidence is not None
    assert router.evidence.languages[X].low is None
    assert router.explain([QUESTION]).connection != "off"

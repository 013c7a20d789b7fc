"""What several kinds of tests share: the real base model, converted once, and one real server over a tiny one.

pytest-xdist's own process reads this file before it starts the others, so torch is imported in fixtures, not here.
"""

from __future__ import annotations

import gc
import io
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.paths import ROOT
from tests.support.shown import MARKER, Recorder
from tests.support.tally import TALLY, Tally

if TYPE_CHECKING:
    from tests.support.server import Server

# On a busy machine, any example may take longer than Hypothesis allows.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A test has one of these markers by where it stands, by what it asks for or by itself; without one, it is `fast`.
SLOW = {
    "base_model": "converts or trains the real base model",
    "browser": "uses the playground in Chromium",
    "e2e": "goes the whole road, from rows to answers",
    "engine": "runs vLLM's engine in its own process",
    "programs": "runs programs beside Python, or builds and runs what is shipped",
    "server": "asks a server that was started for it",
    "training": "trains, or fits what was trained",
}
FOLDERS = {
    "tests/benchmarks": "training",
    "tests/cc_serve/api/test_another_connection.py": "server",
    "tests/cc_serve/api/test_clients.py": "server",
    "tests/cc_serve/api/test_operations.py": "server",
    "tests/cc_serve/api/test_schema.py": "server",
    "tests/cc_serve/api/processes/test_failed_starts.py": "server",
    "tests/cc_serve/api/processes/test_two_processes.py": "server",
    "tests/cc_serve/api/tenants/test_check.py": "programs",
    "tests/cc_serve/api/tenants/test_shared.py": "programs",
    "tests/cc_serve/api/tenants/test_twins.py": "programs",
    "tests/cc_serve/api/tenants/test_two_servers.py": "programs",
    "tests/cc_serve/api/tenants/test_usage.py": "programs",
    "tests/cc_serve/api/test_server.py": "server",
    "tests/cc_serve/api/test_stock_vllm.py": "server",
    "tests/cc_serve/engine": "engine",
    "tests/cc_serve/playground": "browser",
    "tests/cc_train/commands/test_brought_files.py": "training",
    "tests/cc_train/commands/test_main.py": "training",
    "tests/cc_train/config/test_transformers_options.py": "training",
    "tests/cc_train/model/test_hub.py": "training",
    "tests/cc_train/model/test_language_model.py": "training",
    "tests/cc_train/model/test_router_loss.py": "training",
    "tests/cc_train/model/test_tuning.py": "training",
    "tests/cc_train/training": "training",
    "tests/deploy": "programs",
    "tests/docs/test_documented_commands.py": "server",
    "tests/docs/test_family_table.py": "programs",
    "tests/docs/test_site.py": "programs",
    "tests/e2e": "e2e",
    "tests/experiments": "training",
    "tests/loadtests/test_locust.py": "server",
    "tests/test_packaging.py": "programs",
    "tests/test_public_names.py": "training",
}
#: Files that take minutes.
LONGEST = (
    "tests/cc_train/training/test_distributed.py",
    "tests/cc_train/training/test_resume.py",
    "tests/e2e",
    "tests/cc_serve/api/test_contract.py",
    "tests/docs/test_documented_commands.py",
)
LOWEST = 10
FIXTURES = {"base_model": "base_model", "server": "server"}


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 270M as ``cc-train base`` makes it, never a copy that an earlier version of the code left behind."""
    from cc_train.model.base_models import DEFAULT, make_base

    directory = tmp_path_factory.mktemp("models") / DEFAULT
    assert make_base(DEFAULT, directory)
    return directory


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that can be served."""
    from tests.support.server import save_served_checkpoint

    return save_served_checkpoint(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="session")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over ``checkpoint``."""
    from tests.support.server import started

    with started(checkpoint, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Look for no garbage while tests are collected: what their imports make stays, and there is much of it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the files of slow tests where only the fast ones were asked for."""
    place = collection_path.relative_to(ROOT).as_posix()
    if config.getoption("markexpr") != "fast" or not place.startswith(tuple(FOLDERS)):
        return None
    files = collection_path.rglob("*.py") if collection_path.is_dir() else [collection_path]
    return not any("pytest.mark.fast" in file.read_text("utf-8") for file in files) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests, and let the files that take longest come first: at the end, no process should wait for another."""
    for item in items:
        place = item.path.relative_to(ROOT).as_posix()
        names = {marker for folder, marker in FOLDERS.items() if place.startswith(folder)}
        names |= {FIXTURES[name] for name in FIXTURES.keys() & set(getattr(item, "fixturenames", ()))}
        names |= SLOW.keys() & {marker.name for marker in item.iter_markers()}
        for name in names or {"fast"}:
            item.add_marker(name)
    items.sort(key=lambda item: not item.path.relative_to(ROOT).as_posix().startswith(LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    # The background job of a shell that is not interactive ignores SIGINT, and what it starts does, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "fast: needs none of what the other markers name")
    config.addinivalue_line(
        "markers", f"{MARKER}(column, family): is in the table of families; see tests/support/shown.py"
    )
    config.pluginmanager.register(Workers())
    config.pluginmanager.register(Recorder())
    for name, text in SLOW.items():
        config.addinivalue_line("markers", f"{name}: {text}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker of pytest-xdist compared to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = TALLY.counts()


class Workers:
    """Receives what the workers of pytest-xdist send at their end."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        TALLY.add(getattr(node, "workeroutput", {}).get("tally") or Tally().counts())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was compared with the reference, and with ``--cov`` the coverage and the files that have least."""
    TALLY.print_to(terminalreporter)
    if not config.getoption("cov_source", None):
        return
    from coverage import Coverage

    coverage = Coverage()
    coverage.load()
    text = io.StringIO()
    total = coverage.report(file=text, sort="cover", skip_covered=True)
    lowest = [line for line in text.getvalue().splitlines() if line.startswith("cc_")][:LOWEST]
    terminalreporter.section(f"coverage {total:.1f} %; the {len(lowest)} files with least")
    terminalreporter.write("\n".join([*lowest, ""]))

"""`make audit-vllm` with a wheel of two files, which pip takes from a folder: nothing is downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tools.audit_vllm import Outcome, audit, fetch, main, show

VERSION = "0.99.0"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's world."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"vllm-{VERSION}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("vllm/__init__.py", f'__version__ = "{VERSION}"\n')
        wheel.writestr("vllm/new_home.py", "def cli_env_setup():\n    pass\n")
        wheel.writestr("vllm/_C.abi3.so", b"\x7fELF")
        wheel.writestr(f"vllm-{VERSION}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}\n")
        wheel.writestr(f"vllm-{VERSION}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"vllm-{VERSION}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_only_python_files_are_unpacked_and_once(wheels: Path, tmp_path: Path) -> None:
    directory = fetch(VERSION, tmp_path / "release")
    assert sorted(path.name for path in directory.rglob("*") if path.is_file()) == ["__init__.py", "new_home.py"]
    (wheels / f"vllm-{VERSION}-py3-none-any.whl").unlink()
    assert fetch(VERSION, directory) == directory


def test_what_the_release_moved_is_a_line_each(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([VERSION, "--tools", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith(f"moved          vllm {VERSION}: vllm.entrypoints.")
        and ":cli_env_setup is gone; now in vllm.new_home (used in cc_serve/api/" in line
        for line in lines
    )
    assert lines[-1].startswith(f"vLLM {VERSION}: ")
    assert all(line.startswith(("moved ", "not looked at ")) for line in lines[:-1])


def test_a_release_that_cannot_be_imported_is_not_said_to_have_moved(wheels: Path, tmp_path: Path) -> None:
    directory = fetch(VERSION, tmp_path / "release")
    (directory / "vllm" / "__init__.py").write_text("import a_compiled_part_that_is_not_there\n")
    outcome = audit(directory)
    assert outcome.moved == []
    assert "cannot be looked at (ModuleNotFoundError: No module named 'a_compiled_part" in outcome.not_looked_at[0]


def test_nothing_moved_is_one_line() -> None:
    assert show(VERSION, Outcome(12, [], [])) == "vLLM 0.99.0: 12 checks, 0 moved, 0 could not be looked at"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give a release of vLLM: make audit-vllm VERSION=0.33.0"),
        (["new"], "'new' is no version; give a release of vLLM: make audit-vllm VERSION=0.33.0"),
        (["0.98.0"], "vLLM has no release 0.98.0 with a wheel for this Python; the newest are 0.99.0"),
    ],
)
def test_what_cannot_be_audited_is_one_line(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert main([*arguments, "--tools", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"audit-vllm: {line}\n"


def test_no_network_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert main([VERSION, "--tools", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "audit-vllm: pip finds no release of vLLM at all: connect to the package index, or unpack the wheel into "
        f"{tmp_path}/vllm-{VERSION} yourself\n"
    )

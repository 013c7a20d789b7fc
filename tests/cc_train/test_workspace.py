"""The output appears whole, in its place only, and nothing of anyone else's is cleared away for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_train.workspace import OutputError, Workspace, unfinished_checkpoints


def contents(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def test_checkpoints_of_an_unfinished_run_are_not_thrown_away(tmp_path: Path) -> None:
    unfinished = tmp_path / ".out.cc-train-partial" / "checkpoint-10"
    unfinished.mkdir(parents=True)
    unfinished.with_name("checkpoint-9").mkdir()
    assert unfinished_checkpoints(tmp_path / "out")[-1] == unfinished
    with pytest.raises(OutputError, match=r"pass --resume-from-checkpoint .*/checkpoint-10 to go on, or --overwrite"):
        Workspace(tmp_path / "out")
    Workspace(tmp_path / "out", keep=str(unfinished)).open()
    assert unfinished.exists()
    Workspace(tmp_path / "out", overwrite=True).open()
    assert not unfinished.exists()


@pytest.mark.parametrize("output", [".", "/", "..", "../here", "../here/x/.."])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_current_directory_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, overwrite: bool
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(OutputError, match="the current directory is in it; name another directory"):
        Workspace(Path(output), overwrite=overwrite)
    assert list(tmp_path.iterdir()) == [here]


@pytest.mark.parametrize("name", ["out.partial", "out.replaced"])
def test_neighbours_of_similar_names_are_left_alone(tmp_path: Path, name: str) -> None:
    neighbour, output = tmp_path / name, tmp_path / "out"
    for directory in (neighbour, output):
        directory.mkdir()
        (directory / "note").write_text("old")
    workspace = Workspace(output, overwrite=True)
    (workspace.open() / "note").write_text("new")
    assert workspace.publish() == output
    assert contents(tmp_path) == {"out/note": "new", f"{name}/note": "old"}


def test_another_user_may_read_what_a_library_wrote_for_its_own_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    inner = workspace.open() / "training"
    inner.mkdir()
    (inner / "weights").touch(mode=0o600)
    (plain := tmp_path / "plain").touch()
    assert (workspace.publish() / "training" / "weights").stat().st_mode == plain.stat().st_mode


def test_an_output_is_named_from_where_the_run_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    for given, place in (("a/b", "a/b"), ("./x/../c", "c"), ("link", "elsewhere")):
        workspace = Workspace(Path(given))
        (workspace.open() / "note").write_text(given)
        assert workspace.publish() == Path(given)
        assert (tmp_path / place / "note").read_text() == given
    assert not list(tmp_path.rglob(".*")), "nothing is left beside it"


def test_an_output_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: is a file"):
        Workspace(tmp_path / "file")
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(Not a directory\)"):
        Workspace(tmp_path / "file" / "out").open()


def test_a_mount_point_is_no_output() -> None:
    """Nothing can be renamed to one, which would come out after the training."""
    with pytest.raises(OutputError, match="--output /proc: is a mount point; name a directory in it"):
        Workspace(Path("/proc"), overwrite=True)


def test_what_is_finished_outlives_a_place_that_it_cannot_be_moved_to(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    (workspace.open() / "model").write_text("trained")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note").write_text("of somebody who came first")
    (tmp_path / ".out.cc-train-replaced").write_text("")  # a file: what is there cannot be moved aside
    with pytest.raises(OutputError) as told, workspace.writing():
        workspace.publish()
    assert f"it is whole in {workspace.directory}" in str(told.value)
    assert (workspace.directory / "model").read_text() == "trained"

"""The checkpoint contract: what is written is read back, and whatever is wrong is named by file and field."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from cc_core.checkpoint import CheckpointError, PlainModelError, load_connection, save_connection
from cc_core.description import read_description
from cc_core.names import CONFIG_FILE, CONNECTION_FILE, INDEX_FILE
from tests.support.tiny import HIDDEN, LAYERS, random_connection, save_checkpoint, tiny_gemma3, tiny_llama

DECISION, GLOBAL, GERMAN = "cc.decision.weight", "cc.transform.global", "cc.transform.de"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint") / "llama"
    return save_checkpoint(directory, tiny_llama(), random_connection(["global", "de"]), ["de", "fr"])


@pytest.fixture
def checkpoint(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "copy"))


def edit_config(directory: Path, change: Callable[[dict], object]) -> None:
    path = directory / CONFIG_FILE
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors and the digest with them, so that only the tensors themselves are wrong."""
    path = directory / CONNECTION_FILE
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_config(directory, lambda c: c["cc_connection"].update(sha256=digest))


def assert_refused(checkpoint: Path, file: str, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_connection(checkpoint)
    assert str(checkpoint / file) in str(caught.value)
    assert message in str(caught.value)
    if "holds NaN" not in message:  # a description reads no matrix; it refuses all else in the same words
        with pytest.raises(CheckpointError) as described:
            read_description(checkpoint)
        assert str(described.value) == str(caught.value)


def test_what_is_saved_is_loaded(checkpoint: Path) -> None:
    saved = random_connection(["global", "de"])
    loaded, entry = load_connection(checkpoint)
    assert loaded.names == ("global", "de")
    assert torch.equal(loaded.decision, saved.decision)
    for name in loaded.names:
        assert torch.equal(loaded.transforms[name], saved.transforms[name])
    assert (entry.version, entry.anchor_offset, entry.languages) == (1, -1, ("de", "fr"))


@pytest.mark.parametrize("make", [tiny_llama, tiny_gemma3])
def test_it_stays_an_ordinary_checkpoint(make: Callable, tmp_path: Path) -> None:
    model = make()
    save_checkpoint(tmp_path, model, random_connection(["global"]), ["de"])
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["architectures"] == ["CC" + type(model).__name__]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 5, 9, 7]])
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_details_are_kept_and_never_obeyed(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path)
    save_connection(tmp_path, random_connection(["global"]), ["de"], {"version": 9, "sha256": "x", "note": "kept"})
    _, entry = load_connection(tmp_path)
    assert entry.version == 1
    assert (entry.model_extra or {})["note"] == "kept"


def test_other_anchor_offsets_survive(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_llama(), random_connection(["global"], anchor_offset=-2), ["de"])
    connection, entry = load_connection(tmp_path)
    assert connection.anchor_offset == entry.anchor_offset == -2


def test_a_sharded_checkpoints_index_names_the_connection(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path, max_shard_size="200KB")
    save_connection(tmp_path, random_connection(["global"]), ["de"])
    weights = json.loads((tmp_path / INDEX_FILE).read_text())["weight_map"]
    assert weights[DECISION] == weights[GLOBAL] == CONNECTION_FILE
    AutoModelForCausalLM.from_pretrained(tmp_path)


def test_saving_again_gives_the_same_bytes(checkpoint: Path) -> None:
    before = {p.name: p.read_bytes() for p in checkpoint.iterdir()}
    save_connection(checkpoint, random_connection(["global", "de"]), ["de", "fr"])
    assert {p.name: p.read_bytes() for p in checkpoint.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(DECISION), f"tensor '{DECISION}' is missing"),
        (lambda t: t.pop(GLOBAL), f"tensor '{GLOBAL}' is missing"),
        (lambda t: t[GERMAN][3].fill_(torch.nan), f"tensor '{GERMAN}' holds NaN"),
        (lambda t: t[DECISION][0].fill_(torch.inf), f"tensor '{DECISION}' holds NaN or infinite"),
        (lambda t: t.update({DECISION: torch.zeros(LAYERS + 1, HIDDEN)}), f"tensor '{DECISION}' has shape [5, 64]"),
        (lambda t: t.update({GLOBAL: torch.zeros(HIDDEN, 3)}), f"tensor '{GLOBAL}' has shape [64, 3]"),
        (lambda t: t.update({GLOBAL: t[GLOBAL].half()}), f"tensor '{GLOBAL}' is torch.float16"),
        (lambda t: t.update({"cc.transform.german": t[GLOBAL].clone()}), "tensor 'cc.transform.german' is not part"),
        (lambda t: t.update({"model.norm": torch.zeros(1)}), "tensor 'model.norm' is not part"),
    ],
)
def test_wrong_tensors_are_named(checkpoint: Path, change: Callable, message: str) -> None:
    edit_tensors(checkpoint, change)
    assert_refused(checkpoint, CONNECTION_FILE, message)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda c: c["cc_connection"].update(version=2), "cc_connection.version"),
        (lambda c: c["cc_connection"].update(version=True), "cc_connection.version"),
        (lambda c: c["cc_connection"].update(version=1.0), "cc_connection.version"),
        (lambda c: c["cc_connection"].update(version="1"), "cc_connection.version"),
        (lambda c: c["cc_connection"].pop("version"), "cc_connection.version"),
        (lambda c: c["cc_connection"].pop("sha256"), "cc_connection.sha256"),
        (lambda c: c["cc_connection"].update(sha256="abc"), "cc_connection.sha256"),
        (lambda c: c["cc_connection"].update(anchor_offset=0), "cc_connection.anchor_offset"),
        (lambda c: c["cc_connection"].update(anchor_offset=-1.0), "cc_connection.anchor_offset"),
        (lambda c: c["cc_connection"].update(anchor_offset="-1"), "cc_connection.anchor_offset"),
        (lambda c: c["cc_connection"].update(anchor_offset=True), "cc_connection.anchor_offset"),
        (lambda c: c["cc_connection"].pop("anchor_offset"), "cc_connection.anchor_offset"),
        (lambda c: c["cc_connection"].update(languages=["german"]), "cc_connection.languages"),
        (lambda c: c["cc_connection"].pop("languages"), "cc_connection.languages"),
        (lambda c: c.update(cc_connection="yes"), "cc_connection"),
        (lambda c: c.update(architectures=["LlamaForCausalLM"]), "architectures"),
        (lambda c: c.update(architectures=["CCExaone5ForCausalLM"]), "nearest supported one is Exaone4ForCausalLM"),
        (lambda c: c.update(architectures=["CCGPT2LMHeadModel"]), "docs/how-to/family.md"),
        (lambda c: c.pop("architectures"), "field 'architectures'"),
        (lambda c: c.update(architectures=5), "field 'architectures'"),
        (lambda c: c.update(architectures=[5]), "field 'architectures'"),
        (lambda c: c.update(architectures=[]), "field 'architectures'"),
        (lambda c: c.update(architectures="CCLlamaForCausalLM"), "field 'architectures'"),
        (lambda c: c.pop("hidden_size"), "field 'hidden_size'"),
        (lambda c: c.update(hidden_size="64"), "field 'hidden_size'"),
        (lambda c: c.update(hidden_size=True), "field 'hidden_size'"),
        (lambda c: c.pop("num_hidden_layers"), "field 'num_hidden_layers'"),
        (lambda c: c.update(num_hidden_layers=4.0), "field 'num_hidden_layers'"),
        (lambda c: c.update(num_hidden_layers=0), "field 'num_hidden_layers'"),
    ],
)
def test_wrong_configurations_are_named(checkpoint: Path, change: Callable, field: str) -> None:
    edit_config(checkpoint, change)
    assert_refused(checkpoint, CONFIG_FILE, field)


@pytest.mark.parametrize("field", ["architectures", "hidden_size", "num_hidden_layers"])
def test_a_connection_is_not_written_beside_a_wrong_configuration(tmp_path: Path, field: str) -> None:
    tiny_llama().save_pretrained(tmp_path)
    edit_config(tmp_path, lambda c: c.pop(field))
    with pytest.raises(CheckpointError, match=rf"config\.json: field '{field}' must be"):
        save_connection(tmp_path, random_connection(["global"]), ["de"])
    assert not (tmp_path / CONNECTION_FILE).exists()


def test_a_plain_model_is_told_apart(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path)
    with pytest.raises(PlainModelError, match=r"config\.json: not a CC-Tuned checkpoint .*'cc_connection'.*cc-train"):
        load_connection(tmp_path)


def test_a_missing_connection_file_is_named(checkpoint: Path) -> None:
    (checkpoint / CONNECTION_FILE).unlink()
    with pytest.raises(CheckpointError, match=rf"{CONNECTION_FILE}: cannot be read \(No such file"):
        load_connection(checkpoint)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_connection_file_is_named(checkpoint: Path, keep: int) -> None:
    path = checkpoint / CONNECTION_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=rf"{CONNECTION_FILE}: is truncated"):
        load_connection(checkpoint)


def test_a_changed_file_is_told_by_its_digest(checkpoint: Path) -> None:
    path = checkpoint / CONNECTION_FILE
    payload = bytearray(path.read_bytes())
    payload[-1] ^= 1
    path.write_bytes(payload)
    with pytest.raises(CheckpointError, match=rf"{CONNECTION_FILE}: sha256 is .*cc_connection\.sha256"):
        load_connection(checkpoint)


@pytest.mark.parametrize(("content", "problem"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
def test_a_broken_config_is_named(checkpoint: Path, content: str, problem: str) -> None:
    (checkpoint / CONFIG_FILE).write_text(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: {problem}"):
        load_connection(checkpoint)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_connection(tmp_path)


def test_a_bad_connection_is_never_written(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path)
    before = (tmp_path / CONFIG_FILE).read_bytes()
    connection = random_connection(["global"])
    with torch.no_grad():
        connection.decision[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="NaN"):
        save_connection(tmp_path, connection, ["de"])
    assert (tmp_path / CONFIG_FILE).read_bytes() == before
    assert not (tmp_path / CONNECTION_FILE).exists()

"""A connection follows its model through quantisation.

Tools that quantise read a checkpoint as the plain model and leave the connection's file behind. But they copy the
connection's entry in ``config.json``, and this entry tells from which checkpoint the weights were made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from cc_core.checkpoint import load_connection
from cc_core.experts import refuse_skipped_experts
from cc_core.files import CheckpointError, read_json
from cc_core.names import COMPRESSED_TENSORS, CONFIG_FILE, CONNECTION_KEY, INDEX_FILE, QUANTIZATION
from cc_core.quantization import Quantization, quantization_in, quantization_of
from cc_train.config.tuning import ADAPTER_DIRECTORY
from cc_train.model.standalone import put_connection
from cc_train.workspace import Workspace


def is_quantized(directory: Path) -> bool:
    """Whether the model there is quantised; raises `CheckpointError` if its ``config.json`` does not say it well."""
    return quantization_of(directory) is not None


def attach_to_quantized(model: Path, checkpoint: Path, output: Path, *, overwrite: bool = False) -> Path:
    """Copy a quantised model to ``output`` with the connection of the checkpoint that it was made from.

    Raises:
        CheckpointError: one of them cannot be read or used, or the model was made from something else.
        OutputError: ``output`` cannot be written, or something is there.
    """
    connection, entry = load_connection(checkpoint)
    if (checkpoint / ADAPTER_DIRECTORY).is_dir():
        raise CheckpointError(
            checkpoint / ADAPTER_DIRECTORY,
            "is not merged into the weights, and so it is not in the quantised ones; train with --lora-merge true",
        )
    path = model / CONFIG_FILE
    config = read_json(path)
    quantization = quantization_in(path, config) or Quantization()
    if (method := quantization.quant_method) != COMPRESSED_TENSORS:
        raise CheckpointError(
            path, f"field '{QUANTIZATION}.quant_method' is {method!r}; quantise with {COMPRESSED_TENSORS}"
        )
    if quantization.transform_config:
        raise CheckpointError(
            path,
            f"field '{QUANTIZATION}.transform_config': the model's activations were rotated, and the connection's "
            "matrices are for those that were not; quantise without transforms",
        )
    stored = config.get(CONNECTION_KEY)
    made_from = stored.get("sha256") if isinstance(stored, dict) else None
    if made_from != entry.sha256:
        raise CheckpointError(
            path,
            f"field '{CONNECTION_KEY}.sha256' is {made_from}, that of {checkpoint} is {entry.sha256}: the model was "
            f"not quantised from this checkpoint, or before its matrices were fitted; quantise {checkpoint}",
        )
    refuse_skipped_experts(model, config)
    workspace = Workspace(output, overwrite=overwrite)
    directory = workspace.open()
    with workspace.writing():
        _copy(model.iterdir(), directory)
        # The tool may have left out the tokenizer, template and records, or written them anew.
        own = (CONFIG_FILE, INDEX_FILE)
        _copy((p for p in checkpoint.iterdir() if p.name not in own and p.suffix != ".safetensors"), directory)
        put_connection(checkpoint, connection, entry, directory)
        return workspace.publish()


def _copy(files: Iterable[Path], target: Path) -> None:
    for path in files:
        if path.is_file():
            shutil.copyfile(path, target / path.name)

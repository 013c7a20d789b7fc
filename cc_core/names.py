"""Names that training and serving share. Nothing here loads torch, so that routing starts at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: The connection leads to English, so English itself is served plain.
ENGLISH: Final = "en"

#: The Transform Matrix for languages without their own.
GLOBAL: Final = "global"
#: No connection: the plain tuned model answers.
OFF: Final = "off"
#: The connection of the prompt's own language.
AUTO: Final = "auto"

#: The entry of a checkpoint's ``config.json`` that describes its connection.
CONNECTION_KEY: Final = "cc_connection"

# What cc-serve and `cc-train eval --endpoint` say to each other; `cc_serve.payloads` has what stays in the server.
#: A request's field: the connection or language that the client wants. Absent, null or ``auto``, routing chooses.
OVERRIDE_FIELD: Final = "cc_connection"
#: A field of each model in ``/v1/models``: what the checkpoint's connection can do.
CARD_FIELD: Final = "cc_connection"
#: The header of an answer that names the connection it was given.
CONNECTION_HEADER: Final = "X-CC-Connection"

CONFIG_FILE: Final = "config.json"
#: A field of a quantised model's ``config.json``.
QUANTIZATION: Final = "quantization_config"
#: The one kind of quantisation that a connection was tried with.
COMPRESSED_TENSORS: Final = "compressed-tensors"
#: Says which file holds which tensor of a model that has several files.
INDEX_FILE: Final = "model.safetensors.index.json"
#: A model's own weights; the connection's file is not among them.
WEIGHTS: Final = "model*.safetensors"
CONNECTION_FILE: Final = "cc_connection.safetensors"
#: How the Transform Matrices were fitted, and their scores on held-out pairs.
FIT_FILE: Final = "cc_fit.json"

#: The most that a connection's vector is multiplied by; 1 is what it was trained for.
MAX_STRENGTH: Final = 2.0


def matrix_for(language: str, transforms: Collection[str]) -> str:
    """Name the Transform Matrix for ``language``: its own, else the global one. English gets none, which is ``off``.

    Args:
        language: ISO 639-1; the checkpoint was trained for it.
        transforms: names of the checkpoint's Transform Matrices.
    """
    if language == ENGLISH:
        return OFF
    if language in transforms:
        return language
    return GLOBAL if GLOBAL in transforms else OFF


def is_strength(value: object) -> bool:
    """Whether ``value`` is a number from 0 to `MAX_STRENGTH`, and no bool and no NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_STRENGTH

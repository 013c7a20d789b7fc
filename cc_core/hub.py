"""Models that are named by their id on the Hugging Face hub, such as ``google/gemma-3-4b-it``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cc_core.terminal.text import one_line

#: ``OWNER/NAME``, and a branch, tag or commit if ``@`` follows.
_ID: Final = re.compile(r"(?P<id>[\w-][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# What a model is: its weights as safetensors, its tokenizer and template, its card, and its licence.
_FILES: Final = (
    *("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt", "*.md"),
    *("*[Ll][Ii][Cc][Ee][Nn]*", "*[Nn][Oo][Tt][Ii][Cc][Ee]*", "*TERMS*", "*USE_POLICY*"),
)
# The same weights again, in Mistral's own format.
_SECOND: Final = "consolidated*"


class UnknownModelError(ValueError):
    """The name is no directory, and the hub gave no such model; the message says why."""


def local_directory(name: str | Path) -> Path:
    """The directory of a model: ``name`` itself, or where the hub's client keeps what it downloads.

    Args:
        name: a directory, or the id of a model on the hub.

    Raises:
        UnknownModelError: it is neither, or the hub cannot be reached.
    """
    path = Path(name)
    found = _ID.fullmatch(str(name))
    if path.exists() or found is None:
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                found["id"], revision=found["revision"], allow_patterns=list(_FILES), ignore_patterns=[_SECOND]
            )
        )
    except Exception as error:  # whatever the client, the connection and the hub raise
        raise UnknownModelError(
            f"{name}: there is no such directory, and the hub gave no such model ({one_line(error)[:300]}); "
            "name a directory, or the id of a model that you may read"
        ) from error


def shown_name(name: str | Path) -> str:
    """What to call a model: the last part of a directory's path, or its id on the hub."""
    path = Path(name)
    return path.name if path.exists() or _ID.fullmatch(str(name)) is None else str(name)

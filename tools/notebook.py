"""Run the notebook and keep its outputs (`make notebook`), and turn it into a page of the documentation."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

PATH: Final = Path("docs/notebooks/cc_tuning.ipynb")
#: The environment variable that names another base model.
BASE: Final = "CC_BASE_MODEL"
SECONDS: Final = 1800
_nbformat: Any = nbformat  # whose functions have no types


def execute(path: Path, directory: Path) -> Any:
    """The notebook with its outputs, run in ``directory``; raises `nbclient.exceptions.CellExecutionError`."""
    notebook = _nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(directory)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    return notebook


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """The notebook as Markdown, and its pictures by file name."""
    lines: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in _nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            lines += [cell.source, ""]
            continue
        lines += ["```python", cell.source, "```", ""]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures)}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                lines += [f"![Plot]({name})", ""]
            elif text := output.get("text") or data.get("text/plain"):
                lines += ["```text", text.rstrip(), "```", ""]
    return "\n".join(lines), pictures


def main() -> None:
    """Run it in the present directory and write it back."""
    logging.basicConfig(level=logging.ERROR)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    notebook = execute(PATH, Path.cwd())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, which differ by run
    _nbformat.write(notebook, PATH)
    print(f"{PATH}: run, outputs kept")


if __name__ == "__main__":
    main()

"""A hook of MkDocs: it generates the pages of the reference and of the notebook while the documentation is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tools import family_table, notebook, reference

OPENAPI = "reference/openapi.json"
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": reference.commands,
    "reference/recipe.md": reference.recipe,
    "reference/transformers.md": reference.transformers_options,
    "reference/configuration.md": reference.configuration,
    "reference/metrics.md": reference.metrics,
    "reference/checkpoint.md": reference.checkpoint,
    "reference/families.md": family_table.families,
    "reference/python.md": reference.python,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    description = reference.openapi()
    generated: dict[str, Any] = {path: page() for path, page in PAGES.items()}
    generated["reference/http.md"] = reference.http(description)
    generated[OPENAPI] = json.dumps(description, indent=1)
    text, pictures = notebook.page(notebook.PATH)
    generated["notebooks/cc_tuning.md"] = text
    generated |= {f"notebooks/{name}": picture for name, picture in pictures.items()}
    for path, content in generated.items():
        files.append(File.generated(config, path, content=content))
    return files

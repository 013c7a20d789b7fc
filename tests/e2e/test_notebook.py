"""The notebook runs from its first cell to its last, with a tiny base model. `make notebook` takes the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny import tiny_llama
from tests.support.tiny_tokenizer import save_base
from tools import notebook

ROOT = Path(notebook.__file__).parents[1]


def test_it_trains_serves_and_compares(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(notebook.BASE, str(save_base(tmp_path / "base", tiny_llama())))
    # Short: the paths of vLLM's sockets may have 107 characters.
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("nb")))
    cells = notebook.execute(ROOT / notebook.PATH, ROOT).cells
    outputs = ["".join(output.get("text", "") for output in cell.get("outputs", [])) for cell in cells]
    assert any(text.startswith("200 pairs") for text in outputs)
    compared = outputs[-2].splitlines()
    assert [line.split()[:2] for line in compared if line.startswith("  ")] == [
        *(["de,", "global"], ["de,", "off"], ["es,", "global"], ["es,", "off"], ["en,", "off"], ["en,", "off"]),
    ]
    pictures = [o for cell in cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def test_its_page_has_every_cell_and_picture() -> None:
    text, pictures = notebook.page(ROOT / notebook.PATH)
    assert "# CC-Tuning in a notebook" in text
    assert "```python\nfrom cc_train import train" in text
    assert all(f"]({name})" in text for name in pictures)

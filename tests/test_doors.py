"""The doors of the house: who imports vLLM, and that the two halves do not import each other, not even by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("cc_core", "cc_serve", "cc_train")
#: By package, what it must not name.
FORBIDDEN = {"cc_core": ("cc_serve", "cc_train"), "cc_serve": ("cc_train",), "cc_train": ("cc_serve",)}
#: Types for the signatures of a public function, under TYPE_CHECKING.
TYPES_ONLY = Path("cc_serve/offline.py")
#: It asks whether vLLM can be imported, by `importlib`, and uses nothing of it.
ASKS_ONLY = Path("cc_serve/commands/checks.py")

FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(tree: ast.AST, typing: bool = False) -> Iterator[tuple[int, str, bool]]:
    """Line and module of each import wherever it stands, and whether only type checkers see it.

    The modules that `importlib` is given by name count too.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or "", typing
        elif isinstance(node, ast.Call) and (module := _imported_by_name(node)):
            yield node.lineno, module, typing
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for part in node.body:
                yield from imports(ast.Module([part], []), typing=True)
            for part in node.orelse:
                yield from imports(ast.Module([part], []), typing)
        else:
            yield from imports(node, typing)


def _imported_by_name(call: ast.Call) -> str | None:
    given = call.args[0] if call.args else None
    imports = ast.unparse(call.func) in ("importlib.import_module", "import_module")
    return str(given.value) if imports and isinstance(given, ast.Constant) else None


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each string that is not a docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented)]
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def named(text: str, package: str) -> bool:
    """Whether ``text`` is a package, one of its modules, or a path into it."""
    return text == package or text.startswith((f"{package}.", f"{package}/", f"{package}:"))


def problems(path: Path, source: str) -> list[str]:
    """What a file imports that it must not, a line each."""
    tree = ast.parse(source)
    found = []
    for line, module, typing in imports(tree):
        if not named(module, "vllm") or path.is_relative_to("cc_serve/engine") or path == Path("cc_serve/api/vllm.py"):
            continue
        if (path == TYPES_ONLY and typing) or path == ASKS_ONLY:
            continue
        found.append(f"{path}:{line} imports vllm; only cc_serve/engine and cc_serve/api/vllm.py may")
    for other in FORBIDDEN[path.parts[0]]:
        found += [f"{path}:{line} imports {other}" for line, module, _ in imports(tree) if named(module, other)]
        found += [f"{path}:{line} names {text!r} of {other}" for line, text in strings(tree) if named(text, other)]
    return list(dict.fromkeys(found))


def test_no_file_goes_around_a_door() -> None:
    found = [problem for path in FILES for problem in problems(path, (ROOT / path).read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "line"),
    [
        ("cc_serve/routing/a.py", "import vllm", 1),
        ("cc_train/a.py", "def f():\n    from vllm.config import VllmConfig", 2),
        ("cc_serve/api/a.py", "if TYPE_CHECKING:\n    from vllm import LLM", 2),
        ("cc_core/a.py", "import importlib\nimportlib.import_module('vllm.config')", 2),
        ("cc_serve/offline.py", "import vllm\nif TYPE_CHECKING:\n    from vllm import LLM", 1),
    ],
)
def test_an_import_of_vllm_is_told_with_its_line(path: str, source: str, line: int) -> None:
    told = f"{path}:{line} imports vllm; only cc_serve/engine and cc_serve/api/vllm.py may"
    assert problems(Path(path), source) == [told]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cc_core/a.py", "from cc_serve.routing.router import Router"),
        ("cc_serve/a.py", "def f():\n    import cc_train.data.rows"),
        ("cc_serve/a.py", "resources.files('cc_train') / 'data/sample.jsonl'"),
        ("cc_train/a.py", "CLASS = 'cc_serve.engine.worker.Worker'"),
    ],
)
def test_an_import_across_the_doors_is_told(path: str, source: str) -> None:
    assert problems(Path(path), source)


def test_what_may_be_imported_is_not_told() -> None:
    assert not problems(Path("cc_serve/engine/a.py"), "from vllm.config import VllmConfig")
    assert not problems(
        Path("cc_serve/api/a.py"), '"""As `cc_train.data` has it."""\nfrom cc_serve.api.vllm import envs'
    )
    assert not problems(Path("cc_serve/offline.py"), "if TYPE_CHECKING:\n    from vllm import LLM")

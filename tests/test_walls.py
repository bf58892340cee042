"""The rooms import downwards only, and each wall is shown to stop who climbs it.

The contracts stand in pyproject.toml, where `make lint` reads them as well. What
a graph of imports cannot see (an attribute, what is loaded at run time) is
checked here.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "celltally"

TORCH_FREE = (
    "celltally",
    "celltally.cli",
    "celltally.density",
    "celltally.diameter",
    "celltally.errors",
    "celltally.evaluate.agreement",
    "celltally.intervals",
    "celltally.io",
    "celltally.learn.data",
    "celltally.preprocess",
    "celltally.progress",
    "celltally.published",
    "celltally.record",
    "celltally.tiling",
    "celltally.types",
    "celltally.zoo",
)
HEADLESS = (
    "celltally.batch",
    "celltally.cli",
    "celltally.evaluate",
    "celltally.explain.saliency",
    "celltally.learn",
    "celltally.predict",
)
TORCH = {"torch", "torchvision", "lightning"}
WINDOW = {"napari", "magicgui", "qtpy", "superqt", "PyQt5", "PyQt6", "PySide6"}


def check_contracts(source: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run the contracts of pyproject.toml on the package below ``source``."""
    chosen = [part for contract in contracts for part in ("--contract", contract)]
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("lint-imports")),
            *("--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo", *chosen),
        ],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def first_to_load(packages: set[str], modules: tuple[str, ...]) -> str:
    """Import modules one by one in a fresh interpreter; say which first brought a package in."""
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    found = {packages!r} & {{name.partition('.')[0] for name in sys.modules}}\n"
        "    if found:\n"
        "        sys.exit(f'{module} loads {sorted(found)}')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return run.stderr.strip()


def unpicklings(tree: ast.AST) -> list[int]:
    """Lines that load (or could load) a pickle through torch or numpy."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
                lines.append(node.lineno)
            case ast.ImportFrom(module="torch", names=names) if {"load", "save"} & {
                alias.name for alias in names
            }:
                lines.append(node.lineno)
            case ast.keyword(arg="allow_pickle", value=value) if not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                lines.append(value.lineno)
    return lines


def test_every_contract_is_kept():
    result = check_contracts(PACKAGE.parent)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("layers", "networks/tally.py", "import celltally.predict"),
        ("layers", "networks/base.py", "from celltally.learn import fit"),
        ("layers", "predict.py", "import celltally.explain"),
        ("layers", "explain/saliency.py", "from celltally.learn import fit"),
        ("layers", "io/images.py", "from celltally import zoo"),
        ("layers", "types.py", "def late():\n    from celltally.io import read_image"),
        ("layers", "unplaced.py", ""),
        ("window", "predict.py", "import napari"),
        ("window", "density/maps.py", "from qtpy.QtCore import QTimer"),
        ("window", "cli/__init__.py", "def late():\n    import magicgui"),
        ("demo", "batch/run.py", "from celltally._napari import jobs"),
        ("faces", "_napari/jobs.py", "import celltally.cli"),
        ("torch-free", "intervals/of.py", "import torch"),
        ("torch-free", "io/images.py", "from torchvision.io import read_image"),
        ("pickle", "model.py", "import pickle"),
    ],
)
def test_each_contract_catches_its_violation(tmp_path, contract, module, line):
    tree = tmp_path / "celltally"
    shutil.copytree(PACKAGE, tree, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.tif"))
    culprit = tree / module
    culprit.touch()
    culprit.write_text(f"{culprit.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")

    result = check_contracts(tmp_path, contract)

    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout, result.stdout + result.stderr


def test_no_weights_are_unpickled():
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = unpicklings(ast.parse(path.read_text(encoding="utf-8")))
        assert not lines, f"{path.relative_to(ROOT)}:{lines} reads or writes a pickle"


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path)",
        "torch.save(state, path)",
        "from torch import load",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_unpickling_is_seen(code):
    assert unpicklings(ast.parse(code)) == [1]


@pytest.mark.parametrize("code", ["safetensors.torch.load_file(path)", "json.load(stream)"])
def test_other_loading_is_not_taken_for_it(code):
    assert unpicklings(ast.parse(code)) == []


def test_rooms_without_torch_load_neither_torch_nor_a_window():
    assert first_to_load(TORCH | WINDOW, TORCH_FREE) == ""


def test_headless_rooms_load_no_window():
    assert first_to_load(WINDOW, HEADLESS) == ""


def test_what_is_loaded_is_seen():
    assert first_to_load({"email"}, ("json", "email.message")) == "email.message loads ['email']"


def test_the_architecture_explains_every_dependency_and_room():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = project["dependencies"] + extras["napari"] + extras["formats"] + extras["dev"]
    names = {re.split(r"[\[<>=]", entry)[0] for entry in required}
    rooms = {path.name for path in PACKAGE.glob("[!_]*.py")}
    rooms |= {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[\w./-]+", text))
    assert sorted((names | rooms) - {word.rstrip(".") for word in words}) == []

"""What a user installs holds all that the program needs, the models included."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the source distribution and the wheel that was built *from it*, offline."""
    folder = tmp_path_factory.mktemp("dist")
    result = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("celltally-*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_from(folder: Path, code: str) -> str:
    """Run ``code`` with the unpacked wheel first on the path, for a user with no models."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "XDG_DATA_HOME": str(folder / "nobody")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "name",
    [
        "celltally/py.typed",
        "celltally/napari.yaml",
        "celltally/diameter.npz",
        "celltally/_napari/samples/u2os-hoechst-1.tif",
        "celltally/_models/general/model.json",
        "celltally/_models/general/weights.safetensors",
        "celltally/_models/general/README.md",
    ],
)
def test_it_holds(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo(name).file_size > 0 or name.endswith("py.typed")


def test_it_holds_every_file_of_the_package(wheel):
    here = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "celltally").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    here |= {
        f"celltally/_models/{path.relative_to(ROOT / 'models').as_posix()}"
        for path in (ROOT / "models").rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name for name in packed if not name.startswith("celltally-")} == here


def test_it_holds_no_tests_and_stays_small(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.startswith(("tests/", "docs/"))]
    assert wheel.stat().st_size < 60e6


def test_its_code_is_the_unpacked_one(unpacked):
    found = Path(run_from(unpacked, "import celltally; print(celltally.__file__)").strip())
    assert found.is_relative_to(unpacked)


def test_the_shipped_model_is_found_in_it(unpacked):
    code = (
        "import json; from celltally import zoo;"
        "print(json.dumps([[r.name for r in zoo.available()], str(zoo.find('general'))]))"
    )
    names, folder = json.loads(run_from(unpacked, code))
    assert "general" in names
    assert Path(folder) == unpacked / "celltally" / "_models" / "general"


def test_the_samples_open_from_it(unpacked):
    code = (
        "import yaml, importlib, celltally, pathlib;"
        "m = yaml.safe_load((pathlib.Path(celltally.__file__).parent / 'napari.yaml').read_text());"
        "c = {x['id']: x['python_name'] for x in m['contributions']['commands']};"
        "samples = m['contributions']['sample_data'];"
        "assert samples;"
        "f = [c[s['command']].split(':') for s in samples];"
        "layers = [getattr(importlib.import_module(a), b)() for a, b in f];"
        "print(*[data.size for group in layers for data, *_ in group])"
    )
    sizes = [int(size) for size in run_from(unpacked, code).split()]
    assert sizes
    assert min(sizes) > 10_000


def test_the_source_distribution_can_be_tested(built):
    (path,) = built.glob("celltally-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "CITATION.cff",
        "CHANGELOG.md",
        "napari.yaml",
        "tests/test_wheel.py",
    } <= names
    assert "models/general/weights.safetensors" in names

"""Importing the package is quick and light, and its public names are all there."""

import importlib
import subprocess
import sys

import pytest

import celltally


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_importing_takes_less_than_150_ms():
    code = (
        "from time import perf_counter; start = perf_counter(); import celltally;"
        "print(perf_counter() - start)"
    )
    # The best of five: a busy machine can only make it slower.
    assert min(float(run(code)) for _ in range(5)) < 0.15


def test_importing_loads_neither_torch_nor_qt_nor_numpy():
    code = "import celltally, sys; print(*{'torch', 'numpy', 'qtpy', 'napari'} & set(sys.modules))"
    assert run(code) == ""


@pytest.mark.parametrize("name", celltally.__all__)
def test_every_public_name_resolves(name):
    value = getattr(celltally, name)
    assert value is getattr(celltally, name)
    assert name in dir(celltally)


def test_public_names_are_those_of_their_rooms():
    assert celltally.load_model is importlib.import_module("celltally.zoo").load
    assert celltally.read_image is importlib.import_module("celltally.io").read_image
    assert celltally.intervals is importlib.import_module("celltally.intervals")


def test_reading_needs_no_torch():
    code = (
        "import celltally, sys; celltally.read_image, celltally.Dots, celltally.intervals.of,"
        "celltally.load_model, celltally.available_models();"
        "print('torch' in sys.modules)"
    )
    assert run(code) == "False"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'predct'"):
        celltally.predct  # noqa: B018


def test_predict_is_the_function_whoever_imported_its_module():
    code = (
        "import celltally.predict; from celltally.predict import iter_predict;"
        "import celltally; print(type(celltally.predict).__name__)"
    )
    assert run(code) == "function"
    assert type(celltally.predict).__name__ == "function"

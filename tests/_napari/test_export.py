"""*Export dots…* and *Export density…*: every program by its name, and what is lost is told."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from celltally._napari import dot_export
from celltally.io import DOT_FORMATS, read_density, read_dots, read_provenance, recognised

pytestmark = pytest.mark.gui


@pytest.fixture
def choose(monkeypatch):
    """Answer the dialog, and keep what it offered."""
    asked = []

    def answer(path, chosen):
        def ask(parent, title, name, filters, **options):
            asked.append((title, name, filters.split(";;")))
            return str(path), next((f for f in filters.split(";;") if f.startswith(chosen)), "")

        monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
        return asked

    return answer


@pytest.fixture
def export(click, told, qtbot):
    """Presses *Export dots…*, and waits until that is told of."""

    def export(tally):
        before = len(told)
        click(tally.result.dots_button)
        qtbot.waitUntil(lambda: len(told) > before)

    return export


@pytest.fixture
def told(monkeypatch):
    sentences = []
    for where in ("out.show_error", "out.show_info", "dot_export.show_error"):
        monkeypatch.setattr(f"celltally._napari.{where}", sentences.append)
    return sentences


@pytest.mark.parametrize("name", [known.name for known in DOT_FORMATS])
def test_every_format_is_offered_by_its_program(counted, choose, told, export, tmp_path, name):
    known = next(f for f in DOT_FORMATS if f.name == name)
    suffix = known.suffixes[0] if known.suffixes else ".csv"
    path = tmp_path / f"out{suffix}"
    asked = choose(path, f"{known.title} (")
    export(counted)
    ((title, proposed, filters),) = asked
    assert title == "Export dots"
    assert proposed.endswith(" dots.csv")
    assert len(filters) == len(DOT_FORMATS)
    assert filters[0] == "Celltally (*.csv)"
    assert recognised(path).name == name
    assert len(read_dots(path)) == 4
    assert told[0].startswith(f"Saved out{suffix}.")
    assert ("not kept" in told[0]) is (name not in ("celltally", "napari", "qupath"))


def test_how_the_dots_came_about_stands_beside_them(counted, choose, told, export, tmp_path):
    counted.image.pixel_edit.setValue(0.5)
    choose(tmp_path / "out.csv", "Celltally (")
    export(counted)
    found = read_provenance(tmp_path / "out.csv")
    result = counted.in_view.result
    assert found.model == result.counted.prediction.model
    assert found.count == pytest.approx(counted.result.count)
    assert found.threshold == pytest.approx(result.threshold)
    assert (found.pixel_size_um, found.author) == ((0.5, 0.5), counted.correcting.author)
    assert found.when.endswith("+00:00")


def test_a_suffix_that_was_typed_is_heard(counted, choose, told, export, tmp_path):
    choose(tmp_path / "out.geojson", "Celltally (")
    export(counted)
    assert recognised(tmp_path / "out.geojson").name == "qupath"
    choose(tmp_path / "bare", "ImageJ RoiSet (")
    export(counted)
    assert recognised(tmp_path / "bare.zip").name == "imagej"
    before = (tmp_path / "bare.zip").read_bytes()
    export(counted)  # the dialog asked about "bare" only
    assert told[-1].endswith("bare.zip exists; choose another name")
    assert (tmp_path / "bare.zip").read_bytes() == before


def test_nothing_chosen_nothing_written(counted, choose, told, click, tmp_path):
    before = sorted(tmp_path.rglob("*.csv"))
    asked = choose("", "")
    for button in (counted.result.dots_button, counted.result.density_button):
        click(button)
    assert len(asked) == 2
    assert told == []
    assert sorted(tmp_path.rglob("*.csv")) == before
    assert not list(tmp_path.rglob("*.tif"))


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_density(counted, choose, told, click, qtbot, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    choose(path, "OME-Zarr" if "zarr" in suffix else "Float TIFF")
    counted.image.pixel_edit.setValue(0.5)
    click(counted.result.density_button)
    qtbot.waitUntil(lambda: bool(told))
    assert told == [f"Saved out{suffix}."]
    prediction = counted.in_view.result.counted.prediction
    got = read_density(path)
    assert np.array_equal(got.density, prediction.density)
    assert (got.grid, got.pixel_size_um) == (prediction.grid, (0.5, 0.5))


def test_a_density_gets_a_suffix(counted, choose, told, click, qtbot, tmp_path):
    choose(tmp_path / "bare", "OME-Zarr")
    click(counted.result.density_button)
    qtbot.waitUntil(lambda: bool(told))
    assert (tmp_path / "bare.zarr").is_dir()
    click(counted.result.density_button)
    assert told[-1].endswith("bare.zarr exists; choose another name")


def test_a_bad_place_is_told(counted, choose, told, click, qtbot, tmp_path):
    choose(tmp_path / "no" / "out.xml", "cellfinder (")
    click(counted.result.dots_button)
    choose(tmp_path / "no" / "out.tif", "Float TIFF")
    click(counted.result.density_button)
    qtbot.waitUntil(lambda: len(told) == 2)
    assert all("cannot be written" in sentence for sentence in told)


def test_no_program_is_forgotten():
    assert len(dot_export._filters()) == len(DOT_FORMATS)
    assert set(dot_export._ORDER) == {known.name for known in DOT_FORMATS}

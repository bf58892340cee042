from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from napari.layers import Layer

from celltally._napari.importing import add_files
from celltally._napari.layers import own_role
from celltally._napari.reader import get_reader
from celltally.errors import UserError
from celltally.io import DOT_FORMATS, DensityStack, write_density, write_dots, write_regions
from celltally.types import Dots, Grid, Prediction, Region


@pytest.mark.parametrize(
    "text",
    [
        "",
        "y,x\n1,2\n",
        "index,axis-0,axis-1\n0,1,2\n",
        "index,axis-0,axis-1,id,class,score,state,source\n0,1,2,a,cell,1,proposed,b\n",
        "id,x,y,class\n1,2,3,cell\n",
        "name,well,count\na,A1,3\n",
        '"unclosed\n',
    ],
)
def test_other_csv_files_are_left_to_others(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text)
    assert get_reader(str(path)) is None


def test_what_is_no_csv_is_not_ours(tmp_path):
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    assert get_reader(str(tmp_path / "binary.csv")) is None
    assert get_reader(str(tmp_path / "missing.csv")) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([]) is None


def test_our_dots_become_points(tmp_path):
    path = tmp_path / "dots.csv"
    dots = Dots.new([[1.5, 2.0], [3, 4]], label=["cell", "dead"], state=["proposed", "added"])
    write_dots(path, dots)
    ((data, settings, kind),) = get_reader(str(path))(str(path))
    assert kind == "points"
    np.testing.assert_allclose(data, dots.yx)
    assert settings["name"] == "dots"
    assert list(settings["features"]["id"]) == dots.id.tolist()
    assert settings["symbol"] == ["disc", "diamond"]


def test_time_and_plane_become_axes_where_they_differ(tmp_path):
    path = tmp_path / "dots.csv"
    write_dots(path, Dots.new([[1, 2], [3, 4]], t=[0, 5]))
    ((data, _, _),) = get_reader(str(path))(str(path))
    np.testing.assert_allclose(data, [[0, 1, 2], [5, 3, 4]])


def test_no_dots_at_all(tmp_path):
    path = tmp_path / "dots.csv"
    write_dots(path, Dots.new())
    ((data, settings, _),) = get_reader([str(path)])([str(path)])
    assert data.shape == (0, 2)
    assert settings["ndim"] == 2


@pytest.mark.gui
def test_a_viewer_shows_them(tmp_path, make_napari_viewer):
    path = tmp_path / "dots.csv"
    write_dots(path, Dots.new([[1.5, 2.0], [3, 4]]))
    write_dots(tmp_path / "none.csv", Dots.new())
    viewer = make_napari_viewer()
    for name in ("dots.csv", "none.csv"):
        ((data, settings, _),) = get_reader(str(tmp_path / name))(str(tmp_path / name))
        viewer.add_points(data, **settings)
    assert [len(layer.data) for layer in viewer.layers] == [2, 0]


# ---- other programs' files ----


def density(values, **known):
    values = np.asarray(values, np.float32)
    values = values.reshape((-1, *values.shape[-2:]))
    return Prediction(
        density=values, variance=values, grid=Grid(values.shape[1:], (2.0, 4.0)),
        image_shape=(100, 100), diameter_px=10, model="general", model_sha256="ab", **known,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [f.name for f in DOT_FORMATS if f.name not in ("napari", "spotiflow")]
)
def test_files_of_cell_counters_become_points(tmp_path, name):
    known = next(f for f in DOT_FORMATS if f.name == name)
    path = tmp_path / f"dots{known.suffixes[0]}"
    write_dots(path, Dots.new([[1, 2], [3, 4]]), format=name)
    ((data, settings, kind),) = get_reader(str(path))(str(path))
    assert kind == "points"
    np.testing.assert_allclose(data, [[1, 2], [3, 4]])
    assert settings["name"] == "dots"
    Layer.create(data, settings, kind)


@pytest.mark.parametrize("name", ["napari", "spotiflow"])
def test_tables_of_other_plugins_are_left_to_them(tmp_path, name):
    path = tmp_path / "dots.csv"
    write_dots(path, Dots.new([[1, 2]], score=0.5), format=name)
    assert get_reader(str(path)) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", "<html/>"),
        ("a.json", '{"type": "FeatureCollection", "features": []}'),
        ("a.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feature"}]}'),
        ("a.yml", "version: 2\nservices: {}\n"),
        ("a.zip", "PK\x05\x06" + "\0" * 18),
        ("a.tsv", "gene\tx\ty\n"),
        ("a.roi", "roi"),
    ],
)
def test_files_of_others_are_left_to_them(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert get_reader(str(tmp_path / name)) is None


def test_other_tiffs_are_left_to_others(tmp_path):
    tifffile.imwrite(tmp_path / "a density.tif", np.zeros((9, 9), np.float32), imagej=True)
    assert get_reader(str(tmp_path / "a density.tif")) is None


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_density_lies_where_its_cells_are(tmp_path, suffix):
    path = tmp_path / f"field density{suffix}"
    values = np.random.default_rng(0).random((5, 6))
    write_density(path, density(values), (0.5, 0.5))
    ((data, settings, kind),) = get_reader(str(path))(str(path))
    assert kind == "image"
    np.testing.assert_array_equal(data, values.astype(np.float32))
    assert (settings["scale"], settings["translate"]) == ([2, 4], [0.5, 1.5])
    layer = Layer.create(data, settings, kind)
    # The first cell begins, and the last one ends, where the image's pixels do.
    first, last = np.asarray(layer.extent.world)
    np.testing.assert_allclose(first - np.array([2, 4]) / 2, [-0.5, -0.5])
    np.testing.assert_allclose(last + np.array([2, 4]) / 2, [9.5, 23.5])
    assert own_role(layer) == "file"  # so that it is no image to be counted


def test_a_density_of_several_classes_or_planes(tmp_path):
    maps = np.random.default_rng(0).random((2, 5, 6))
    write_density(tmp_path / "a.tif", density(maps, classes=("alive", "dead")))
    found = get_reader(str(tmp_path / "a.tif"))(str(tmp_path / "a.tif"))
    assert [settings["name"] for _, settings, _ in found] == ["a density alive", "a density dead"]
    with DensityStack(tmp_path / "b.tif", [0], [0, 1, 2]) as stack:
        for z in range(2):  # the last one could not be counted
            stack.add(0, z, density(np.full((5, 6), z)))
        stack.finish()
    ((data, settings, kind),) = get_reader(str(tmp_path / "b.tif"))(str(tmp_path / "b.tif"))
    assert data.shape == (3, 5, 6)
    assert settings["scale"] == [1, 2, 4]
    Layer.create(data, settings, kind)


def test_regions_become_shapes(tmp_path):
    path = tmp_path / "a.geojson"
    square = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])
    write_regions(path, [Region(square, "reviewed", "one", 3.0), Region(square + 20, z=2)])
    ((data, settings, kind),) = get_reader(str(path))(str(path))
    assert kind == "shapes"
    np.testing.assert_allclose(data[1], np.column_stack([[2] * 4, square + 20]))
    layer = Layer.create(data, settings, kind)
    assert list(layer.features["kind"]) == ["reviewed", "count"]
    assert layer.features["stated"][0] == 3


def test_a_mixed_file_becomes_both(tmp_path):
    path = tmp_path / "a.geojson"
    write_dots(path, Dots.new([[1, 2]]), format="qupath")
    mixed = json.loads(path.read_text())
    write_regions(path, [Region(np.array([[0.0, 0], [5, 0], [5, 5]]))])
    mixed["features"] += json.loads(path.read_text())["features"]
    path.write_text(json.dumps(mixed))
    found = get_reader(str(path))(str(path))
    assert [kind for *_, kind in found] == ["shapes", "points"]
    # Outlines of cells are neither.
    mixed["features"] = mixed["features"][1:]
    mixed["features"][0]["properties"]["objectType"] = "cell"
    path.write_text(json.dumps(mixed))
    with pytest.raises(UserError, match="neither points nor outlines of regions"):
        get_reader(str(path))(str(path))


@pytest.mark.gui
def test_files_are_imported_whatever_their_name(tmp_path, make_napari_viewer, monkeypatch):
    told = []
    monkeypatch.setattr("celltally._napari.importing.show_error", told.append)
    write_density(tmp_path / "field.tif", density(np.ones((5, 6))))
    write_dots(tmp_path / "dots.xml", Dots.new([[1.5, 2.0]]), format="cellfinder")
    (tmp_path / "broken.csv").write_text("y,x,id,state,source\n1,nan,a,,\n")
    viewer = make_napari_viewer()
    names = ("field.tif", "broken.csv", "dots.xml")
    add_files(viewer, [str(tmp_path / name) for name in names])
    assert [layer.name for layer in viewer.layers] == ["field density", "dots"]
    assert len(told) == 1
    assert "broken.csv, row 1 (line 2): x is 'nan'" in told[0]


@pytest.mark.gui
def test_napari_opens_them_by_their_names(tmp_path, manifest, viewer):
    write_dots(tmp_path / "a.zip", Dots.new([[1.5, 2.0]]), format="imagej")
    write_dots(tmp_path / "b.yml", Dots.new([[3, 4]]), format="cellfinder-yaml")
    write_regions(tmp_path / "c.geojson", [Region(np.array([[0.0, 0], [5, 0], [5, 5]]))])
    write_density(tmp_path / "d density.tif", density(np.ones((5, 6))))
    for name in ("a.zip", "b.yml", "c.geojson", "d density.tif"):
        viewer.open(tmp_path / name, plugin="celltally")
    assert [layer.name for layer in viewer.layers] == ["a", "b", "c regions", "d density"]


@pytest.mark.gui
def test_the_menu_imports_files(tmp_path, manifest, viewer, monkeypatch):
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QFileDialog

    write_dots(tmp_path / "dots.roi", Dots.new([[1.5, 2.0]]), format="imagej-roi")
    chosen = [str(tmp_path / "dots.roi")]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *args: (chosen, ""))
    get_app_model().commands.execute_command("celltally.import").result()
    assert [layer.name for layer in viewer.layers] == ["dots"]

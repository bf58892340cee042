from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Points, Shapes
from npe2 import PluginManifest

from celltally._napari import writer
from celltally._napari.layers import points_of_file
from celltally._napari.layers.files import regions_of_file
from celltally._napari.writer import save_points
from celltally.batch.outputs import check_replaceable
from celltally.errors import UserError
from celltally.io import read_dots, read_regions, recognised, write_dots
from celltally.types import Dots, Region

SHA = "ab" * 32


def save(path, layer):
    data, meta, _ = layer.as_layer_data_tuple()
    return save_points(str(path), data, meta)


@pytest.fixture
def found():
    """Dots as counting writes them."""
    return Dots.new([[1.5, 2], [3, 4], [5, 6]], t=2, z=[0, 1, 1], score=[0.9, 0.8, 0.7], source=SHA)


def test_dots_that_nobody_touched_are_written_as_they_were(tmp_path, found):
    data, settings = points_of_file(found, "a")
    assert save(tmp_path / "a.csv", Points(data, **settings)) == [str(tmp_path / "a.csv")]
    write_dots(tmp_path / "b.csv", found)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_what_a_human_changed_is_written(tmp_path, found):
    data, settings = points_of_file(found, "a")
    layer = Points(data, **settings)
    layer.selected_data = {1}
    layer.remove_selected()
    layer.data = np.add(layer.data, [[1, 0, 0], [0, 0, 0]])  # to the next plane
    layer.add([1, 7, 8])
    assert save(tmp_path / "a", layer) == [str(tmp_path / "a.csv")]
    saved = read_dots(tmp_path / "a.csv")
    assert saved.state.tolist() == ["moved", "proposed", "added", "removed"]
    assert saved.id[[0, 1, 3]].tolist() == found.id[[0, 2, 1]].tolist()
    assert saved.z.tolist() == [1, 1, 1, 1]
    assert saved.t.tolist() == [2, 2, 2, 2]
    assert saved.source.tolist() == [SHA, SHA, "", SHA]
    np.testing.assert_array_equal(saved.score, np.float32([0.9, 0.7, np.nan, 0.8]))


def test_a_removed_dot_stays_a_cross_and_removed(tmp_path, found):
    data, settings = points_of_file(found, "a")
    layer = Points(data, **settings)
    layer.selected_data = {0}
    layer.remove_selected()
    save(tmp_path / "a.csv", layer)
    data, settings = points_of_file(read_dots(tmp_path / "a.csv"), "a")
    layer = Points(data, **settings)
    assert [str(symbol) for symbol in layer.symbol] == ["disc", "disc", "x"]
    layer.selected_data = {2}
    layer.remove_selected()  # once more, so that it is no longer seen
    save(tmp_path / "a.csv", layer)
    assert read_dots(tmp_path / "a.csv").state.tolist() == ["proposed", "proposed", "removed"]


def test_points_of_others_are_written_as_napari_does(tmp_path):
    features = {"id": [1, 2], "intensity": [0.5, 0.25]}
    save(tmp_path / "a.csv", Points([[1, 2], [3, 4]], features=features))
    header, first, _ = (tmp_path / "a.csv").read_text().splitlines()
    assert header == "index,axis-0,axis-1,id,intensity"
    assert [float(cell) for cell in first.split(",")] == [0, 1, 2, 1, 0.5]
    assert read_dots(tmp_path / "a.csv").yx.tolist() == [[1, 2], [3, 4]]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path, found):
    data, settings = points_of_file(found, "a")
    with pytest.raises(UserError, match="none"):
        save(tmp_path / "none" / "a.csv", Points(data, **settings))


@pytest.mark.gui
def test_deleting_in_a_viewer_and_saving_over_the_file(tmp_path, found, manifest, viewer):
    path = tmp_path / "field.csv"
    write_dots(path, found)
    check_replaceable([path], [], None)  # counting wrote it, and may write it again
    (layer,) = viewer.open(path, plugin="celltally")
    layer.mode = "select"
    layer.selected_data = {0, 2}
    layer.remove_selected()
    assert viewer.layers.save(str(path), plugin="celltally") == [str(path)]
    saved = read_dots(path)
    assert saved.state.tolist() == ["proposed", "removed", "removed"]
    assert sorted(saved.id) == sorted(found.id)
    with pytest.raises(UserError, match="not written by counting"):
        check_replaceable([path], [], None)
    (again,) = viewer.open(path, plugin="celltally")
    assert len(again.data) == 3


# ---- other programs' formats ----


def manifest_writers():
    import celltally

    path = Path(celltally.__file__).parent / "napari.yaml"
    contributions = PluginManifest.from_file(path).contributions
    commands = {command.id: command.python_name for command in contributions.commands}
    return [
        (commands[writer.command].partition(":")[2], writer.filename_extensions[0], writer)
        for writer in contributions.writers
    ]


@pytest.mark.parametrize(
    ("function", "suffix"),
    [(f, s) for f, s, w in manifest_writers() if w.layer_types == ["points"]],
)
def test_every_writer_of_points_writes_its_format(tmp_path, found, function, suffix):
    data, settings = points_of_file(found, "a")
    data, meta, _ = Points(data, **settings).as_layer_data_tuple()
    (path,) = getattr(writer, function)(str(tmp_path / "a"), data, meta)
    assert path == str(tmp_path / f"a{suffix}")
    got = read_dots(path)
    assert sorted(np.rint(got.yx).tolist()) == sorted(np.rint(found.yx).tolist())
    assert recognised(path).title or suffix == ".csv"


def test_what_is_lost_is_told(tmp_path, found, monkeypatch):
    told = []
    monkeypatch.setattr(writer, "show_info", told.append)
    data, settings = points_of_file(found, "a")
    data, meta, _ = Points(data, **settings).as_layer_data_tuple()
    writer.save_cell_counter(str(tmp_path / "a.xml"), data, meta)
    assert "whole pixels only" in told[0]
    writer.save_points(str(tmp_path / "a.csv"), data, meta)
    assert len(told) == 1


def test_cell_counter_gets_the_name_of_the_image(tmp_path, found):
    data, settings = points_of_file(found, "field 1.tif dots")
    data, meta, _ = Points(data, **settings).as_layer_data_tuple()
    writer.save_cell_counter(str(tmp_path / "a.xml"), data, meta)
    assert "<Image_Filename>field 1.tif<" in (tmp_path / "a.xml").read_text()


def test_points_of_others_are_dots_as_well(tmp_path):
    layer = Points([[2, 5, 1.5, 2], [2, 6, 3, 4]], features={"class": ["dead", None]})
    data, meta, _ = layer.as_layer_data_tuple()
    writer.save_qupath(str(tmp_path / "a.geojson"), data, meta)
    got = read_dots(tmp_path / "a.geojson")
    assert got.yx.tolist() == [[1.5, 2], [3, 4]]
    assert (got.t.tolist(), got.z.tolist()) == ([2, 2], [5, 6])
    assert got.label.tolist() == ["dead", "cell"]
    layer = Points(np.empty((0, 2)))
    data, meta, _ = layer.as_layer_data_tuple()
    writer.save_qupath(str(tmp_path / "b.geojson"), data, meta)
    assert len(read_dots(tmp_path / "b.geojson")) == 0


def test_shapes_are_regions(tmp_path):
    layer = Shapes(
        [[[0, 0], [0, 10], [10, 10], [10, 0]], [[0, 0], [0, 20], [10, 20], [10, 0]]],
        shape_type=["rectangle", "ellipse"],
        features={"name": ["one", "two"], "kind": ["reviewed", "nonsense"], "stated": [3, np.nan]},
    )
    data, meta, _ = layer.as_layer_data_tuple()
    (path,) = writer.save_shapes(str(tmp_path / "a"), data, meta)
    assert path.endswith("a.geojson")
    one, two = read_regions(path)
    assert (one.kind, one.name, one.stated) == ("reviewed", "one", 3)
    assert one.polygon.tolist() == [[0, 0], [0, 10], [10, 10], [10, 0]]
    assert (two.kind, two.stated, len(two.polygon)) == ("count", None, 72)


def test_regions_that_were_read_keep_their_ids(tmp_path):
    square = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 10.0], [10.0, 0.0]])
    regions = [Region(square, "audit", "one", t=1, z=2), Region(square, t=1, z=4)]
    data, settings, _ = regions_of_file(regions, "a")
    data, meta, _ = Shapes(data, **settings).as_layer_data_tuple()
    writer.save_shapes(str(tmp_path / "a.geojson"), data, meta)
    got = read_regions(tmp_path / "a.geojson")
    assert [r.id for r in got] == [r.id for r in regions]
    assert [r.kind for r in got] == ["audit", "count"]
    assert [r.z for r in got] == [2, 4]

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Points

from celltally._napari.layers import points_of_file
from celltally._napari.writer import save_points
from celltally.batch.outputs import check_replaceable
from celltally.errors import UserError
from celltally.io import read_dots, write_dots
from celltally.types import Dots

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

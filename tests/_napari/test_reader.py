from __future__ import annotations

import numpy as np
import pytest

from celltally._napari.reader import get_reader
from celltally.io import write_dots
from celltally.types import Dots


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

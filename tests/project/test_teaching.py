"""How much of a project a model can learn from."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from celltally.progress import drain
from celltally.project.dataset import iter_export
from celltally.project.images import register
from celltally.project.teaching import Teaching, teaching
from celltally.types import Dots


@pytest.fixture
def add(store, tmp_path):
    """Add an image that lies in a file."""

    def add(name):
        path = tmp_path / name
        tifffile.imwrite(path, np.full((100, 120), len(name), np.uint8))
        return register(store, name=name, path=path, shape=(100, 120))

    return add


def some_dots(yx, state):
    return Dots.new(np.array(yx, dtype=float), state=np.array(state, dtype=np.str_))


def test_an_untouched_project_teaches_nothing(store, image_id):
    assert teaching(store) == Teaching()


def test_regions_and_dots_are_told_apart(store, add, put, rectangle, tmp_path):
    first, second, third = add("a.tif"), add("bb.tif"), add("ccc.tif")
    found = some_dots(
        [(10, 10), (20, 20), (30, 30), (40, 40), (90, 90)],
        ["confirmed", "added", "moved", "removed", "added"],
    )
    put(first, found, rectangle(0, 0, 50, 50, kind="reviewed"), rectangle(0, 60, 9, 70))
    put(
        second, some_dots([(5, 5)], ["confirmed"]),
        rectangle(0, 0, 30, 30, kind="audit"),
        rectangle(40, 40, 90, 90, kind="reviewed", stated=7),
        rectangle(0, 50, 30, 80, kind="exclude"),
    )  # fmt: skip
    put(third, some_dots([(5, 5)], ["added"]), author="Bo")  # no region: nothing is known
    known = teaching(store)
    assert known == Teaching(
        images=2, regions=1, stated=1, audits=1, dots=3, corrected=3, by=("Ada", "Bo")
    )
    assert known.lessons == 2
    written = drain(iter_export(store, tmp_path / "data"))
    assert written.images == known.images
    assert written.regions == known.regions + known.stated + known.audits


def test_images_without_a_file_are_named(store, image_id, add, put, rectangle, tmp_path):
    gone = add("gone.tif")
    (tmp_path / "gone.tif").unlink()
    for number in (image_id, gone):
        put(number, some_dots([(5, 5)], ["added"]), rectangle(0, 0, 50, 50, kind="reviewed"))
    assert teaching(store) == Teaching(
        by=("Ada",), without_file=("cells.tif",), moved=("gone.tif",)
    )


def test_dots_of_other_planes_do_not_count(store, add, put, rectangle):
    number = add("film.tif")
    dots = Dots.new(np.full((2, 2), 10.0), t=np.array([0, 1]), state=np.array(["added"] * 2))
    put(number, dots, rectangle(0, 0, 50, 50, kind="reviewed", t=1))
    assert (teaching(store).dots, teaching(store).corrected) == (1, 1)

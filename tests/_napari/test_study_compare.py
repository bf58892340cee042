"""What is compared in a region: of stacks all planes, in one project and between two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from celltally import intervals
from celltally._napari.study_compare import compare_job
from celltally.density.stacks import join_dots
from celltally.progress import drain
from celltally.project import counts, images, work
from celltally.project.edits import Edit, diff_dots, diff_regions
from celltally.project.store import Store
from celltally.types import Dots, Region

SHAPE = (120, 160)
KINDS = ("audit",)


def square(y0, x0, y1, x1):
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], dtype=float)


#: All of the image.
WHOLE = square(0, 0, *SHAPE)


@pytest.fixture
def begin(tmp_path, request):
    """Makes a project with one image, the same in each."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.uint16))

    def begin(name):
        store = Store(tmp_path / f"{name}.celltally", author=name)
        request.addfinalizer(store.close)
        return store, images.register(store, name="stack.tif", path=path, shape=SHAPE)

    return begin


@pytest.fixture
def count(fake_prediction):
    """Keeps a count with the dots that it found."""

    def count(store, number, places, *, z=0, diameter_px=10.0, **facts):
        dots = Dots.new(places, score=0.9, z=z)
        made = fake_prediction(diameter_px=diameter_px)
        counts.add_prediction(
            store, number, made, intervals.of(made), dots, threshold=0.5, z=z, **facts
        )
        return dots

    return count


def put(store, number, dots, *drawn):
    work.record(store, number, Edit("add", diff_dots(Dots.new(), dots)))
    work.record(store, number, Edit("draw", diff_regions((), drawn)))


def found_in(store, other=None):
    found = drain(compare_job(store, KINDS, other))
    return found, (found.found.matched, found.found.only_a, found.found.only_b)


def test_merged_planes_are_compared_as_cells(begin, count):
    store, number = begin("ada")
    facts = {"z_method": "merged", "merged": (0, 1, 2)}
    # A cell in all planes, one in the lowest, one in the highest, and one only the model saw.
    in_planes = [
        [(20, 30), (50, 80)],
        [(20, 31)],
        [(21, 31), (90, 40), (100, 130)],
    ]
    shown = [count(store, number, places, z=z, **facts) for z, places in enumerate(in_planes)]
    dots = join_dots(shown)
    put(store, number, dots[:-1], Region(WHOLE, "audit", z=1))
    found, numbers = found_in(store)
    assert numbers == (3, 0, 1)
    assert found.found.fields[0].radius_px == 5
    assert "planes are merged" in found.note


def test_what_is_excluded_in_one_merged_plane_is_compared_in_the_others(begin, count):
    store, number = begin("ada")
    facts = {"z_method": "merged", "merged": (0, 1)}
    low = count(store, number, [(20, 30), (50, 80)], z=0, **facts)
    high = count(store, number, [(20, 30)], z=1, **facts)
    drawn = Region(WHOLE, "audit", z=1), Region(square(0, 0, 70, 160), "exclude", z=0)
    put(store, number, join_dots([low, high]), *drawn)
    assert found_in(store)[1] == (1, 0, 0)


def test_a_count_that_another_took_the_place_of_is_not_compared(begin, count):
    store, number = begin("ada")
    count(store, number, [(20, 30), (50, 80)], z=1, diameter_px=40.0)
    count(store, number, [(20, 30)], z_method="projection")
    newest = count(store, number, [(20, 30), (90, 40)], z=0)
    put(store, number, newest, Region(WHOLE, "audit"), Region(WHOLE, "audit", z=1))
    found, numbers = found_in(store)
    assert numbers == (2, 0, 0)
    assert "1 region in planes without a count left out" in found.note


def test_two_people_are_compared_over_all_z_of_a_projection(begin, count):
    ours, number = begin("ada")
    theirs, other = begin("ben")
    count(ours, number, [], z=2, diameter_px=40.0)  # of long ago
    count(ours, number, [(20, 30)], z_method="projection")
    mine = Dots.new([(20, 30), (50, 80), (90, 40), (15, 100)], z=[0, 3, 1, 0], state="added")
    put(
        ours, number, mine,
        Region(WHOLE, "audit", z=2), Region(square(0, 0, 120, 90), "tissue", z=1),
    )  # fmt: skip
    # The same cell at another depth; one just too far; one in a part that Ben excluded.
    his = Dots.new([(20, 31), (50, 86), (90, 40)], z=[2, 3, 1], state="added")
    put(
        theirs, other, his,
        Region(WHOLE, "audit", z=0), Region(square(80, 0, 120, 160), "exclude", z=3),
    )  # fmt: skip
    theirs.close()
    found, numbers = found_in(ours, theirs.path)
    assert numbers == (1, 1, 1)
    assert found.found.fields[0].radius_px == 5


def test_two_people_are_compared_by_the_cells_of_merged_planes(begin, count):
    ours, number = begin("ada")
    theirs, other = begin("ben")
    for z in range(2):
        count(theirs, other, [(20, 30)], z=z, z_method="merged", merged=(0, 1))
    mine = Dots.new([(20, 30), (20, 31), (50, 80)], z=[0, 1, 1], state="added")
    put(ours, number, mine, Region(WHOLE, "audit", z=0))
    put(theirs, other, replace(mine[:2], z=np.array([1, 0])), Region(WHOLE, "audit", z=1))
    theirs.close()
    assert found_in(ours, theirs.path)[1] == (1, 1, 0)


def test_planes_by_themselves_are_compared_each_for_itself(begin, count):
    ours, number = begin("ada")
    theirs, other = begin("ben")
    count(ours, number, [(20, 30)], z=0)
    count(ours, number, [(20, 30)], z=1, diameter_px=30.0)
    mine = Dots.new([(20, 30), (50, 80)], z=[0, 1], state="added")
    put(ours, number, mine, Region(WHOLE, "audit", z=0), Region(WHOLE, "audit", z=1))
    put(theirs, other, replace(mine, yx=mine.yx + 9), Region(WHOLE, "audit", z=1))
    theirs.close()
    found, numbers = found_in(ours, theirs.path)
    assert numbers == (1, 0, 0)
    assert [field.radius_px for field in found.found.fields] == [15]


def test_a_number_that_was_stated_is_told(begin, count):
    store, number = begin("ada")
    dots = count(store, number, [(20, 30)])
    drawn = Region(WHOLE, "audit"), Region(square(0, 0, 9, 9), "audit", stated=3.0)
    put(store, number, dots, *drawn)
    found, numbers = found_in(store)
    assert numbers == (1, 0, 0)
    assert "1 region left out, where a number was stated" in found.note

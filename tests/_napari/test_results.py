"""What a window knows of counts, and which of them later ones take the place of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celltally import intervals
from celltally._napari import counting
from celltally._napari.results import Results
from celltally._napari.stored import stored_count


@pytest.fixture
def known(make_plane, fake_prediction):
    """A count of a plane of a stack of four, as a window keeps it: its figures, and with maps."""

    def known(z, z_method, number=0, **changes):
        plane = replace(make_plane(np.zeros((4, 120, 160)), (z,), "Z"), z_method=z_method)
        counted = counting.with_dots(fake_prediction(), plane)
        interval = intervals.of(counted.prediction)
        return counted, replace(
            stored_count(counted, interval, unlike=None, number=number), **changes
        )

    return known


def test_merged_planes_take_the_place_of_those_that_are_not_merged_with_them(known):
    results = Results()
    for z in range(4):
        counted, figures = known(z, "merged", z + 1)
        results.put("a", counted, kept=True)
        results.add_stored("a", figures, counted.plane)
    assert [count.z for count in results.over_z("a", 0)] == [0, 1, 2, 3]
    for z in range(2):
        counted, figures = known(z, "merged", z + 5, merged=(0, 1))
        results.add_stored("a", figures, counted.plane)
    assert [count.z for count in results.over_z("a", 0)] == [0, 1]
    assert results.loaded("a") == 0


def test_what_comes_back_is_what_is_in_force(known):
    results = Results()
    counts = [
        *(known(z, "merged", z + 1)[1] for z in range(4)),
        *(known(z, "merged", z + 5, merged=(1, 2))[1] for z in (1, 2)),
    ]
    results.set_stored("a", [*counts[:1], *counts[3:]])
    assert [count.id for count in results.over_z("a", 0)] == [6, 7]
    results.set_stored("a", [known(0, "plane", 1)[1], known(0, "projection", 2)[1]])
    assert results.method("a", 0) == "projection"


def test_another_way_to_count_takes_the_place_of_all(known):
    results = Results()
    for number, (z, z_method) in enumerate([(1, "plane"), (2, "plane"), (0, "projection")], 1):
        counted, figures = known(z, z_method, number)
        results.put("a", counted)
        results.add_stored("a", figures, counted.plane)
    assert results.loaded("a") == 1
    back, figures = known(1, "plane", 4)
    results.put("a", back)
    results.add_stored("a", figures, back.plane)
    assert results.loaded("a") == 1
    assert results.at("a", back.plane).counted is back
    assert results.stored("a", back.plane.moved(z=2)) is None

"""Which file an exported image was."""

from __future__ import annotations

import pytest

from celltally.learn.origins import UNKNOWN, Origin, origins_of


def names(made_from):
    return {stem: origin.name for stem, origin in origins_of({"made_from": made_from}).items()}


def test_an_exported_image_has_the_name_of_its_file():
    made_from = {"a": {"image": "a.tif", "t": 0, "z": 0}, "b": {"image": "b.czi", "t": 0, "z": 2}}
    assert names(made_from) == {"a": "a.tif", "b": "b.czi"}


def test_the_hash_of_its_file_is_known():
    found = origins_of({"made_from": {"a": {"image": "a.tif", "sha256": "1a"}}})
    assert found == {"a": Origin("a.tif", "1a")}


def test_planes_of_one_file_are_told_apart():
    planes = {
        "s_t0_z3": {"image": "s.tif", "t": 0, "z": 3},
        "s_t1_max": {"image": "s.tif", "t": 1, "z": "max"},
    }
    assert names(planes) == {"s_t0_z3": "s.tif (t 0, z 3)", "s_t1_max": "s.tif (t 1, z max)"}


def test_files_of_one_name_are_told_apart():
    """Those of two folders are two images, not two planes of one."""
    fields = {
        "f": {"image": "f.tif", "sha256": "1a", "t": 0, "z": 0},
        "f-2": {"image": "f.tif", "sha256": "2b", "t": 0, "z": 0},
        "g": {"image": "g.tif", "sha256": "3c", "t": 0, "z": 0},
    }
    assert names(fields) == {
        "f": "f.tif (1 of 2 of this name)",
        "f-2": "f.tif (2 of 2 of this name)",
        "g": "g.tif",
    }


def test_planes_of_files_of_one_name_are_told_apart():
    planes = {
        f"s-{sha256}{z}": {"image": "s.tif", "sha256": sha256, "t": 0, "z": z}
        for sha256 in ("1a", "2b")
        for z in (0, 1)
    }
    assert list(names(planes).values()) == [
        f"s.tif (t 0, z {z}) ({n} of 2 of this name)" for n in (1, 2) for z in (0, 1)
    ]


@pytest.mark.parametrize("made_from", [None, 3, {"a": "a.tif"}, {}])
def test_what_does_not_say_it_is_left_out(made_from):
    assert origins_of({"made_from": made_from}) == {}


@pytest.mark.parametrize("origin", [{"image": 5, "sha256": 7}, {}])
def test_what_says_nothing_to_be_read_is_not_known(origin):
    assert origins_of({"made_from": {"a": origin}}) == {"a": UNKNOWN}


def test_a_folder_that_was_not_exported_has_no_origins():
    assert origins_of({"name": "mine"}) == {}

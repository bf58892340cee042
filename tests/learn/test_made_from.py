"""Which file an exported image was."""

from __future__ import annotations

import pytest

from celltally.learn.data import read_dataset
from celltally.learn.made_from import UNKNOWN, MadeFrom, made_from


def names(entries):
    return {stem: one.name for stem, one in made_from({"made_from": entries}).items()}


def test_an_exported_image_has_the_name_of_its_file():
    entries = {"a": {"image": "a.tif", "t": 0, "z": 0}, "b": {"image": "b.czi", "t": 0, "z": 2}}
    assert names(entries) == {"a": "a.tif", "b": "b.czi"}


def test_the_hash_of_its_file_is_known():
    entries = {
        "a": {"image": "a.tif", "sha256": "1a"},
        "b": {"image": "b.tif", "sha256": 5},
        "c": {"sha256": "3c"},
    }
    assert made_from({"made_from": entries}) == {
        "a": MadeFrom("a.tif", "1a"),
        "b": MadeFrom("b.tif"),
        "c": MadeFrom(sha256="3c"),
    }


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


@pytest.mark.parametrize("entries", [None, 3, {"a": "a.tif"}, {}])
def test_what_does_not_say_it_is_left_out(entries):
    assert made_from({"made_from": entries}) == {}


@pytest.mark.parametrize("entry", [{"image": 5, "sha256": 7}, {}])
def test_what_says_nothing_to_be_read_is_not_known(entry):
    assert made_from({"made_from": {"a": entry}}) == {"a": UNKNOWN}


def test_a_folder_that_was_not_exported_was_made_from_nothing():
    assert made_from({"name": "mine"}) == {}


def test_a_sample_has_the_name_of_the_file_that_it_was_made_from(dataset_folder):
    folder = dataset_folder(
        counts=[2, 3], made_from={"blobs-0": {"image": "a.tif", "sha256": "1a"}}
    )
    assert [sample.name for sample in read_dataset(folder).samples] == ["a.tif", "blobs-1.png"]

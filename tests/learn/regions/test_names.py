"""What images are called by the person who reviewed them."""

from __future__ import annotations

import json

import pytest

from celltally.learn.regions.names import own_names


def write(folder, made_from):
    (folder / "dataset.json").write_text(json.dumps({"made_from": made_from}))
    return folder


def test_an_exported_image_has_the_name_of_its_file(tmp_path):
    made_from = {"a": {"image": "a.tif", "t": 0, "z": 0}, "b": {"image": "b.czi", "t": 0, "z": 2}}
    assert own_names(write(tmp_path, made_from)) == {"a": "a.tif", "b": "b.czi"}


def test_planes_of_one_file_are_told_apart(tmp_path):
    planes = {
        "s_t0_z3": {"image": "s.tif", "t": 0, "z": 3},
        "s_t1_max": {"image": "s.tif", "t": 1, "z": "max"},
    }
    found = own_names(write(tmp_path, planes))
    assert found == {"s_t0_z3": "s.tif (t 0, z 3)", "s_t1_max": "s.tif (t 1, z max)"}


def test_files_of_one_name_are_told_apart(tmp_path):
    """Those of two folders are two images, not two planes of one."""
    fields = {
        "f": {"image": "f.tif", "sha256": "1a", "t": 0, "z": 0},
        "f-2": {"image": "f.tif", "sha256": "2b", "t": 0, "z": 0},
        "g": {"image": "g.tif", "sha256": "3c", "t": 0, "z": 0},
    }
    assert own_names(write(tmp_path, fields)) == {
        "f": "f.tif (1 of 2 of this name)",
        "f-2": "f.tif (2 of 2 of this name)",
        "g": "g.tif",
    }


def test_planes_of_files_of_one_name_are_told_apart(tmp_path):
    planes = {
        f"s-{sha256}{z}": {"image": "s.tif", "sha256": sha256, "t": 0, "z": z}
        for sha256 in ("1a", "2b")
        for z in (0, 1)
    }
    found = own_names(write(tmp_path, planes)).values()
    assert list(found) == [
        f"s.tif (t 0, z {z}) ({n} of 2 of this name)" for n in (1, 2) for z in (0, 1)
    ]


@pytest.mark.parametrize("made_from", [None, 3, {"a": "a.tif"}, {"a": {"image": 5}}, {"a": {}}])
def test_what_does_not_say_it_is_left_out(tmp_path, made_from):
    assert own_names(write(tmp_path, made_from)) == {}


def test_a_folder_that_was_not_exported_has_no_names(tmp_path):
    assert own_names(tmp_path) == {}

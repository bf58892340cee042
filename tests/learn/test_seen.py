"""Which images a model has seen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from celltally.errors import UserError
from celltally.learn.audits import _helped
from celltally.learn.data import read_dataset
from celltally.learn.made_from import UNKNOWN
from celltally.learn.seen import check_unseen, image_hash, image_hashes, is_among


@pytest.fixture
def exported(dataset_folder, tmp_path):
    """A data set whose first image was exported from a file, and that file."""
    original = tmp_path / "plate" / "a.tif"
    original.parent.mkdir()
    original.write_bytes(b"pixels")
    folder = dataset_folder(counts=[2, 3])
    meta = json.loads((folder / "dataset.json").read_text())
    sha256 = hashlib.sha256(original.read_bytes()).hexdigest()
    meta["made_from"] = {"blobs-0": {"image": "a.tif", "sha256": sha256}, "blobs-1": {"sha256": ""}}
    (folder / "dataset.json").write_text(json.dumps(meta))
    return read_dataset(folder), original


def test_what_taught_in_a_project_is_known_by_its_file_as_well(exported, tiny_model):
    """The project writes its pixels anew: the file that a user sees has other bytes."""
    dataset, original = exported
    first, second = dataset.samples
    taught = image_hashes([first])
    assert len(taught) == 2
    assert image_hash(first) in taught
    assert image_hashes([second]) == (image_hash(second),)
    assert _helped(replace(tiny_model.record, taught_by=taught), original)


def test_either_file_is_recognised(exported, tiny_model):
    dataset, original = exported
    first, second = dataset.samples
    of_file = hashlib.sha256(original.read_bytes()).hexdigest()[:16]
    assert is_among(first, {of_file})
    assert is_among(first, {image_hash(first)})
    assert not is_among(second, {of_file, ""})
    record = replace(tiny_model.record, taught_by=(of_file,))
    with pytest.raises(UserError, match="1 of the 2 images"):
        check_unseen([(dataset, first), (dataset, second)], record, "validate")


@pytest.mark.parametrize(
    "made_from", [None, 3, {"blobs-0": "a.tif"}, {"blobs-0": {"image": 3, "sha256": 5}}]
)
def test_what_it_was_made_from_is_not_known_where_it_cannot_be_read(dataset_folder, made_from):
    found = read_dataset(dataset_folder(counts=[2], made_from=made_from))
    assert [sample.made_from for sample in found.samples] == [UNKNOWN]

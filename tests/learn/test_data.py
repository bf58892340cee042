from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.io import write_regions
from celltally.learn.data import (
    hash_samples,
    read_dataset,
    sample_count,
    sample_dots,
    split_by_group,
)
from celltally.project.dataset import LICENCE
from celltally.types import Region


def test_a_set_with_dots(dataset_folder):
    dataset = read_dataset(dataset_folder("blobs", [3, 0, 5], channel="gray", note="x"))
    assert dataset.name == "blobs"
    assert dataset.diameter_px == 12.0
    assert dataset.channel is None
    assert dataset.is_cc0
    assert [s.stem for s in dataset.samples] == ["blobs-0", "blobs-1", "blobs-2"]
    assert [sample_count(s) for s in dataset.samples] == [3, 0, 5]
    assert sample_dots(dataset.samples[0]).yx.shape == (3, 2)


def test_a_model_may_keep_what_is_free_and_what_is_the_users_own(dataset_folder):
    licences = ("CC0 1.0", "cc0", LICENCE, "CC BY 4.0", "not stated")
    sets = [read_dataset(dataset_folder(f"s{i}", licence=x)) for i, x in enumerate(licences)]
    assert [s.may_be_kept for s in sets] == [True, True, True, False, False]
    assert [s.is_cc0 for s in sets] == [True, True, False, False, False]


def test_a_set_with_counts_only(dataset_folder):
    dataset = read_dataset(dataset_folder(counts=[3, 5], labels="counts"))
    assert [s.count for s in dataset.samples] == [3, 5]
    assert [s.dots for s in dataset.samples] == [None, None]
    with pytest.raises(UserError, match="only a count"):
        sample_dots(dataset.samples[0])


def test_counts_may_name_stems(dataset_folder):
    folder = dataset_folder(counts=[3], labels="none")
    (folder / "counts.csv").write_text("image,count\nblobs-0,7\n")
    assert sample_count(read_dataset(folder).samples[0]) == 7


def test_removed_dots_are_no_cells(dataset_folder):
    folder = dataset_folder(counts=[1])
    text = "y,x,state\n3,4,confirmed\n8,9,removed\n10,11,added\n"
    (folder / "dots" / "blobs-0.csv").write_text(text)
    sample = read_dataset(folder).samples[0]
    assert sample_count(sample) == 2
    assert sample_dots(sample).yx[:, 0].tolist() == [3, 10]


def test_images_without_labels_are_left_out(dataset_folder):
    folder = dataset_folder(counts=[3, 5])
    assert read_dataset(folder).note == ""
    (folder / "dots" / "blobs-1.csv").unlink()
    dataset = read_dataset(folder)
    assert [s.stem for s in dataset.samples] == ["blobs-0"]
    assert dataset.unlabelled == ("blobs-1.png",)
    assert dataset.note == (
        f"1 image in {folder} has no labels and is left out, such as blobs-1.png."
    )


def test_dataset_json_may_lie_beside_the_parts(dataset_folder, tmp_path):
    folder = dataset_folder("set", [3], folder=tmp_path / "set" / "train")
    (folder / "dataset.json").rename(tmp_path / "set" / "dataset.json")
    assert read_dataset(folder).name == "set"
    (tmp_path / "set" / "dataset.json").unlink()
    plain = read_dataset(folder)
    assert (plain.name, plain.diameter_px, plain.licence) == ("train", None, "not stated")


@pytest.mark.parametrize(
    ("stated", "text", "words"),
    [
        (None, "Licence: CC0", "not stated"),
        ("CC BY 4.0", "Licence: CC0", "CC BY 4.0"),
        ("see SOURCE.md", "# Set\n\n- Licence: CC0 1.0 \n- Images: 3\n", "CC0 1.0"),
        ("See SOURCE.md", "# Set\n\n**License:** ask the lab", "ask the lab"),
        ("see SOURCE.md", "Licence:\nImages: 3", "not stated"),
        ("see SOURCE.md", "no word of it", "not stated"),
        ("see SOURCE.md", None, "not stated"),
        ("see ../SOURCE.md", "Licence: CC0", "see ../SOURCE.md"),
    ],
)
@pytest.mark.parametrize("beside", [False, True])
def test_the_licence_is_said_in_words(dataset_folder, tmp_path, stated, text, words, beside):
    """Also where dataset.json only says which file has them."""
    folder = dataset_folder(counts=[1], licence=stated, folder=tmp_path / "set" / "train")
    if text is not None:
        ((tmp_path / "set" if beside else folder) / "SOURCE.md").write_text(text)
    assert read_dataset(folder).licence == words


@pytest.mark.parametrize(
    ("channel", "expected"),
    [(None, None), ("rgb", None), ("Gray", None), (2, 2), ("blue (2)", "blue"), ("DAPI", "dapi")],
)
def test_channels(dataset_folder, channel, expected):
    assert read_dataset(dataset_folder(counts=[1], channel=channel)).channel == expected


@pytest.mark.parametrize(
    ("meta", "stems", "groups"),
    [
        ({}, ["a", "b"], ["set/a", "set/b"]),
        ({"group_pattern": r"w(\d)"}, ["w1-x", "w1-y"], ["set/1", "set/1"]),
        ({"group_pattern": r"(s\d).*(p\d)"}, ["s1-p2", "s1-p3"], ["set/s1-p2", "set/s1-p3"]),
        ({"group_pattern": r"w(\d)"}, ["other", "w1-x"], ["set/other", "set/1"]),
    ],
)
def test_groups(dataset_folder, meta, stems, groups):
    dataset = read_dataset(dataset_folder("set", [1, 1], stems=stems, **meta))
    assert [s.group for s in dataset.samples] == groups


def test_groups_of_a_public_set_come_from_its_file_names(dataset_folder):
    stems = ["BM_GRAZ_HE_0001_01", "BM_GRAZ_HE_0001_02", "BM_GRAZ_HE_0002_01"]
    dataset = read_dataset(dataset_folder("mbm", [1, 1, 1], stems=stems))
    assert [s.group for s in dataset.samples] == ["mbm/0001", "mbm/0001", "mbm/0002"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"diameter_px": "12 px"}, "diameter '12 px'"),
        ({"diameter_px": -4}, "diameter -4"),
        ({"diameter_px": 0}, "diameter 0"),
        ({"diameter_px": float("nan")}, "diameter nan"),
        ({"diameter_px": True}, "diameter True"),
        ({"diameter_px": [12]}, "diameter"),
        ({"group_pattern": "(w"}, "no regular expression"),
    ],
    ids=str,
)
def test_entries_of_dataset_json_that_cannot_be_used(dataset_folder, change, words):
    with pytest.raises(UserError, match=words):
        read_dataset(dataset_folder(counts=[1], **change))


@pytest.mark.parametrize(
    ("text", "words"), [("{", "cannot be read as JSON"), ("[1]", "one JSON object"), ("", "JSON")]
)
def test_a_broken_dataset_json(dataset_folder, text, words):
    folder = dataset_folder(counts=[1])
    (folder / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_dataset(folder)


@pytest.mark.parametrize(
    "text",
    ["", "name,n\na,3\n", "image,count\nblobs-0.png,many\n", "image,count\nblobs-0.png,-1\n",
     "image,count\nblobs-0.png,3\nblobs-0.png,30\n", "image,count\nblobs-0.png,\n",
     "image,count\nblobs-0.png,inf\n"],
)  # fmt: skip
def test_a_broken_table_of_counts(dataset_folder, text):
    folder = dataset_folder(counts=[1], labels="none")
    (folder / "counts.csv").write_text(text)
    with pytest.raises(UserError, match=r"counts\.csv"):
        read_dataset(folder)


def test_folders_that_are_no_data_set(dataset_folder, tmp_path):
    with pytest.raises(UserError, match="no folder 'images'"):
        read_dataset(tmp_path)
    with pytest.raises(UserError, match="has labels"):
        read_dataset(dataset_folder(counts=[1], labels="none"))


# ---- splits -----------------------------------------------------------------


@pytest.fixture
def grouped(dataset_folder):
    stems = [f"w{well}-{field}" for well in range(7) for field in range(1 + well % 3)]
    folder = dataset_folder("set", [1] * len(stems), stems=stems, group_pattern=r"(w\d)")
    return read_dataset(folder).samples


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.01, 0.15, 0.5, 1.0])
def test_no_group_is_divided(grouped, fraction, seed):
    rest, taken = split_by_group(grouped, fraction, seed)
    assert {s.group for s in rest} & {s.group for s in taken} == set()
    assert sorted([*rest, *taken], key=lambda s: s.stem) == sorted(grouped, key=lambda s: s.stem)
    assert rest
    assert taken
    if fraction < 0.6:
        assert len(taken) < fraction * len(grouped) + 3


def test_the_seed_decides(grouped):
    assert split_by_group(grouped, 0.3, 1) == split_by_group(grouped, 0.3, 1)
    assert len({tuple(split_by_group(grouped, 0.3, seed)[1]) for seed in range(6)}) > 1
    backwards = split_by_group(grouped[::-1], 0.3, 1)[1]
    assert set(backwards) == set(split_by_group(grouped, 0.3, 1)[1])


def test_one_group_stays_whole(grouped):
    one = [s for s in grouped if s.group == "set/w2"]
    assert len(one) == 3
    assert split_by_group(one, 0.5, 0) == (one, [])


def test_hashes_depend_on_images_labels_and_counts(dataset_folder):
    samples = read_dataset(dataset_folder("blobs", [3, 4])).samples
    before = hash_samples(samples)
    assert hash_samples(reversed(samples)) == before
    assert hash_samples([replace(samples[0], count=9.0), samples[1]]) != before
    dots = samples[0].dots
    dots.write_text(dots.read_text() + "1.0,1.0\n")
    assert hash_samples(samples) != before


def test_the_names_of_a_public_set_tell_what_is_in_focus(dataset_folder):
    stems = ["A01_F1_s07_w1", "A01_F23_s07_w1", "A02_F48_s07_w1"]
    public = read_dataset(dataset_folder("bbbc005", [1, 1, 2], stems=stems, labels="counts"))
    assert [sample.in_focus for sample in public.samples] == [True, False, False]
    other = read_dataset(dataset_folder("other", [1, 1, 2], stems=stems, labels="counts"))
    assert all(sample.in_focus for sample in other.samples)


def write_outlines(folder, stem, *regions):
    (folder / "regions").mkdir(exist_ok=True)
    write_regions(folder / "regions" / f"{stem}.geojson", regions)


def outline(y1, x1, kind, **options):
    corners = np.array([(-0.5, -0.5), (-0.5, x1), (y1, x1), (y1, -0.5)])
    return Region(corners, kind, **options)


@pytest.mark.parametrize(
    ("regions", "whole"),
    [
        ([outline(63.5, 71.5, "reviewed")], True),
        ([outline(63.4, 71.3, "audit")], True),
        ([outline(30, 80, "reviewed"), outline(80, 80, "audit")], True),
        ([outline(30, 30, "count"), outline(40, 40, "tissue")], True),
        ([outline(63.5, 40, "reviewed")], False),
        ([outline(63.5, 71.5, "reviewed"), outline(20, 20, "exclude")], False),
        ([outline(63.5, 71.5, "reviewed", stated=8.0)], False),
        ([outline(30, 30, "count", stated=3.0)], False),
    ],
)
def test_an_image_of_which_only_parts_are_known_is_refused(dataset_folder, regions, whole):
    folder = dataset_folder("set", [4, 8])
    write_outlines(folder, "set-1", *regions)
    if whole:
        assert len(read_dataset(folder).samples) == 2
        return
    with pytest.raises(UserError, match=r"of 1 image in .* such as set-1\.png: outside"):
        read_dataset(folder)


def test_a_set_may_name_its_groups(dataset_folder):
    folder = dataset_folder("set", [4, 8, 6], groups={"set-0": "A01", "set-1": "A01"})
    assert [s.group for s in read_dataset(folder).samples] == ["set/A01", "set/A01", "set/set-2"]

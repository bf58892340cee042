import numpy as np
import pytest

from celltally.errors import UserError
from celltally.learn.regions.plan import make_region_plan
from celltally.learn.regions.reviewed import iter_reviewed, region_count
from celltally.progress import drain


def read(*folders):
    return drain(iter_reviewed(folders, 12.0))


def test_kinds_of_regions(reviewed_folder, rectangle):
    regions = [
        rectangle(0, 0, 40, 30),
        rectangle(0, 30, 40, 60, "audit"),
        rectangle(40, 0, 64, 36, stated=3.0),
        rectangle(40, 36, 64, 60, "count", stated=2.0),
        rectangle(0, 60, 20, 72, "exclude"),
        rectangle(20, 60, 64, 72, "tissue"),
    ]
    ((image,), notes) = read(reviewed_folder([8], {0: regions}))
    assert [r.id for r in image.teaching] == [regions[i].id for i in (0, 2, 3)]
    assert [r.id for r in image.judging] == [regions[1].id]
    assert [r.id for r in image.excluded] == [regions[4].id]
    assert [region_count(image, r) for r in image.teaching[1:]] == [3.0, 2.0]
    assert notes == ()


@pytest.mark.parametrize("regions", [{}, {0: ["count"]}, {0: ["tissue"]}])
def test_an_image_without_reviewed_regions_is_known_as_a_whole(reviewed_folder, rectangle, regions):
    own = {n: [rectangle(0, 0, 20, 20, kind) for kind in kinds] for n, kinds in regions.items()}
    ((image,), _) = read(reviewed_folder([7], own))
    (region,) = image.teaching
    assert region_count(image, region) == len(image.dots.yx) == 7
    assert region.polygon.min(axis=0).tolist() == [-0.5, -0.5]
    assert region.polygon.max(axis=0).tolist() == [63.5, 71.5]


def test_an_image_of_which_only_a_part_is_excluded_teaches_nothing(reviewed_folder, rectangle):
    images, _ = read(reviewed_folder([7, 4], {0: [rectangle(0, 0, 20, 20, "exclude")]}))
    assert [i.sample.stem for i in images] == ["cells-1"]


def test_an_excluded_region_with_a_count_stays_excluded(reviewed_folder, rectangle):
    regions = [rectangle(0, 0, 20, 20, "exclude", stated=2.0), rectangle(20, 20, 60, 60)]
    ((image,), _) = read(reviewed_folder([7], {0: regions}))
    assert [r.id for r in image.teaching] == [regions[1].id]
    assert [r.id for r in image.excluded] == [regions[0].id]


def test_of_excluded_parts_nothing_is_known(reviewed_folder, rectangle, write_dots):
    """Dots there are not counted, and a region that has no other part is left out."""
    excluded = rectangle(0, 0, 64, 20, "exclude")
    regions = [rectangle(0, 0, 64, 72), rectangle(10, 0, 50, 22), excluded]
    folder = reviewed_folder([1], {0: regions})
    write_dots(folder, "cells-0", [(30, 10), (30, 40), (50, 60)])
    ((image,), (note,)) = read(folder)
    assert [r.id for r in image.teaching] == [regions[0].id]
    assert region_count(image, image.teaching[0]) == 2
    assert make_region_plan([image], 0).numbers()["dots"] == 2
    assert "1 region of cells-0.png is excluded or outside of the image but for less" in note


def test_pixels_at_model_scale_are_not_kept(reviewed_folder):
    """Those of many large images would not fit into the memory."""
    ((image,), _) = read(reviewed_folder([3], diameter_px=24))
    assert image.scaled.values is None
    assert image.values().shape == (1, *image.scaled.shape) == (1, 32, 36)


def test_counts_alone_are_stated_counts(dataset_folder):
    ((image, other), _) = read(dataset_folder(counts=[4, 9], labels="counts"))
    assert [r.stated for i in (image, other) for r in i.teaching] == [4.0, 9.0]
    assert len(image.dots.yx) == 0


def test_a_stated_count_needs_no_other_label(reviewed_folder, rectangle):
    regions = {0: [rectangle(0, 0, 40, 40, stated=3)], 1: [rectangle(0, 0, 40, 40, "tissue")]}
    ((image,), notes) = read(reviewed_folder([6, 4], regions, labels="none"))
    assert [r.stated for r in image.teaching] == [3.0]
    assert notes == ()


def test_a_region_without_a_file_of_dots_is_not_taken_for_empty(reviewed_folder, rectangle):
    regions = [rectangle(0, 0, 40, 40), rectangle(0, 40, 40, 72, stated=2)]
    ((image,), (note,)) = read(reviewed_folder([6], {0: regions}, labels="counts"))
    assert [r.id for r in image.teaching] == [regions[1].id]
    assert note == "1 region of cells-0.png is without a file of dots, and left out."


def test_removed_dots_are_no_cells_but_corrections(reviewed_folder, write_dots):
    folder = reviewed_folder([3])
    states = ["confirmed", "added", "moved", "removed"]
    write_dots(folder, "cells-0", [(10, 10), (20, 30), (40, 50), (50, 20)], states)
    ((image,), _) = read(folder)
    assert image.dots.yx.tolist() == [[10, 10], [20, 30], [40, 50]]
    assert image.corrected.tolist() == [[20, 30], [40, 50], [50, 20]]


def test_a_folder_that_is_given_twice_counts_once(reviewed_folder):
    folder = reviewed_folder([3])
    assert len(read(folder, folder / ".." / folder.name)[0]) == 1


def test_a_region_smaller_than_a_cell_is_left_out(reviewed_folder, rectangle):
    regions = [rectangle(0, 0, 10, 10), rectangle(60, 60, 90, 90), rectangle(10, 10, 60, 60)]
    ((image,), notes) = read(reviewed_folder([7], {0: regions}))
    assert [r.id for r in image.teaching] == [regions[2].id]
    assert notes == (
        "1 region of cells-0.png is smaller than a cell of 12 px, and left out.",
        "1 region of cells-0.png is excluded or outside of the image but for less than a cell of "
        "12 px, and left out.",
    )


def test_a_region_that_is_all_excluded_is_not_called_small(reviewed_folder, rectangle):
    regions = [
        rectangle(0, 0, 40, 40),
        rectangle(0, 0, 40, 40, "exclude"),
        rectangle(0, 40, 64, 72),
    ]
    ((image,), (note,)) = read(reviewed_folder([7], {0: regions}))
    assert [r.id for r in image.teaching] == [regions[2].id]
    assert "is excluded or outside of the image" in note


def test_notes_name_the_file_that_an_image_was_exported_from(reviewed_folder, rectangle):
    origin = {"image": "plate 1 A1.czi", "t": 0, "z": 0, "sha256": ""}
    small, large = rectangle(20, 30, 24, 36), rectangle(0, 0, 64, 72)
    folder = reviewed_folder([3], {0: [small, large]}, made_from={"cells-0": origin})
    ((image,), (note,)) = read(folder)
    assert image.name == "plate 1 A1.czi"
    assert note.startswith("1 region of plate 1 A1.czi is smaller")


def test_small_regions_alone_are_refused(reviewed_folder, rectangle):
    folder = reviewed_folder([7], {0: [rectangle(0, 0, 10, 10)]})
    with pytest.raises(UserError, match=r"1 region of cells-0\.png is smaller than a cell of 12"):
        read(folder)


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        (1e6, r"1,000,000 cells, but no more than about 225 of 12 px fit into it"),
        (-3.5, "-3.5 cells;"),
    ],
)
def test_counts_that_cannot_be(reviewed_folder, rectangle, stated, why):
    folder = reviewed_folder([7], {0: [rectangle(0, 0, 60, 60, stated=stated)]})
    with pytest.raises(UserError, match=rf"cells-0\.png is stated to have {why}"):
        read(folder)


def test_a_count_of_a_million_in_a_table(dataset_folder):
    folder = dataset_folder(counts=[4], labels="none")
    (folder / "counts.csv").write_text("image,count\nblobs-0.png,1000000\n")
    with pytest.raises(UserError, match=r"blobs-0\.png is stated to have 1,000,000 cells"):
        read(folder)


def test_a_stated_count_of_a_region_that_is_too_large(reviewed_folder, rectangle):
    """It cannot be divided; the note says so, and it does not count as one that taught."""
    regions = [rectangle(0, 0, 1100, 60, stated=5.0), rectangle(0, 60, 60, 100)]
    folder = reviewed_folder([9], {0: regions}, shape=(1100, 100))
    ((image,), (note,)) = read(folder)
    assert [r.id for r in image.teaching] == [regions[1].id]
    assert "cells-0.png" in note
    assert "too large" in note


def test_a_stated_count_that_an_audit_region_reaches_into(reviewed_folder, rectangle):
    """Audit regions are hidden, and how many cells are in the rest is not known."""
    stated = rectangle(0, 0, 40, 40, stated=4), rectangle(40, 0, 64, 40, stated=2)
    audit = rectangle(20, 20, 40, 60, "audit")
    ((image,), (note,)) = read(reviewed_folder([9], {0: [*stated, audit]}))
    assert [r.id for r in image.teaching] == [stated[1].id]
    assert "1 region of cells-0.png is reached into by an audit region" in note


def test_all_dots_in_one_place(reviewed_folder, write_dots):
    folder = reviewed_folder([1])
    write_dots(folder, "cells-0", [(30, 31)] * 6)
    with pytest.raises(UserError, match=r"6 of 6 dots .* cells-0\.png .* y = 30, x = 31"):
        read(folder)


def test_a_few_doubles_are_learned_from(reviewed_folder, write_dots):
    folder = reviewed_folder([1])
    write_dots(folder, "cells-0", [(30, 30), (30, 30), (10, 10), (50, 50), (10, 50)])
    assert len(read(folder)[0]) == 1


def test_one_dot_is_learned_from(reviewed_folder, rectangle, write_dots):
    folder = reviewed_folder([1], {0: [rectangle(0, 0, 60, 60)]})
    write_dots(folder, "cells-0", [(30, 31)])
    (image,), _ = read(folder)
    assert make_region_plan([image], 0).numbers()["dots"] == 1


def test_the_pixels_are_those_of_the_image(reviewed_folder):
    ((image,), _) = read(reviewed_folder([3]))
    pixels = image.pixels()
    assert pixels.shape == image.scaled.image_shape == (64, 72)
    assert pixels.dtype == np.uint8

import pytest

from celltally.errors import UserError
from celltally.learn.regions.plan import make_region_plan
from celltally.learn.seen import image_hash

WHERE = {"nominal_px": 12.0, "stride": 2, "multiple": 4}


def stems(images):
    return {i.sample.stem for i in images}


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_is_kept_back_by_group(reviewed_folder, reviewed_images, seed):
    groups = {f"cells-{i}": f"well{i // 2}" for i in range(10)}
    images = reviewed_images(reviewed_folder([4] * 10, groups=groups))
    plan = make_region_plan(images, seed)
    assert len(plan.kept) == 2
    taught, kept = ({i.sample.group for i in part} for part in (plan.teachers, plan.kept))
    assert not taught & kept
    assert stems(plan.teachers) | stems(plan.kept) == stems(images)
    assert stems(make_region_plan(images, seed).kept) == stems(plan.kept)


def test_the_seed_chooses(reviewed_folder, reviewed_images):
    images = reviewed_images(reviewed_folder([4] * 6))
    assert len({tuple(stems(make_region_plan(images, s).kept)) for s in range(8)}) > 1


def test_two_groups_all_teach(reviewed_folder, reviewed_images):
    groups = {f"cells-{i}": f"well{i // 2}" for i in range(4)}
    plan = make_region_plan(reviewed_images(reviewed_folder([4] * 4, groups=groups)), 0)
    assert plan.kept == ()
    rows = plan.judges()
    assert {judge for _, regions in rows for judge, _ in regions} == {None}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_back_has_cells_and_leaves_some(reviewed_folder, reviewed_images, seed):
    images = reviewed_images(reviewed_folder([0, 5, 0, 0]))
    assert make_region_plan(images, seed).kept == ()
    more = reviewed_images(reviewed_folder([0, 5, 4, 0], name="more"))
    assert len(make_region_plan(more, seed).kept) == 1
    assert stems(make_region_plan(more, seed).kept) < {"more-1", "more-2"}


@pytest.mark.parametrize("seed", range(4))
def test_images_that_taught_the_parent_are_not_kept_back(reviewed_folder, reviewed_images, seed):
    images = reviewed_images(reviewed_folder([4] * 6))
    taught = {image_hash(i.sample) for i in images[:5]}
    assert stems(make_region_plan(images, seed, taught=taught).kept) == {"cells-5"}
    every = {*taught, image_hash(images[5].sample)}
    assert make_region_plan(images, seed, taught=every).kept == ()


def test_regions_without_cells(reviewed_folder, reviewed_images, rectangle, write_dots):
    alone = reviewed_images(reviewed_folder([0], {0: [rectangle(0, 0, 60, 60)]}))
    with pytest.raises(
        UserError, match=r"no cell was found in the only reviewed region .*cells-0\.p"
    ):
        make_region_plan(alone, 0)
    several = reviewed_images(reviewed_folder([0, 0], name="several"))
    with pytest.raises(UserError, match=r"in any of the 2 reviewed regions"):
        make_region_plan(several, 0)
    empty = rectangle(0, 0, 30, 30)
    folder = reviewed_folder([1, 3], {0: [empty]}, name="beside")
    write_dots(folder, "beside-0", [(50, 50)])
    beside = make_region_plan(reviewed_images(folder), 0)
    assert len(beside.taught) == 2
    assert len(beside.windows(**WHERE)) == 2


def test_what_judges_kindly(reviewed_folder, reviewed_images, rectangle):
    """Audit regions beside those that teach, and what chooses when to stop; no others."""
    audit = [rectangle(0, 40, 64, 72, "audit")]
    beside = [rectangle(0, 0, 64, 40), *audit]
    images = reviewed_images(reviewed_folder([4] * 31, {0: beside, 1: audit}))
    plan = make_region_plan(images, 0, taught={image_hash(images[0].sample)})
    assert len(plan.choosing) == 4 < len(plan.kept)
    free = {i.sample.group for i in images} - plan.kindly
    assert free == {"cells/cells-1"} | {i.sample.group for i in plan.kept[4:]}


def test_audit_regions_alone_teach_nothing(reviewed_folder, reviewed_images, rectangle):
    images = reviewed_images(reviewed_folder([5], {0: [rectangle(0, 0, 60, 60, "audit")]}))
    with pytest.raises(UserError, match="audit regions only judge"):
        make_region_plan(images, 0)


def test_a_region_that_is_all_rim(reviewed_folder, reviewed_images, rectangle):
    """Narrower than two rims, it asks for nothing."""
    images = reviewed_images(reviewed_folder([9], {0: [rectangle(0, 30, 64, 36)]}))
    with pytest.raises(UserError, match="too small to learn from"):
        make_region_plan(images, 0).windows(**WHERE)


def test_numbers(reviewed_folder, reviewed_images, rectangle, write_dots):
    regions = {
        0: [
            rectangle(0, 0, 40, 40),
            rectangle(40, 0, 64, 40, stated=2),
            rectangle(0, 60, 9, 72, "exclude"),
            rectangle(0, 40, 40, 60, "audit"),
        ]
    }
    folder = reviewed_folder([5], regions)
    places = [(10, 10), (20, 20), (30, 30), (12, 30), (50, 10), (10, 50)]
    states = ["confirmed", "added", "moved", "removed", "added", "added"]
    write_dots(folder, "cells-0", places, states)
    plan = make_region_plan(reviewed_images(folder), 0)
    assert plan.numbers() == {
        "regions": 1, "stated": 1, "excluded": 1, "dots": 3, "corrected": 3,
        "kept_back": 0, "audits": 1,
    }  # fmt: skip
    assert plan.cells == 3 + 2  # dots, and what was stated
    ((image, rows),) = plan.judges()
    assert [(judge, region.kind) for judge, region in rows] == [("audit", "audit")]
    assert image is plan.teachers[0]
    ((dataset, samples),) = plan.sources()
    assert dataset.name == "cells"
    assert [s.stem for s in samples] == ["cells-0"]

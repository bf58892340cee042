"""Agreement of two annotators: whose dots are the same cells, and what follows."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.evaluate.agreement import PER_FIELD, Field, agreement, split_times
from celltally.evaluate.comparison import deming, limits_of_agreement
from celltally.types import Dots

SQUARE = np.array([[0.0, 0.0], [0.0, 50.0], [50.0, 50.0], [50.0, 0.0]])


def dots(*yx, **columns):
    return Dots.new(list(yx), **columns)


def one(a, b, radius=5.0, **field):
    return agreement([Field("f", a, b, **field)], radius).fields[0]


def fields_of(counts):
    """Fields whose counts are those given, the cells far apart and matched as far as they go."""
    places = [(20.0 * i, 0.0) for i in range(200)]
    return [Field(f"f{i}", dots(*places[:a]), dots(*places[:b])) for i, (a, b) in enumerate(counts)]


def test_matched_and_not():
    a = dots((10, 10), (30, 30), (60, 60))
    b = dots((60, 63), (10, 14), (90, 90), (95, 95))
    found = one(a, b)
    assert found.pairs.tolist() == [[0, 1], [2, 0]]
    assert (found.matched, found.only_a, found.only_b) == (2, 1, 2)
    assert (found.count_a, found.count_b, found.difference) == (3, 4, 1)
    assert found.rows_only_a.tolist() == [1]
    assert found.rows_only_b.tolist() == [2, 3]
    assert found.mean_distance_px == pytest.approx(3.5)
    assert found.f1 == pytest.approx(4 / 7)
    assert found.matched_of_a == pytest.approx(2 / 3)
    assert found.matched_of_b == pytest.approx(2 / 4)
    with pytest.raises(FrozenInstanceError):
        found.name = "other"


def test_removed_dots_are_left_out():
    state = ["proposed", "removed", "confirmed"]
    a = dots((10, 10), (30, 30), (60, 60), state=state)
    b = dots((30, 30), (60, 60), (10, 10), state=state)
    found = one(a, b)
    # Rows are those of all dots, the removed ones counted in.
    assert found.pairs.tolist() == [[0, 2]]
    assert (found.rows_only_a.tolist(), found.rows_only_b.tolist()) == ([2], [0])


def test_only_dots_of_one_plane_are_matched():
    a = dots((10, 10), (10, 10), (10, 10), t=[0, 1, 2], z=[0, 0, 4])
    b = dots((10, 10), (10, 10), (10, 10), t=[1, 0, 2], z=[0, 0, 5])
    found = one(a, b)
    assert found.pairs.tolist() == [[0, 1], [1, 0]]
    assert (found.only_a, found.only_b) == (1, 1)
    assert one(a, b, t=1).pairs.tolist() == [[1, 0]]
    assert (one(a, b, z=4).only_a, one(a, b, z=4).only_b) == (1, 0)


def test_time_points_are_fields_of_their_own():
    a, b = dots((10, 10), (10, 10), t=[0, 3]), dots((10, 10), (40, 40), t=[0, 5])
    parts = split_times(Field("movie", a, b))
    assert [part.t for part in parts] == [0, 3, 5]
    found = agreement(parts, 5)
    assert [(f.matched, f.only_a, f.only_b) for f in found.fields] == [
        (1, 0, 0), (0, 1, 0), (0, 0, 1),
    ]  # fmt: skip
    assert found.table()["t"].tolist() == [0, 3, 5]
    still = Field("still", dots((1, 1)), dots())
    assert split_times(still) == [still]
    gone = Field("gone", dots((1, 1), (1, 1), t=[0, 1], state=["proposed", "removed"]), dots())
    assert split_times(gone) == [gone]


@pytest.mark.parametrize(("y_a", "y_b", "inside"), [(48.0, 51.0, True), (49.0, 52.0, False)])
def test_a_cell_on_the_border_is_never_two_errors(y_a, y_b, inside):
    """The middle between the two dots decides, whoever is A."""
    a, b = dots((y_a, 20)), dots((y_b, 20))
    for first, second in ((a, b), (b, a)):
        found = one(first, second, polygon=SQUARE)
        assert (found.only_a, found.only_b) == (0, 0)
        assert found.matched == inside


def test_regions_side_by_side_share_the_cells_out():
    rng = np.random.default_rng(0)
    a = dots(*rng.uniform(12, 88, (300, 2)))
    b = dots(*(a.yx[:250] + rng.normal(0, 2, (250, 2))))
    cells = []
    for y in (0, 50):
        for x in (0, 50):
            found = one(a, b, polygon=SQUARE + np.array([y, x]))
            cells.append([found.matched, found.only_a, found.only_b])
    inner = 20 * (SQUARE - 25) + 50  # holds all
    whole = one(a, b, polygon=inner)
    assert np.sum(cells, axis=0).tolist() == [whole.matched, whole.only_a, whole.only_b]
    assert whole.count_a == 300
    assert len({tuple(c) for c in cells}) > 1


def test_tissue_and_excluded_parts():
    a = dots((10, 10), (10, 30), (30, 30), (80, 80))
    b = dots((10, 10), (30, 30))
    left, right = SQUARE * (1, 0.4), SQUARE * (1, 0.6) + np.array([0, 20])
    assert one(a, b, polygon=SQUARE).count_a == 3
    assert one(a, b, polygon=SQUARE, tissue=[right]).count_a == 2
    assert one(a, b, polygon=SQUARE, tissue=[left, right]).count_a == 3
    assert one(a, b, polygon=SQUARE, exclude=[left]).pairs.tolist() == [[2, 1]]
    assert one(a, b, exclude=[SQUARE]).rows_only_a.tolist() == [3]
    assert one(a, b, within=[[SQUARE], [right]]).rows_only_a.tolist() == [1]
    assert one(a, b, within=[[SQUARE], [left, right]]).count_a == 3


def test_figures_over_all_fields():
    counts = [(10, 12), (20, 19), (40, 43), (80, 79), (5, 5)]
    found = agreement(fields_of(counts), 5)
    a, b = zip(*counts, strict=True)
    assert (found.count_a, found.count_b, found.difference) == (155, 158, 3)
    assert (found.matched, found.only_a, found.only_b) == (153, 2, 5)
    assert found.matched_of_a == pytest.approx(153 / 155)
    assert found.matched_of_b == pytest.approx(153 / 158)
    assert found.f1 == pytest.approx(306 / 313)
    assert found.mean_distance_px == 0
    assert found.limits == limits_of_agreement(a, b)
    assert found.limits.bias == pytest.approx(0.6)
    assert found.line == deming(a, b)


def test_exchanging_a_and_b():
    there = agreement(fields_of([(10, 12), (20, 19), (40, 44)]), 5)
    back = agreement(fields_of([(12, 10), (19, 20), (44, 40)]), 5)
    assert back.limits.bias == -there.limits.bias
    assert back.line.slope == pytest.approx(1 / there.line.slope)
    assert (back.only_a, back.only_b) == (there.only_b, there.only_a)
    assert (back.f1, back.concordance) == (there.f1, there.concordance)


def test_classes_and_kappa():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    places = [(20.0 * i, 0.0) for i in range(120)]
    names = np.array(["dead", "dividing", "live"])
    said_a = names[rng.integers(0, 3, 120)]
    said_b = np.where(rng.random(120) < 0.7, said_a, names[rng.integers(0, 3, 120)])
    # The last ten of A and the first ten of B have no partner.
    a = dots(*places[:110], label=said_a[:110])
    b = dots(*places[10:], label=said_b[10:])
    halves = [Field("f", a[:60], b[:50]), Field("g", a[60:], b[50:])]
    found = agreement(halves, 5)
    seen_a, seen_b = said_a[10:110], said_b[10:110]
    assert found.matched == 100
    assert found.same_class == (seen_a == seen_b).sum()
    assert found.same_class_share == found.same_class / 100
    assert found.kappa == pytest.approx(metrics.cohen_kappa_score(seen_a, seen_b))
    assert found.class_table.tolist() == metrics.confusion_matrix(seen_a, seen_b).tolist()
    assert [c.name for c in found.classes] == names.tolist()
    for one_class in found.classes:
        name = one_class.name
        wanted = metrics.cohen_kappa_score(seen_a == name, seen_b == name)
        assert one_class.kappa == pytest.approx(wanted)
        assert one_class.count_a == (said_a[:110] == name).sum()
        assert one_class.count_b == (said_b[10:] == name).sum()
        assert one_class.both == ((seen_a == name) & (seen_b == name)).sum()
        given = one_class.count_a + one_class.count_b
        assert one_class.f1 == pytest.approx(2 * one_class.both / given)


def test_a_class_that_only_unmatched_cells_have():
    a, b = dots((0, 0), (50, 50), label=["live", "odd"]), dots((0, 0), label="live")
    found = agreement([Field("f", a, b)], 5)
    assert [(c.name, c.count_a, c.count_b, c.both) for c in found.classes] == [
        ("live", 1, 1, 1), ("odd", 1, 0, 0),
    ]  # fmt: skip
    assert math.isnan(found.kappa)
    assert all(math.isnan(c.kappa) for c in found.classes)


def test_nothing_at_all():
    found = agreement([Field("f", dots(), dots())], 5)
    assert (found.count_a, found.count_b, found.f1) == (0, 0, 1)
    assert found.limits.bias == 0
    assert all(map(math.isnan, (found.mean_distance_px, found.same_class_share, found.kappa)))
    assert found.classes == ()
    assert found.table()["f1"].tolist() == [1]


def test_a_radius_for_each_field():
    pair = Field("f", dots((0, 0)), dots((0, 8)))
    found = agreement([pair, pair], [5, 10])
    assert [f.matched for f in found.fields] == [0, 1]
    assert found.table()["radius_px"].tolist() == [5, 10]
    with pytest.raises(ValueError, match="broadcast"):
        agreement([pair, pair], [5, 10, 15])


@pytest.mark.parametrize("radius", [0, -3, math.nan, math.inf])
def test_a_radius_that_cannot_be_used(radius):
    with pytest.raises(UserError, match="radius"):
        agreement([Field("f", dots(), dots())], radius)


def test_no_fields():
    with pytest.raises(UserError, match="no field to compare"):
        agreement([], 5)


def test_images_whose_regions_overlap_are_named():
    a, b = dots((10, 10), (40, 40)), dots((10, 10))
    field = Field("f", a, b, polygon=SQUARE)
    aside = replace(field, polygon=SQUARE + 50)
    assert agreement([field, aside, replace(field, name="g")], 5).overlapping == ()
    for polygon in (SQUARE * 0.5, SQUARE * 0.5 + 24):  # of a pair; of a dot of A alone
        both = [replace(field, name="g"), field, replace(field, polygon=polygon)]
        assert agreement(both, 5).overlapping == ("f",)


def test_as_a_table_and_as_json():
    found = agreement(fields_of([(3, 2), (4, 4)]), 5)
    table = found.table()
    assert tuple(table.columns) == PER_FIELD
    assert table["field"].tolist() == ["f0", "f1"]
    assert table["difference"].tolist() == [-1, 0]
    assert table["t"].isna().all()
    told = json.loads(json.dumps(found.to_dict()))
    assert told["fields"] == 2
    assert told["bias"] == -0.5
    assert told["per_field"][0]["only_a"] == 1
    (cell,) = told["classes"]
    assert math.isnan(cell.pop("kappa"))
    assert cell == {"name": "cell", "count_a": 7, "count_b": 6, "both": 6, "f1": 12 / 13}

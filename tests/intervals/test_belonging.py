from dataclasses import replace

import numpy as np
import pytest

from celltally.intervals import which_counts
from celltally.intervals.belonging import FARTHER, belongs
from celltally.types import Appearances, Known

NAMES = ("level", "colour")


def looks(points, names=NAMES):
    rows = tuple(tuple(map(float, point)) for point in points)
    return Appearances(names, (0.1,) * len(names), rows, tuple(map(str, range(len(rows)))))


def look(*values):
    return dict(zip(NAMES, map(float, values), strict=True))


OWN = looks([(10.0, 0.0), (11.0, 0.5)])
OTHER = looks(np.random.default_rng(0).normal(size=(50, 2)))


@pytest.mark.parametrize(
    ("appearance", "its"),
    [
        (look(10.0, 0.0), True),
        (look(10.5, 0.3), True),
        (look(13.0, 0.0), True),
        (look(0.0, 0.0), False),
        (look(-9.0, 0.0), False),
        (look(2.5, 0.0), False),
    ],
)
def test_an_image_belongs_to_those_it_is_like(appearance, its):
    assert belongs(OWN, [OTHER], appearance) is its
    assert belongs(OWN, [looks(OTHER.points[:30]), looks(OTHER.points[30:])], appearance) is its


def test_it_may_be_somewhat_farther_from_those_learned_from():
    own, other = looks([(0.0, 0.0)]), looks([(3.0, 0.0)])
    border = 3.0 * FARTHER / (1 + FARTHER)
    assert belongs(own, [other], look(border - 0.01, 0.0))
    assert not belongs(own, [other], look(border + 0.01, 0.0))


def test_an_image_that_both_know_belongs():
    assert belongs(OWN, [looks([*OTHER.points, OWN.points[0]])], look(10.0, 0.0))


def test_units_do_not_matter():
    for _ in range(3):
        point = np.random.default_rng(1).normal(size=2) * 5
        times = np.array([100.0, 0.01])
        own, other = (
            replace(looks(np.array(a.points) * times), least=(10.0, 0.001)) for a in (OWN, OTHER)
        )
        assert belongs(own, [other], look(*(point * times))) == belongs(OWN, [OTHER], look(*point))


def test_what_cannot_be_compared_belongs():
    assert belongs(OWN, [OTHER], {})
    assert belongs(OWN, [OTHER], {"level": 0.0})
    assert belongs(OWN, [], look(0.0, 0.0))
    assert belongs(OWN, [looks([(0.0,)], ("level",))], look(0.0, 0.0))


def test_other_figures_are_left_out_where_some_can_be_compared():
    assert not belongs(OWN, [looks([(0.0,)], ("level",)), OTHER], look(0.0, 0.0))


def test_the_first_to_which_an_image_belongs_counts_it():
    grandchild = Known(looks([(30.0, 0.0)]), None)
    child, base = Known(OWN, None), Known(None, OTHER)
    models = [grandchild, child, base]
    assert which_counts(models, look(30.0, 0.0)) == 0
    assert which_counts(models, look(10.2, 0.0)) == 1
    assert which_counts(models, look(0.0, 0.0)) == 2
    assert which_counts(models, {}) == 0
    assert which_counts(models[1:], look(0.0, 0.0)) == 1
    assert which_counts(models[2:], look(30.0, 0.0)) == 0


def test_a_model_that_does_not_say_what_it_learned_from_counts_all():
    assert which_counts([Known(None, None), Known(None, OTHER)], look(0.0, 0.0)) == 0
    assert which_counts([Known(OWN, None), Known(None, None)], look(0.0, 0.0)) == 0


def test_what_a_model_was_calibrated_with_does_not_make_images_its_own():
    assert which_counts([Known(OWN, OTHER), Known(None, OTHER)], look(0.0, 0.0)) == 1

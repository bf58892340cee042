from __future__ import annotations

import math

import numpy as np
import pytest

from celltally.intervals.difficulty import NEAREST, PRIOR, difficulty, make_neighbours

EASY = {"contrast": 1.0, "diameter_px": 10.0}
HARD = {"contrast": 2.0, "diameter_px": 40.0}


def two_kinds(n: int = 20):
    looks = [EASY] * n + [HARD] * n
    return make_neighbours(looks, np.full(2 * n, 50.0), np.repeat([0.25, 4.0], n))


def test_an_image_is_as_hard_as_those_it_looks_like() -> None:
    known = two_kinds()
    for look, surprise in ((EASY, 0.25), (HARD, 4.0)):
        expected = math.sqrt((PRIOR + NEAREST * surprise) / (PRIOR + NEAREST))
        assert difficulty(known, look, 50.0) == pytest.approx(expected)


def test_one_wild_error_does_not_rule() -> None:
    known = make_neighbours([EASY] * 20, np.full(20, 5.0), np.array([1e6] + [1.0] * 19))
    assert known is not None
    assert max(known.surprise) == 9.0


def test_an_estimated_diameter_is_a_look_of_its_own() -> None:
    looks = [{"diameter_ratio": 1.0}] * 15 + [{"diameter_ratio": 1.02}] * 15
    known = make_neighbours(looks, np.full(30, 5.0), np.repeat([4.0, 0.25], 15))
    estimated, given = (difficulty(known, {"diameter_ratio": r}, 5.0) for r in (1.0, 1.02))
    assert estimated > 1 > given


def test_nothing_known_is_ordinary() -> None:
    assert make_neighbours([{}, {}], np.ones(2), np.ones(2)) is None
    assert difficulty(None, EASY, 3.0) == 1.0
    assert difficulty(two_kinds(), {"contrast": 1.0}, 3.0) == 1.0  # an empty image has no size


def test_images_without_statistics_are_left_out() -> None:
    known = make_neighbours([{}, EASY, EASY], np.ones(3), np.array([9.0, 1.0, 1.0]))
    assert known is not None
    assert known.surprise == (1.0, 1.0)
    assert difficulty(known, EASY, 1.0) == 1.0

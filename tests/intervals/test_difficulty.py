from __future__ import annotations

import math

import numpy as np
import pytest

from celltally.appearance import APPEARANCE
from celltally.intervals.difficulty import NEAREST, PRIOR, difficulty, make_neighbours
from celltally.types import Neighbours

EASY = dict.fromkeys(APPEARANCE, 1.0)
HARD = dict.fromkeys(APPEARANCE, 3.0)


def two_kinds(n: int = 20) -> Neighbours:
    looks = [EASY] * n + [HARD] * n
    known = make_neighbours(looks, np.full(2 * n, 50.0), np.repeat([0.25, 4.0], n))
    assert known is not None
    return known


def test_an_image_is_as_hard_as_those_it_looks_like() -> None:
    known = two_kinds()
    for look, surprise in ((EASY, 0.25), (HARD, 4.0)):
        expected = math.sqrt((PRIOR + NEAREST * surprise) / (PRIOR + NEAREST))
        assert difficulty(known, look, 50.0) == pytest.approx(expected)


def test_the_rule_that_images_keep_tells_more_than_single_figures() -> None:
    rng = np.random.default_rng(0)
    figures = list(APPEARANCE)[:2]
    size = rng.normal(size=200)
    # Two kinds on two lines side by side: no figure alone tells them apart.
    shift = np.repeat([-0.3, 0.3], 100)
    looks = [
        EASY | dict(zip(figures, pair, strict=True))
        for pair in np.stack([size, size + shift], axis=1).tolist()
    ]
    known = make_neighbours(looks, np.full(200, 50.0), np.repeat([0.25, 4.0], 100))
    for at in (-1.0, 0.0, 1.0):
        easy, hard = (
            difficulty(known, EASY | dict(zip(figures, (at, at + gap), strict=True)), 50.0)
            for gap in (-0.3, 0.3)
        )
        assert easy < 0.8 < 1.5 < hard


def test_images_of_as_many_cells_are_asked() -> None:
    counts = np.repeat([5.0, 500.0], 20)
    known = make_neighbours([EASY] * 40, counts, np.repeat([0.25, 4.0], 20))
    assert difficulty(known, EASY, 5.0) < 1 < difficulty(known, EASY, 500.0)


def test_one_wild_error_does_not_rule() -> None:
    known = make_neighbours([EASY] * 20, np.full(20, 5.0), np.array([1e6] + [1.0] * 19))
    assert known is not None
    assert max(known.surprise) == 9.0


def test_an_estimated_diameter_is_a_look_of_its_own() -> None:
    looks = [EASY | {"diameter_ratio": r} for r in [1.0] * 15 + [1.02] * 15]
    known = make_neighbours(looks, np.full(30, 5.0), np.repeat([4.0, 0.25], 15))
    estimated, given = (difficulty(known, EASY | {"diameter_ratio": r}, 5.0) for r in (1.0, 1.02))
    assert estimated > 1 > given


def test_nothing_known_is_ordinary() -> None:
    assert make_neighbours([{}, {}], np.ones(2), np.ones(2)) is None
    assert make_neighbours([{"contrast": 1.0}], np.ones(1), np.ones(1)) is None
    assert difficulty(None, EASY, 3.0) == 1.0
    assert difficulty(two_kinds(), {"contrast": 1.0}, 3.0) == 1.0  # an empty image has no look


def test_images_that_show_nothing_are_left_out() -> None:
    known = make_neighbours([{}, EASY, EASY], np.ones(3), np.array([9.0, 1.0, 1.0]))
    assert known is not None
    assert known.surprise == (1.0, 1.0)
    assert difficulty(known, EASY, 1.0) == 1.0

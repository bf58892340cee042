from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from celltally.density import match_dots
from celltally.errors import UserError


def test_every_dot_is_used_once_and_the_most_pairs_are_made() -> None:
    # Greedy nearest-first would take (1, 0) and leave both others without a partner.
    matching = match_dots([[0, 0], [0, 3]], [[0, 2], [0, 5.5]], 3.0)
    assert matching.pairs.tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(matching.distances, [2.0, 2.5])


def test_among_the_largest_matchings_the_nearest_is_taken() -> None:
    matching = match_dots([[0, 0], [0, 1]], [[0, 1], [0, 0]], 5.0)
    assert matching.pairs.tolist() == [[0, 1], [1, 0]]
    assert matching.distances.sum() == 0


def test_it_is_optimal_against_a_dense_solver() -> None:
    rng = np.random.default_rng(11)
    for _ in range(40):
        true = rng.uniform(0, 20, (rng.integers(1, 30), 2))
        found = rng.uniform(0, 20, (rng.integers(1, 30), 2))
        distance = np.linalg.norm(true[:, None] - found[None], axis=2)
        cost = np.where(distance <= 2.5, distance - 1e4, 0.0)
        rows, columns = linear_sum_assignment(cost)
        near = distance[rows, columns] <= 2.5
        matching = match_dots(true, found, 2.5)
        assert len(matching.pairs) == near.sum()
        expected = distance[rows, columns][near].sum()
        assert matching.distances.sum() == pytest.approx(expected, abs=1e-9)
        i, j = matching.pairs.T
        np.testing.assert_allclose(matching.distances, distance[i, j], atol=1e-9)
        assert len(set(i.tolist())) == len(set(j.tolist())) == len(i)


def test_the_radius_is_inclusive() -> None:
    assert len(match_dots([[0, 0]], [[0, 2]], 2.0).pairs) == 1
    assert len(match_dots([[0, 0]], [[0, 2.001]], 2.0).pairs) == 0


def test_precision_recall_f1() -> None:
    matching = match_dots([[0, 0], [10, 10], [20, 20]], [[0, 1], [50, 50]], 3)
    assert matching.precision == 0.5
    assert matching.recall == pytest.approx(1 / 3)
    assert matching.f1 == pytest.approx(0.4)


@pytest.mark.parametrize(("true", "found", "expected"), [([], [], 1.0), ([[1, 1]], [], 0.0)])
def test_empty_sides(true: list[list[int]], found: list[list[int]], expected: float) -> None:
    for matching in (match_dots(true, found, 2), match_dots(found, true, 2)):
        assert matching.precision == matching.recall == matching.f1 == expected
        assert matching.pairs.shape == (0, 2)


def test_dense_thousands_are_quick() -> None:
    rng = np.random.default_rng(2)
    true = rng.uniform(0, 700, (5000, 2))
    found = true[rng.permutation(5000)] + rng.normal(0, 2, (5000, 2))
    start = time.perf_counter()
    matching = match_dots(true, found, 8.0)
    assert time.perf_counter() - start < 5
    assert matching.f1 > 0.98


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_radius_is_named(radius: float) -> None:
    with pytest.raises(UserError, match=str(radius)):
        match_dots([[0, 0]], [[0, 0]], radius)

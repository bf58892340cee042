"""Statistics of two counters, against other libraries and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from celltally.evaluate.comparison import (
    LIMIT,
    cohen_kappa,
    concordance,
    deming,
    limits_of_agreement,
)

# Peak expiratory flow by two meters, first measurements: the table of Bland & Altman 1986.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_the_example_of_bland_and_altman():
    """They give −2.1 and 38.8 l/min, limits −79.7 and 75.5, and −22.0 to 17.8 for the bias."""
    found = limits_of_agreement(MINI, LARGE)
    assert found.n == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # They take 2 standard deviations there, 1.96 in later papers.
    assert found.bias + 2 * found.sd == pytest.approx(75.5, abs=0.1)
    assert (found.low, found.high) == (
        pytest.approx(found.bias - 1.96 * found.sd),
        pytest.approx(found.bias + 1.96 * found.sd),
    )
    assert found.bias_ci == pytest.approx((-22.0, 17.8), abs=0.1)


def test_intervals_hold_what_they_should():
    """Of many samples of five, 95 % of the intervals hold the true limits."""
    rng = np.random.default_rng(0)
    held = np.zeros(3)
    for _ in range(2000):
        found = limits_of_agreement(np.zeros(5), rng.normal(3.0, 2.0, 5))
        for i, (bounds, true) in enumerate(
            (
                (found.bias_ci, 3.0),
                (found.low_ci, 3.0 - 2 * LIMIT),
                (found.high_ci, 3.0 + 2 * LIMIT),
            )
        ):
            held[i] += bounds[0] <= true <= bounds[1]
    assert held / 2000 == pytest.approx([0.95] * 3, abs=0.015)


def test_of_many_pairs_the_limits_intervals_are_those_of_1999():
    rng = np.random.default_rng(1)
    n = 2000
    found = limits_of_agreement(np.zeros(n), rng.normal(0, 1, n))
    error = found.sd * math.sqrt(1 / n + LIMIT**2 / (2 * (n - 1)))
    wanted = (found.high - 1.96 * error, found.high + 1.96 * error)
    assert found.high_ci == pytest.approx(wanted, abs=4e-3)
    assert found.low_ci[0] - found.bias == pytest.approx(found.bias - found.high_ci[1])


def test_exchanging_the_two_turns_the_differences_round():
    there, back = limits_of_agreement(MINI, LARGE), limits_of_agreement(LARGE, MINI)
    assert (back.bias, back.low, back.high) == pytest.approx((-there.bias, -there.high, -there.low))
    assert back.low_ci == pytest.approx((-there.high_ci[1], -there.high_ci[0]))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pairs_for_limits(n):
    found = limits_of_agreement([4] * n, [6] * n)
    assert found.n == n
    assert (math.isnan(found.bias) and n == 0) or found.bias == 2
    assert math.isnan(found.low)
    assert math.isnan(found.high_ci[1])


def test_deming_is_the_first_principal_component():
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.default_rng(2)
    for slope in (0.4, 1.0, 2.5, -0.7):
        true = rng.uniform(0, 100, 40)
        one, two = true + rng.normal(0, 6, 40), 5 + slope * true + rng.normal(0, 6, 40)
        axis = decomposition.PCA(1).fit(np.stack([one, two], axis=1)).components_[0]
        found = deming(one, two)
        assert found.slope == pytest.approx(axis[1] / axis[0])
        assert found.intercept == pytest.approx(two.mean() - found.slope * one.mean())
        assert found.slope_ci[0] < found.slope < found.slope_ci[1]


def test_errors_of_the_first_do_not_pull_the_slope_down():
    rng = np.random.default_rng(3)
    true = rng.uniform(0, 60, 4000)
    one, two = true + rng.normal(0, 10, 4000), true + rng.normal(0, 10, 4000)
    assert deming(one, two).slope == pytest.approx(1.0, abs=0.03)
    assert np.polyfit(one, two, 1)[0] < 0.8
    assert deming(two, one).slope == pytest.approx(1 / deming(one, two).slope)


def test_the_slope_s_interval_holds_what_it_should():
    """The jackknife is approximate: of samples of twelve, 93 to 97 % of its intervals."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(600):
        true = rng.uniform(20, 200, 12)
        one, two = (factor * true + rng.normal(0, 6, 12) for factor in (1.0, 1.1))
        low, high = deming(one, two).slope_ci
        held += low <= 1.1 <= high
    assert 0.92 <= held / 600 <= 0.98


def test_counts_that_follow_no_line():
    assert math.isnan(deming([1, 2], [1, 2]).slope)
    assert math.isnan(deming([3, 3, 3, 3], [3, 3, 3, 3]).slope)
    assert math.isnan(deming([3, 3, 3, 3], [1, 2, 3, 4]).slope)
    assert deming([1, 2, 3, 4], [3, 3, 3, 3]).slope == 0
    three = deming([1, 2, 3], [1, 3, 3])
    assert math.isfinite(three.slope)
    assert math.isnan(three.slope_ci[0])


def test_concordance_of_lin():
    assert concordance([1, 2, 3], [1, 2, 3]) == 1
    assert concordance([1, 2, 3], [3, 2, 1]) == -1
    # By hand: variances 2/3, covariance 2/3, one apart: 2·(2/3) / (4/3 + 1).
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)
    rng = np.random.default_rng(5)
    one, two = rng.normal(size=(2, 30))
    r = np.corrcoef(one, two)[0, 1]
    # Lin's other form: precision times accuracy.
    v, u = one.std() / two.std(), (one.mean() - two.mean()) / math.sqrt(one.std() * two.std())
    assert concordance(one, two) == pytest.approx(r * 2 / (v + 1 / v + u**2))
    assert math.isnan(concordance([4], [4]))
    assert math.isnan(concordance([4, 4], [4, 4]))


def test_kappa_is_scikit_learn_s():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(6)
    for k in (2, 3, 5):
        one = rng.integers(0, k, 60)
        two = np.where(rng.random(60) < 0.6, one, rng.integers(0, k, 60))
        table = np.zeros((k, k), int)
        np.add.at(table, (one, two), 1)
        assert cohen_kappa(table) == pytest.approx(metrics.cohen_kappa_score(one, two))


def test_kappa_at_its_ends():
    assert cohen_kappa([[3, 0], [0, 5]]) == 1
    assert cohen_kappa([[4, 4], [4, 4]]) == 0
    assert cohen_kappa([[0, 5], [5, 0]]) == -1
    assert math.isnan(cohen_kappa([[7, 0], [0, 0]]))
    assert math.isnan(cohen_kappa(np.zeros((0, 0))))


@pytest.mark.parametrize("figure", [limits_of_agreement, deming, concordance])
def test_counts_that_do_not_belong_together(figure):
    with pytest.raises(ValueError, match="3 and 2 counts"):
        figure([1, 2, 3], [1, 2])

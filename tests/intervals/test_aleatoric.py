from __future__ import annotations

import numpy as np
import pytest

from celltally.intervals import Scale, fit_scale


def test_s_is_the_root_of_the_weighted_sum() -> None:
    scale = Scale(2.0, 0.01, 3.0)
    np.testing.assert_allclose(scale([0.0, 4.0], [0.0, 10.0]), [3**0.5, 12**0.5])


def images(n: int = 800) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    count = np.exp(rng.uniform(0, 7, n))
    return rng, count, 0.3 * count * rng.uniform(0.3, 3, n)


@pytest.mark.parametrize(
    "true", [Scale(1.5, 0.0016, 0.5), Scale(0.0, 0.01, 4.0), Scale(3.0, 0.0, 0.0)]
)
def test_s_is_recovered(true: Scale) -> None:
    rng, count, variance = images()
    # Errors of the family that is fitted: Student's t with 5 degrees of freedom.
    error = true(variance, count) * rng.standard_t(5, len(count))
    ratio = fit_scale(error, variance, count)(variance, count) / true(variance, count)
    assert np.quantile(ratio, 0.01) > 0.75
    assert np.quantile(ratio, 0.99) < 1.35


def test_an_outlier_does_not_set_the_scale() -> None:
    rng, count, variance = images(60)
    error = np.sqrt(variance) * rng.normal(size=60)
    clean = fit_scale(error, variance, count)(variance, count)
    error[7] = 3000.0
    spoilt = fit_scale(error, variance, count)(variance, count)
    assert np.median(spoilt / clean) < 1.6


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("count", [0.0, 30.0])
def test_perfect_counts_leave_s_above_zero(n: int, count: float) -> None:
    scale = fit_scale(np.zeros(n), np.zeros(n), np.full(n, count))
    assert min(scale.alpha, scale.beta, scale.gamma) >= 0
    assert scale(0.0, 0.0) > 0.01 or count > 0
    assert scale(0.0, count) > 0.05


def test_a_model_without_variance_has_no_alpha() -> None:
    rng, count, _ = images(100)
    scale = fit_scale(0.1 * count * rng.normal(size=100), np.zeros(100), count)
    assert scale.alpha == 0
    assert scale.beta == pytest.approx(0.01, rel=0.5)

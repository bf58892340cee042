from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.intervals import MIN_GROUPS, Scale, calibrate, score_quantile
from celltally.types import Calibration

Floats = NDArray[np.float64]


def simulate(rng: np.random.Generator, n: int, heavy: bool = False) -> tuple[Floats, ...]:
    """Counts, truths and variances of exchangeable images of 1 to 1,000 cells."""
    truth = np.exp(rng.uniform(0, 7, n))
    variance = 0.3 * truth * rng.uniform(0.5, 2, n)
    s = np.sqrt(1.5 * variance + (0.04 * truth) ** 2 + 0.5)
    z = rng.standard_t(3, n) if heavy else rng.normal(size=n)
    return np.maximum(truth - s * z, 0), truth, variance


def names(n: int) -> list[str]:
    return [f"image {i}" for i in range(n)]


def inside(calibration: Calibration, level: float, images: tuple[Floats, ...]) -> float:
    count, truth, variance = images
    quantile, _ = score_quantile(calibration, level)
    s = Scale(calibration.alpha, calibration.beta, calibration.gamma)(variance, count)
    return float((np.abs(truth - count) <= quantile * s).mean())


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize(("n", "level"), [(60, 0.95), (60, 0.8), (25, 0.95), (8, 0.95)])
def test_coverage_on_exchangeable_images(n: int, level: float, heavy: bool) -> None:
    rng = np.random.default_rng(17)
    observed = np.mean(
        [
            inside(calibrate(*simulate(rng, n, heavy), names(n)), level, simulate(rng, 200, heavy))
            for _ in range(15)
        ]
    )
    # 15 calibrations: the mean's own standard error is about 0.01.
    assert observed > level - 0.03
    if n >= MIN_GROUPS:
        assert observed < level + 1 / (n + 1) + 0.03


def curve(scores: list[float], groups: int) -> Calibration:
    return Calibration(0.0, 0.0, 1.0, tuple(scores), len(scores), groups, "2024-01-01")


def test_the_quantile_is_the_split_conformal_one() -> None:
    assert score_quantile(curve([*range(1, 20)], 19), 0.95) == (19, True)
    assert score_quantile(curve([*range(1, 40)], 39), 0.95) == (38, True)
    assert score_quantile(curve([*range(1, 101)], 100), 0.95) == (96, True)
    assert score_quantile(curve([*range(1, 10)], 9), 0.5) == (5, True)
    assert score_quantile(curve([*range(1, 10)], 9), 0.001) == (1, True)


def test_beyond_the_data_the_largest_score_is_inflated() -> None:
    quantile, carried = score_quantile(curve([*range(1, 19)], 18), 0.95)
    assert not carried
    assert 18 < quantile < 18.6
    fewer, _ = score_quantile(curve([1.0] * 5, 5), 0.95)
    # t with 2 degrees of freedom: 4.3027 at 0.95 two-sided, 2.1320 at 5/6.
    assert fewer == pytest.approx(4.3027 / 2.1320, rel=1e-3)
    fewest, _ = score_quantile(curve([1.0], 1), 0.95)
    assert fewest == pytest.approx(math.tan(0.475 * math.pi))
    wider, _ = score_quantile(curve([1.0] * 5, 5), 0.99)
    assert wider > fewer


def test_images_without_any_error_do_not_make_intervals_without_width() -> None:
    for n in (1, 3, 10):
        made = calibrate([0.0] * n, [0.0] * n, [0.0] * n, [str(i) for i in range(n)])
        quantile, carried = score_quantile(made, 0.95)
        assert not carried
        assert quantile * Scale(made.alpha, made.beta, made.gamma)(4.0, 50.0) > 0.1


def test_groups_weigh_alike() -> None:
    rng = np.random.default_rng(0)
    count, truth, variance = simulate(rng, 60)
    # One slide gives 40 of the images, and only it is badly off.
    groups = ["slide"] * 40 + names(20)
    count[:40] = 3 * truth[:40]
    calibration = calibrate(count, truth, variance, groups)
    assert calibration.n == 60
    assert calibration.groups == 21
    assert len(calibration.scores) == 21 * 20
    # Weighed by images the median score would be the slide's.
    median, _ = score_quantile(calibration, 0.5)
    assert median < 2


def test_many_images_of_few_slides_are_provisional() -> None:
    count, truth, variance = simulate(np.random.default_rng(1), 60)
    calibration = calibrate(count, truth, variance, [f"slide {i % 6}" for i in range(60)])
    assert calibration.kind == "provisional"
    assert score_quantile(calibration, 0.95)[1] is False
    assert score_quantile(calibration, 0.8)[1] is True


def test_scores_come_from_fits_without_the_image() -> None:
    # One image is hopeless: an s that had seen it would shrink its score.
    count, truth, variance = simulate(np.random.default_rng(2), 30)
    count[0] = truth[0] + 500
    calibration = calibrate(count, truth, variance, names(30))
    own = Scale(calibration.alpha, calibration.beta, calibration.gamma)
    s = float(own(variance[:1], count[:1])[0])
    assert calibration.scores[-1] > 500 / s


@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_few_images_still_give_something_finite(n: int) -> None:
    calibration = calibrate([10.0] * n, [10.0] * n, [0.0] * n, ["one slide"] * n)
    quantile, carried = score_quantile(calibration, 0.95)
    assert calibration.kind == "provisional"
    assert math.isfinite(quantile)
    assert not carried
    assert calibration.gamma > 0


def test_the_record_says_what_it_was_made_of() -> None:
    images = simulate(np.random.default_rng(3), 20)
    calibration = calibrate(
        *images, names(20), sets=["a", "b"], ranges={"contrast": (1, 2)}, date="2024-05-01"
    )
    assert calibration.kind == "calibrated"
    assert (calibration.n, calibration.groups, calibration.date) == (20, 20, "2024-05-01")
    assert calibration.sets == ("a", "b")
    assert calibration.ranges == {"contrast": (1, 2)}
    assert list(calibration.scores) == sorted(calibration.scores)
    assert replace(calibration) == calibrate(
        *images, names(20), sets=["a", "b"], ranges={"contrast": (1, 2)}, date="2024-05-01"
    )


def test_bad_input_is_named() -> None:
    with pytest.raises(UserError, match="0 images"):
        calibrate([], [], [], [])
    with pytest.raises(UserError, match="true count of nan"):
        calibrate([1.0, 2.0], [1.0, math.nan], [0.0, 0.0], ["a", "b"])
    with pytest.raises(ValueError, match="belong together"):
        calibrate([1.0, 2.0], [1.0], [0.0, 0.0], ["a", "b"])

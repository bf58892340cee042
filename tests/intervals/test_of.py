from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.intervals import known_appearances, of
from celltally.types import Calibration, Grid, Prediction

CALIBRATION = Calibration(
    alpha=2.0,
    beta=0.01,
    gamma=3.0,
    scores=tuple(float(i) / 10 for i in range(1, 40)),
    n=39,
    groups=39,
    date="2024-05-01",
    ranges={"diameter_px": (8.0, 30.0), "contrast": (1.0, 2.0)},
)


def prediction_of(
    count: float = 100.0,
    variance: float = 50.0,
    calibration: Calibration | None = CALIBRATION,
    **unusual: float,
) -> Prediction:
    density = np.full((1, 4, 5), count / 20, dtype=np.float32)
    return Prediction(
        density=density,
        variance=np.full_like(density, variance / 20),
        grid=Grid((4, 5)),
        image_shape=(4, 5),
        diameter_px=12.0,
        model="fake",
        model_sha256="c0ffee",
        calibration=calibration,
        statistics={"diameter_px": 12.0, "contrast": 1.5} | unusual,
    )


def test_the_bounds() -> None:
    interval = of(prediction_of(), 0.95)
    half = 3.8 * math.sqrt(2 * 50 + 0.01 * 100**2 + 3)
    assert interval.low == pytest.approx(100 - half, rel=1e-5)
    assert interval.high == pytest.approx(100 + half, rel=1e-5)
    assert (interval.level, interval.kind, interval.reason) == (0.95, "calibrated", "")


def test_higher_levels_are_wider() -> None:
    widths = [(i := of(prediction_of(), x)).high - i.low for x in (0.1, 0.5, 0.9, 0.97, 0.99)]
    assert widths == sorted(set(widths))


def test_never_below_zero() -> None:
    assert of(prediction_of(count=3.0)).low == 0
    nothing = of(prediction_of(count=0.0, variance=0.0))
    assert nothing.low == 0
    assert nothing.high == pytest.approx(3.8 * 3**0.5)


def test_too_high_a_level_is_provisional_and_says_so() -> None:
    interval = of(prediction_of(), 0.99)
    assert interval.kind == "provisional"
    assert "39 independent groups" in interval.reason
    assert "too few for 99 %" in interval.reason


def test_a_provisional_calibration_stays_provisional() -> None:
    interval = of(prediction_of(calibration=replace(CALIBRATION, kind="provisional")), 0.5)
    assert interval.kind == "provisional"
    assert interval.reason


def test_without_calibration_there_are_no_bounds() -> None:
    interval = of(prediction_of(calibration=None))
    assert interval.kind == "not calibrated"
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert "no calibration" in interval.reason


def test_an_image_that_looks_unlike_the_others_is_named() -> None:
    rng = np.random.default_rng(0)
    least = {"level_50": 0.1, "strength_0": 0.1, "red_green": 0.1}
    looks = [dict(zip(least, row, strict=True)) for row in rng.normal(size=(60, 3)).tolist()]
    known = known_appearances(looks, [str(i) for i in range(60)], least)
    aware = replace(CALIBRATION, appearances=known)
    prediction = prediction_of(calibration=aware)
    like = of(replace(prediction, appearance=dict.fromkeys(least, 0.3)))
    assert like == of(prediction_of())
    for name, words in (
        ("level_50", "its brightness"),
        ("strength_0", "how strong its structure is"),
        ("red_green", "its colours"),
    ):
        unlike = of(replace(prediction, appearance=dict.fromkeys(least, 0.3) | {name: 20.0}))
        assert unlike.kind == "not calibrated"
        assert unlike.reason.startswith("the image looks unlike any seen, most of all in " + words)
        assert (unlike.low, unlike.high) == (like.low, like.high)
    # Without a look at it (an older prediction) only the ranges tell.
    assert of(prediction).kind == "calibrated"


def test_an_image_is_looked_at_once_for_all_its_regions(monkeypatch) -> None:
    looked = []
    module = import_module("celltally.intervals.of")  # the package has a function of that name
    monkeypatch.setattr(module, "unlike", lambda *given: looked.append(given) or ())
    first, second = prediction_of(), prediction_of()
    for _ in range(3):
        of(first)
        of(first, 0.9, [(0, 0), (0, 3), (3, 3)])
    of(second)
    assert [one for one, _ in looked] == [first, second]


def test_an_unlike_image_is_named_and_keeps_its_bounds() -> None:
    interval = of(prediction_of(diameter_px=60.0, contrast=0.9))
    assert interval.kind == "not calibrated"
    assert "cells much larger than any seen (60; seen: 8 to 30)" in interval.reason
    assert "contrast lower than any seen" in interval.reason
    like = of(prediction_of(diameter_px=30.0, contrast=1.0))
    assert like.kind == "calibrated"
    assert (interval.low, interval.high) == (like.low, like.high)


def test_a_statistic_without_words_of_its_own() -> None:
    calibration = replace(CALIBRATION, ranges={"wobble": (0.0, 1.0)})
    assert "wobble much higher" in of(prediction_of(calibration=calibration, wobble=9.0)).reason


@pytest.mark.parametrize("statistics", [{}, {"diameter_px": 12.0}, {"contrast": math.nan}])
def test_an_image_that_shows_too_little_is_not_calibrated(statistics: dict[str, float]) -> None:
    interval = of(replace(prediction_of(count=0.0, variance=0.0), statistics=statistics))
    assert interval.kind == "not calibrated"
    assert interval.reason == "the image shows too little to be compared with those seen"


def test_a_diameter_that_the_image_contradicts() -> None:
    calibration = replace(CALIBRATION, ranges={"diameter_ratio": (0.7, 1.4)})
    small = of(prediction_of(calibration=calibration, diameter_ratio=0.5))
    large = of(prediction_of(calibration=calibration, diameter_ratio=3.0))
    assert small.kind == large.kind == "not calibrated"
    assert small.reason.startswith("the diameter is smaller than the cells look (0.5;")
    assert large.reason.startswith("the diameter is much larger than the cells look (3;")
    right = of(prediction_of(calibration=calibration, diameter_ratio=1.0))
    assert right.kind == "calibrated"


def test_a_prediction_that_is_not_finite_has_no_bounds() -> None:
    interval = of(prediction_of(variance=math.inf))
    assert interval.kind == "not calibrated"
    assert math.isnan(interval.low)


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, float("nan"), True, "0.95"])
def test_levels_outside_zero_and_one_are_named(level: object) -> None:
    with pytest.raises(UserError, match=str(level)):
        of(prediction_of(), level)  # type: ignore[arg-type]

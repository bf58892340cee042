from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.intervals import MIN_GROUPS, calibrate, of, score_quantile
from celltally.intervals.recalibrate import (
    Audit,
    recalibrate,
    still_needed,
    summarise_audits,
)
from celltally.types import Grid, Prediction

PER_IMAGE = 8  # regions that an image of the simulation consists of


def microscope(rng: np.random.Generator, n: int, loss: float = 0.0):
    """Images of 8 regions each: predicted, counted and variance, all ``(n, 8)``.

    A share of the cells is overlooked, everywhere; each image has an error of its own on
    top, and each region some noise.
    """
    truth = rng.poisson(rng.uniform(12, 40, (n, 1)), (n, PER_IMAGE)).astype(float)
    found = (1 - loss) * truth * (1 + rng.normal(0, 0.05, (n, 1)))
    predicted = np.maximum(found + rng.normal(0, 1, truth.shape), 0)
    return predicted, truth, 0.02 * predicted


def parent(rng: np.random.Generator, n: int = 60):
    predicted, truth, variance = microscope(rng, n)
    return calibrate(
        predicted.sum(1),
        truth.sum(1),
        variance.sum(1),
        [str(i) for i in range(n)],
        regions=[np.stack(rows, axis=1) for rows in zip(predicted, truth, variance, strict=True)],
        date="2026-01-01",
    )


def audits(images, each: int = 1, first: int | None = None) -> list[Audit]:
    predicted, truth, variance = (part[:first] for part in images)
    return [
        Audit(f"{i}.tif", str(i), predicted[i, k], variance[i, k], truth[i, k],
              predicted[i].sum(), variance[i].sum())
        for i in range(len(predicted))
        for k in range(each)
    ]  # fmt: skip


def as_prediction(calibration, predicted, variance) -> Prediction:
    """One image whose regions are columns of one cell."""
    maps = [np.asarray(m, dtype=np.float32)[None, None] for m in (predicted, variance)]
    shape = maps[0].shape[1:]
    return Prediction(*maps, Grid(shape), shape, 1.0, "m", "ab", calibration=calibration)


def held(calibration, images, level: float = 0.95) -> tuple[float, float]:
    """Share of regions, and of images, whose interval holds the truth."""
    regions, whole = [], []
    for predicted, truth, variance in zip(*images, strict=True):
        seen = as_prediction(calibration, predicted, variance)
        one = of(seen, level)
        whole.append(one.low <= truth.sum() <= one.high)
        for k in range(2):
            box = [(-0.5, k - 0.5), (-0.5, k + 0.5), (0.5, k + 0.5), (0.5, k - 0.5)]
            part = of(seen, level, box)
            regions.append(part.low <= truth[k] <= part.high)
    return float(np.mean(regions)), float(np.mean(whole))


@pytest.mark.parametrize("each", [1, 3])
def test_a_model_that_is_off_by_a_fifth_is_covered_again(each) -> None:
    before, after, images = [], [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        base, fresh = parent(rng), microscope(rng, 40, loss=0.2)
        made = recalibrate(base, audits(microscope(rng, 19, loss=0.2), each))
        assert made.kind == "calibrated"
        before.append(held(base, fresh)[0])
        regions, whole = held(made, fresh)
        after.append(regions)
        images.append(whole)
    assert np.mean(before) < 0.75
    assert np.mean(after) > 0.94
    assert np.mean(images) > 0.94  # provisional, but not too narrow


def test_a_model_that_is_right_keeps_its_widths_about() -> None:
    rng = np.random.default_rng(1)
    base = parent(rng)
    made = [recalibrate(base, audits(microscope(rng, 60), 2)) for _ in range(20)]
    assert np.mean([m.audits.region_factor for m in made]) == pytest.approx(1, abs=0.15)
    assert np.mean([m.audits.image_factor for m in made]) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("n", [1, 2, 5, 12, 18])
def test_few_audits_widen_and_never_narrow(n, loss) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        base = parent(rng)
        seen = audits(microscope(rng, n, loss))
        made = recalibrate(base, seen)
        assert made.kind == "provisional"
        for old, new in zip(base.regions.bins, made.regions.bins, strict=True):
            assert score_quantile(new, 0.95)[0] >= score_quantile(old, 0.95)[0] * (1 - 1e-4)
        assert score_quantile(made, 0.95)[0] >= score_quantile(base, 0.95)[0] * (1 - 1e-4)
        for audit in seen:  # what was seen is covered
            one = of(
                as_prediction(made, [audit.predicted], [audit.variance]),
                0.95,
                [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)],
            )
            assert one.low - 1e-3 <= audit.counted <= one.high + 1e-3
            assert one.kind == "provisional"
            assert one.reason == (
                f"{n} of 19 images audited: {19 - n} more needed for a calibrated interval"
            )


def nothing(rng: np.random.Generator, counted: float, n: int = 1) -> list[Audit]:
    """Regions in which the model finds next to nothing."""
    return [
        Audit(f"n{i}", f"n{i}", 10.0 ** rng.uniform(-9, -4), 1e-9, counted, 200.0, 4.0)
        for i in range(n)
    ]


def confident(rng: np.random.Generator):
    """Give a calibration that leaves no room where nothing is predicted."""
    base = parent(rng)
    return replace(base, gamma=1e-30, regions=replace(base.regions, gamma=1e-12))


@pytest.mark.parametrize("n", [8, 18])
def test_a_cell_where_nothing_was_predicted_does_not_blow_all_intervals_up(n) -> None:
    rng = np.random.default_rng(10)
    base, seen = confident(rng), audits(microscope(rng, n))
    made = recalibrate(base, [*seen, *nothing(rng, 1.0)])
    assert made.audits.region_factor < 5
    assert made.audits.image_factor < 5
    empty = as_prediction(made, [1e-6], [1e-9])
    for region in (None, [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]):
        assert 0.45 <= of(empty, 0.95, region).high < 5


def test_audits_of_nothing_leave_intervals_a_width() -> None:
    rng = np.random.default_rng(11)
    made = recalibrate(confident(rng), nothing(rng, 0.0, 25))
    assert made.audits.region_factor == 0.1
    seen = as_prediction(made, [30.0, 5.0], [1.0, 0.1])
    for region in (None, [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]):
        one = of(seen, 0.95, region)
        assert one.high - one.low > 0.05
        assert one.kind == "provisional"
    found = summarise_audits(confident(rng), nothing(rng, 0.0, 25))
    assert (found.before, found.after, found.counted) == (25, 25, 0)


def test_the_kind_of_interval_says_what_was_audited() -> None:
    rng = np.random.default_rng(3)
    made = recalibrate(parent(rng), audits(microscope(rng, 25)), model="general", sha256="cd")
    count = (made.audits.low + made.audits.high) / 2
    box = [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]
    seen = as_prediction(made, [count, 3.0], [1.0, 0.1])
    assert (of(seen, 0.95, box).kind, of(seen, 0.95, box).reason) == ("calibrated", "")
    assert of(seen, 0.99, box).kind == "provisional"
    small = of(seen, 0.95, [(y, x + 1) for y, x in box])
    assert small.kind == "provisional"
    assert small.reason.startswith("the audited regions have ")
    whole = of(seen, 0.95)
    assert whole.reason == "from audits of regions, not of whole images"
    assert (made.audits.parent, made.audits.parent_calibration) == ("general", "cd")


def test_whole_images_calibrate_images() -> None:
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        base, images = parent(rng), microscope(rng, 30, loss=0.2)
        predicted, truth, variance = (part.sum(1) for part in images)
        made = recalibrate(
            base,
            [
                Audit(f"{i}", str(i), p, v, t, p, v, whole=True)
                for i, (p, t, v) in enumerate(zip(predicted, truth, variance, strict=True))
            ],
        )
        assert (made.audits.whole, made.groups, made.n) == (30, 30, 30)
        wider = score_quantile(made, 0.95)[0] / score_quantile(base, 0.95)[0]
        assert made.audits.image_factor == pytest.approx(wider, rel=1e-3)
        fresh = microscope(rng, 60, loss=0.2)
        assert of(as_prediction(made, fresh[0][0], fresh[2][0]), 0.95).kind == "calibrated"
        shares.append(held(made, fresh)[1])
    assert np.mean(shares) > 0.93


def test_regions_of_a_group_share_its_mass() -> None:
    rng = np.random.default_rng(5)
    base, images = parent(rng), microscope(rng, 19)
    seen = audits(images)
    many = [replace(seen[0], image=f"{k}") for k in range(50)]
    one = recalibrate(base, [*seen, *many])
    assert (one.audits.groups, one.audits.regions) == (19, 69)
    shares = [list(one.regions.bins[-1].scores).count(s) for s in one.regions.bins[-1].scores]
    assert len(set(shares)) == 1  # 20 scores of every group


def test_a_model_without_a_calibration_gets_one() -> None:
    rng = np.random.default_rng(6)
    few = recalibrate(None, audits(microscope(rng, 3)))
    assert (few.kind, few.audits.parent_calibration) == ("provisional", "")
    fresh = microscope(rng, 200, loss=0.2)
    made = recalibrate(None, audits(microscope(rng, 60, loss=0.2)))
    assert held(made, fresh)[0] > 0.9


def test_ranges_are_widened_and_none_is_added() -> None:
    rng = np.random.default_rng(7)
    base = replace(parent(rng), ranges={"contrast": (1.0, 2.0)})
    seen = audits(microscope(rng, 3))
    made = recalibrate(base, seen, ranges={"contrast": (0.5, 1.5), "colour": (0.0, 0.1)})
    assert made.ranges == {"contrast": (0.5, 2.0)}
    assert recalibrate(None, seen, ranges={"colour": (0.0, 0.1)}).ranges == {}
    assert base.ranges == {"contrast": (1.0, 2.0)}


def test_a_summary_judges_each_audit_by_the_others() -> None:
    rng = np.random.default_rng(8)
    base, seen = parent(rng), audits(microscope(rng, 40, loss=0.2))
    found = summarise_audits(base, seen)
    assert (found.regions, found.groups) == (40, 40)
    assert found.bias == pytest.approx(-0.2, abs=0.03)
    assert found.before < 34
    assert 36 <= found.after <= 40
    assert found.factor > 1.5
    assert summarise_audits(base, seen[:1]).after is None
    assert np.isnan(summarise_audits(base, [replace(seen[0], counted=0)]).bias)


def test_the_sentence_counts_down() -> None:
    assert still_needed(12) == "12 of 19 images audited: 7 more needed for a calibrated interval"
    assert still_needed(MIN_GROUPS, "wells") == "19 wells audited: enough for a calibrated interval"


def test_audits_that_say_nothing() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(UserError, match="nothing is audited yet"):
        recalibrate(parent(rng), [])
    bad = replace(audits(microscope(rng, 1))[0], counted=float("nan"))
    with pytest.raises(UserError, match=r"0\.tif has a count that is no number"):
        recalibrate(parent(rng), [bad])

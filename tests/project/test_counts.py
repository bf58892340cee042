"""Counts come back from a project as they were made."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from celltally import intervals
from celltally.density import dots_from_prediction
from celltally.errors import UserError
from celltally.project import schema
from celltally.project.counts import (
    add_prediction,
    in_force,
    latest_counts,
    load_prediction,
    set_threshold,
)
from celltally.project.images import register
from celltally.project.store import Store
from celltally.record import read_calibration
from celltally.types import Dots, Grid, Interval, Prediction

MODELS = Path(__file__).resolve().parents[2] / "models"
NO_INTERVAL = Interval(math.nan, math.nan, 0.95, "not calibrated", "the model has no calibration")
REGIONS = [
    np.array([(10.0, 10), (10, 60), (50, 60), (50, 10)]),
    np.array([(3.5, 2.25), (40, 70), (60, 3)]),
]


@pytest.fixture(scope="module")
def calibration():
    """A shipped model's, with everything that a calibration may have."""
    found, sha = read_calibration(MODELS / "general")
    assert None not in (found, found.neighbours, found.regions, found.appearances)
    return found, sha


@pytest.fixture
def prediction(calibration):
    def make(seed: int = 0, classes=("cell",), shape=(48, 60), **more) -> Prediction:
        rng = np.random.default_rng(seed)
        found, sha = calibration
        statistics = {n: (low + high) / 2 for n, (low, high) in found.ranges.items()}
        appearance = dict(zip(found.appearances.names, found.appearances.points[3], strict=True))
        values = {
            "density": rng.gamma(0.1, 0.1, (len(classes), *shape)).astype(np.float32),
            "variance": rng.gamma(0.1, 0.1, (len(classes), *shape)).astype(np.float32),
            "grid": Grid(shape, (2.0, 2.5), (-0.5, -0.75)),
            "image_shape": (95, 148),
            "diameter_px": 17.25,
            "model": "general",
            "model_sha256": "f" * 64,
            "classes": classes,
            "calibration": found,
            "calibration_sha256": sha,
            "statistics": statistics,
            "appearance": appearance,
            "seconds": 1.5,
            "notes": ("the memory was too small for one piece",),
        }
        return Prediction(**(values | more))

    return make


def keep(store, image_id, prediction, interval=NO_INTERVAL, candidates=None, **more):
    candidates = Dots.new() if candidates is None else candidates
    return add_prediction(
        store, image_id, prediction, interval, candidates, **({"threshold": 0.5} | more)
    )


def test_a_count_comes_back(store, image_id, prediction, dots):
    made, proposed = prediction(), dots(30, t=2, z=5, source="f" * 64)
    interval = intervals.of(made, 0.9)
    assert interval.kind in {"calibrated", "provisional"}
    number = keep(
        store, image_id, made, interval, proposed,
        threshold=0.25, default_threshold=0.5, t=2, z=5, channel="DAPI", in_distribution=True,
    )  # fmt: skip
    (count,) = latest_counts(store)
    assert (count.id, count.image_id, count.t, count.z) == (number, image_id, 2, 5)
    assert (count.z_method, count.channel, count.classes) == ("plane", "DAPI", ("cell",))
    assert (count.model, count.model_sha256) == ("general", "f" * 64)
    assert count.calibration_sha256 == made.calibration_sha256
    assert (count.count, count.interval, count.seconds) == (made.count, interval, 1.5)
    assert (count.threshold, count.default_threshold, count.diameter_px) == (0.25, 0.5, 17.25)
    assert count.in_distribution is True
    assert count.made.endswith("+00:00")
    back, candidates = load_prediction(store, count)
    assert back.image == "cells.tif"
    others = {"density", "variance", "calibration", "image"}
    for name in {f.name for f in fields(Prediction)} - others:
        assert getattr(back, name) == getattr(made, name), name
    assert asdict(back.calibration) == asdict(made.calibration)
    assert back.density.dtype == back.variance.dtype == np.float32
    for name in ("id", "yx", "t", "z", "label", "score", "state", "source"):
        np.testing.assert_array_equal(getattr(candidates, name), getattr(proposed, name))


def test_intervals_are_those_of_before(store, image_id, prediction):
    made = prediction(shape=(300, 300), image_shape=(599, 748))
    keep(store, image_id, made)
    back, _ = load_prediction(store, latest_counts(store)[0])
    assert back.count == pytest.approx(made.count, abs=1e-6)
    for level in (0.5, 0.8, 0.95, 0.99):
        for region in (None, *REGIONS):
            before, after = (intervals.of(p, level, region) for p in (made, back))
            assert (after.kind, after.reason, after.level) == (before.kind, before.reason, level)
            exact = 1e-8 if region is None else 1e-3
            bounds = pytest.approx((before.low, before.high), rel=exact, abs=exact)
            assert (after.low, after.high) == bounds


def test_what_a_model_really_said(store, image_id, tiny, draw_cells, scatter):
    from celltally.model import Model
    from celltally.predict import predict

    rng = np.random.default_rng(0)
    pixels = draw_cells(scatter(12, (100, 120), rng), (100, 120), rng=rng)
    made = predict(Model.load(tiny), pixels, device="cpu")
    proposed = dots_from_prediction(made)
    interval = intervals.of(made)
    keep(store, image_id, made, interval, proposed, threshold=-math.inf)
    (count,) = latest_counts(store)
    assert (count.count, count.interval) == (made.count, interval)
    assert count.threshold < -1e20  # every candidate is above it
    back, candidates = load_prediction(store, count)
    assert back.look == made.look
    assert back.count == pytest.approx(made.count, abs=1e-6)
    assert candidates.id.tolist() == proposed.id.tolist()
    assert intervals.of(back).high == pytest.approx(interval.high, rel=1e-8)


@pytest.mark.parametrize(
    ("made", "held"),
    [
        ([(0, "plane", ()), (1, "plane", ())], [0, 1]),
        ([(0, "plane", ()), (0, "projection", ())], [1]),
        # The second plane is of before the projection, which took its place.
        ([(0, "plane", ()), (1, "plane", ()), (0, "projection", ()), (0, "plane", ())], [3]),
        ([(0, "merged", (0, 1)), (1, "merged", (0, 1)), (2, "plane", ())], [2]),
        ([(z, "merged", (0, 1, 2)) for z in range(3)], [0, 1, 2]),
        ([*((z, "merged", (0, 1, 2)) for z in range(3)), (1, "merged", (1,))], [3]),
        ([(0, "merged", ()), (1, "merged", ())], [0, 1]),
    ],
)
def test_what_a_later_count_took_the_place_of_is_not_in_force(
    store, image_id, prediction, made, held
):
    other = register(store, name="other.tif", shape=(95, 148))
    numbers = [
        keep(store, image_id, prediction(), z=z, z_method=method, merged=merged)
        for z, method, merged in made
    ]
    apart = [keep(store, image_id, prediction(), t=1), keep(store, other, prediction())]
    wanted = {numbers[row] for row in held}
    assert {count.id for count in in_force(latest_counts(store))} == wanted | set(apart)


def test_a_model_without_calibration_and_an_endless_interval(store, image_id, prediction):
    made = prediction(calibration=None, calibration_sha256="", seconds=math.nan)
    keep(store, image_id, made)
    keep(store, image_id, made, Interval(3.0, math.inf, 0.95, "provisional", "few"), t=1)
    first, second = latest_counts(store)
    assert math.isnan(first.interval.low)
    assert math.isnan(first.interval.high)
    assert math.isnan(first.seconds)
    assert first.in_distribution is None
    assert (second.interval.low, second.interval.high) == (3.0, math.inf)
    assert load_prediction(store, first)[0].calibration is None


@pytest.mark.parametrize(
    "density",
    [
        np.zeros((1, 0, 0)),
        np.zeros((1, 6, 7)),
        np.full((1, 6, 7), 1e-9),
        np.full((1, 6, 7), -0.01),
        np.linspace(-1, 1.001, 42).reshape(1, 6, 7),
    ],
)
def test_densities_of_little_or_nothing(store, image_id, prediction, density):
    density = density.astype(np.float32)
    made = prediction(density=density, variance=np.abs(density), grid=Grid(density.shape[1:]))
    keep(store, image_id, made)
    (count,) = latest_counts(store)
    back, candidates = load_prediction(store, count)
    assert count.count == made.count
    assert back.count == pytest.approx(made.count, rel=1e-6, abs=1e-7)
    np.testing.assert_allclose(back.density, density, rtol=2e-3, atol=1e-6)
    assert len(candidates) == 0


def test_classes(store, image_id, prediction, dots):
    made = prediction(classes=("live", "dead"))
    keep(store, image_id, made, candidates=dots(4, label=["dead", "live", "live", "dead"]))
    (count,) = latest_counts(store)
    back, candidates = load_prediction(store, count)
    assert count.classes == back.classes == ("live", "dead")
    assert candidates.label.tolist() == ["dead", "live", "live", "dead"]
    np.testing.assert_allclose(back.counts, made.counts, atol=1e-6)


def test_merged_planes_keep_the_planes_of_their_dots(store, image_id, prediction, dots):
    keep(store, image_id, prediction(), candidates=dots(3, z=[4, 0, 2], t=1), t=1,
         z_method="merged")  # fmt: skip
    _, candidates = load_prediction(store, latest_counts(store)[0])
    assert candidates.z.tolist() == [4, 0, 2]


def test_a_newer_count_of_a_plane_takes_the_maps_place(store, image_id, prediction):
    planes = [(0, 0, "plane"), (1, 0, "plane"), (0, 1, "plane"), (0, 0, "projection")]
    for t, z, method in planes:
        keep(store, image_id, prediction(), t=t, z=z, z_method=method)
    before = latest_counts(store)
    assert [(c.t, c.z, c.z_method) for c in before] == [
        (0, 0, "plane"), (0, 0, "projection"), (0, 1, "plane"), (1, 0, "plane")
    ]  # fmt: skip
    newer = keep(store, image_id, prediction(1))
    after = latest_counts(store)
    assert sorted(c.id for c in after) == sorted([*(c.id for c in before[1:]), newer])
    assert load_prediction(store, before[0]) is None
    assert all(load_prediction(store, count) is not None for count in after)
    with store.read() as connection:
        rows = connection.execute(sa.select(schema.predictions.c.id)).all()
        kept = connection.execute(sa.select(schema.maps.c.prediction_id)).all()
    assert (len(rows), len(kept)) == (5, 4)  # what was counted is not forgotten


def test_counts_of_some_images(store, prediction):
    numbers = [register(store, name=n, pixels_sha256=n) for n in "abc"]
    for number in reversed(numbers):
        keep(store, number, prediction())
    assert [c.image_id for c in latest_counts(store)] == numbers
    assert [c.image_id for c in latest_counts(store, numbers[1:])] == numbers[1:]
    assert latest_counts(store, []) == []
    assert len(latest_counts(store, range(100_000))) == 3


def test_a_model_is_kept_once(store, image_id, prediction):
    for t in range(3):
        keep(store, image_id, prediction(), t=t)
    keep(store, image_id, prediction(model="renamed"), t=3)
    with store.read() as connection:
        for table, n in ((schema.models, 2), (schema.calibrations, 1)):
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == n


def test_the_threshold(store, image_id, prediction):
    number = keep(store, image_id, prediction())
    set_threshold(store, number, 0.125)
    (count,) = latest_counts(store)
    assert (count.threshold, count.default_threshold) == (0.125, 0.5)
    set_threshold(store, number, math.inf)
    assert latest_counts(store)[0].threshold > 1e20


def test_what_another_program_added_is_seen(path, store, image_id, prediction):
    with Store(path, read_only=True) as reader:
        assert latest_counts(reader) == []
        keep(store, image_id, prediction())
        (count,) = latest_counts(reader)
        assert load_prediction(reader, count) is not None
        with pytest.raises(UserError, match="reading only"):
            keep(reader, image_id, prediction())


def test_a_count_is_kept_whole_or_not_at_all(store, image_id, prediction, monkeypatch):
    monkeypatch.setattr("celltally.project.counts.maps", schema.maps.alias())
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever it is)
        keep(store, image_id, prediction())
    assert latest_counts(store) == []

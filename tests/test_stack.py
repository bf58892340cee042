"""Planes and a model → a curve, or the cells of a stack."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from celltally import stack
from celltally.density import density_map, dots_from_prediction
from celltally.errors import UserError
from celltally.predict import predict
from celltally.progress import drain
from celltally.stack import (
    PlaneCounted,
    iter_count_planes,
    iter_count_stack,
    iter_shared_diameter,
    spread,
)
from celltally.types import Calibration, Grid, Prediction, Progress

CELL = 200  # the fake model counts the pixels that have this value
CALIBRATION = Calibration(1.0, 0.0, 4.0, (0.0, 1.0, 2.0), 3, 3, "", ranges={"contrast": (0, 5)})


@pytest.fixture
def fake(monkeypatch, tiny_model):
    """A model that counts pixels, and the diameters that it was asked to count with."""
    asked = []

    def counting(model, pixels, *, diameter_px=None, device="auto", tile=None, image=""):
        asked.append(diameter_px)
        yield Progress(1, 2, "counting")
        yield Progress(2, 2, "counting")
        grid = Grid(pixels.shape)
        density = density_map(np.argwhere(pixels == CELL), grid, 1.5)[None]
        return Prediction(
            density=density,
            variance=np.zeros_like(density),
            grid=grid,
            image_shape=pixels.shape,
            diameter_px=diameter_px,
            model=model.name,
            model_sha256=model.sha256,
            calibration=CALIBRATION,
            statistics={"contrast": float(pixels[0, 0])},
            image=image,
            notes=("smaller tiles were used",),
        )

    monkeypatch.setattr(stack, "iter_predict", counting)
    return tiny_model, asked


@pytest.fixture
def planes():
    """Four planes of two cells: one is seen in planes 0 to 2, one in planes 2 and 3."""
    stack = np.zeros((4, 60, 60), np.uint8)
    for z, y, x in [(0, 20, 20), (1, 22, 20), (2, 22, 22), (2, 45, 40), (3, 44, 40)]:
        stack[z, y, x] = CELL
    return stack


def test_cells_are_counted_once_and_planes_are_kept(fake, planes):
    model, asked = fake
    job = iter_count_stack(model, planes.__getitem__, range(4), diameter_px=10.0, image="a.tif")
    steps = []
    counted = drain(job, steps.append)
    assert asked == [10.0] * 4
    assert counted.count == len(counted.merged.dots) == 2
    assert counted.plane_counts == pytest.approx([1, 1, 2, 1], abs=1e-3)
    assert counted.dots.z.tolist() == [0, 1, 2, 2, 3]
    assert sorted(counted.merged.sizes.tolist()) == [2, 3]
    assert counted.merged.distance_px == 5.0
    assert (counted.diameter_px, counted.image, counted.planes) == (10.0, "a.tif", (0, 1, 2, 3))
    assert (counted.model, counted.model_sha256) == (model.name, model.sha256)
    assert counted.notes == ("smaller tiles were used",)
    per_plane = [step for step in steps if isinstance(step, PlaneCounted)]
    assert [step.index for step in per_plane] == [0, 1, 2, 3]
    assert [(step.done, step.total) for step in per_plane] == [(i, 4) for i in range(1, 5)]
    assert all(isinstance(step.prediction, Prediction) for step in per_plane)
    tiles = [step for step in steps if "tile" in step.values]
    assert [step.done for step in tiles] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert tiles[2].message == "z 1"


def test_distance_and_gap_are_the_caller_s(fake, planes):
    model, _ = fake

    def count(**options):
        job = iter_count_stack(model, planes.__getitem__, range(4), diameter_px=10.0, **options)
        return drain(job).count

    assert count(distance_px=1.5) == 4
    assert count(distance_px=2.0) == 2
    every_second = [0, 2]
    job = iter_count_stack(model, planes.__getitem__, every_second, diameter_px=10.0)
    assert drain(job).count == 3
    job = iter_count_stack(model, planes.__getitem__, every_second, diameter_px=10.0, gap=1)
    assert drain(job).count == 2


def test_there_is_no_interval_and_it_says_why(fake, planes):
    model, _ = fake
    counted = drain(iter_count_stack(model, planes.__getitem__, range(4), diameter_px=10.0))
    interval = counted.interval(0.9)
    assert (interval.kind, interval.level) == ("not calibrated", 0.9)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert "merged over z" in interval.reason
    with pytest.raises(UserError, match="level of 2"):
        counted.interval(2)


def test_planes_with_cells_that_are_unlike_the_known_ones(fake, planes):
    model, _ = fake
    planes = np.concatenate([planes, np.zeros((1, 60, 60), np.uint8)])
    planes[[1, 4], 0, 0] = 30  # their contrast is out of range, and plane 4 has no cell
    counted = drain(iter_count_stack(model, planes.__getitem__, range(5), diameter_px=10.0))
    assert counted.unlike == (1,)


def test_a_model_that_cannot_tell_what_it_knows(monkeypatch, fake, planes):
    model, _ = fake
    counting = stack.iter_predict

    def bare(*arguments, **options):
        prediction = yield from counting(*arguments, **options)
        return replace(prediction, calibration=None)

    monkeypatch.setattr(stack, "iter_predict", bare)
    counted = drain(iter_count_stack(model, planes.__getitem__, range(4), diameter_px=10.0))
    assert counted.unlike is None


def test_a_curve_has_its_own_counts(fake, planes):
    model, _ = fake
    job = iter_count_planes(model, planes.__getitem__, [0, 2, 3], axis="t", diameter_px=9.0)
    curve = drain(job)
    assert [step.index for step in curve] == [0, 2, 3]
    assert [len(step.dots) for step in curve] == [1, 2, 1]
    assert curve[1].dots.t.tolist() == [2, 2]
    assert curve[1].dots.z.tolist() == [0, 0]
    assert [step.prediction for step in curve] == [None] * 3  # maps may fill the memory


def test_one_diameter_for_all_planes(fake, planes, monkeypatch):
    model, asked = fake
    seen = []
    estimates = {0: 30.0, 1: 12.0, 2: 11.0, 3: None}

    def estimate(pixels):
        z = next(z for z in range(4) if np.array_equal(pixels, planes[z]))
        seen.append(z)
        return estimates[z]

    monkeypatch.setattr(stack, "estimate_diameter", estimate)
    counted = drain(iter_count_stack(model, planes.__getitem__, range(4)))
    assert seen == [0, 1, 2, 3]
    assert asked == [12.0] * 4
    assert counted.diameter_px == 12.0
    del asked[:]
    monkeypatch.setattr(stack, "estimate_diameter", lambda pixels: None)
    drain(iter_count_stack(model, planes.__getitem__, range(4)))
    assert asked == [model.diameter_px] * 4


def test_a_few_planes_are_enough_for_the_diameter(monkeypatch):
    read = []
    monkeypatch.setattr(stack, "estimate_diameter", lambda pixels: float(pixels))

    def plane(index):
        read.append(index)
        if index == 50:
            raise UserError("this plane is damaged")
        return index

    assert drain(iter_shared_diameter(plane, range(100))) == 50.0  # median of the other four
    assert read == [10, 30, 50, 70, 90]
    assert spread(range(7), 1) == [3]
    assert spread(range(2), 2) == [0, 1]


def test_it_can_be_stopped_after_every_plane(fake, planes):
    model, asked = fake
    job = iter_count_stack(model, planes.__getitem__, range(4), diameter_px=10.0)
    for step in job:
        if isinstance(step, PlaneCounted):
            break
    job.close()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"distance_px": -1.0}, "distance of -1"), ({"gap": -2}, "gap of -2")],
)
def test_wrong_arguments_are_said_before_a_plane_is_read(fake, options, words):
    model, _ = fake
    with pytest.raises(UserError, match=words):
        drain(iter_count_stack(model, lambda z: pytest.fail("read"), range(4), **options))


def test_no_axis_and_no_plane(fake, planes):
    model, _ = fake
    with pytest.raises(UserError, match="along 'c'"):
        drain(iter_count_planes(model, planes.__getitem__, [0], axis="c"))
    with pytest.raises(ValueError, match="no plane"):
        drain(iter_count_stack(model, planes.__getitem__, []))


def test_a_real_model_counts_planes_as_it_counts_images(tiny_model, draw_cells):
    planes = [draw_cells(np.array([[20, 20], [40, 50]])[:n], (64, 72)) for n in (1, 2, 0)]
    steps = []
    job = iter_count_stack(tiny_model, planes.__getitem__, range(3), diameter_px=12.0)
    counted = drain(job, steps.append)
    for z, plane in enumerate(planes):
        alone = predict(tiny_model, plane, diameter_px=12.0)
        step = next(s for s in steps if isinstance(s, PlaneCounted) and s.index == z)
        assert np.array_equal(step.prediction.density, alone.density)
        assert counted.plane_counts[z] == pytest.approx(alone.count)
        assert np.array_equal(step.dots.yx, dots_from_prediction(alone).yx)

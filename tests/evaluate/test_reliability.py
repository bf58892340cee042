from dataclasses import replace

import numpy as np
import pytest

from celltally.evaluate.reliability import LEVELS, judge_intervals, reliability
from celltally.types import Calibration, Dots, Grid, Prediction

CALIBRATION = Calibration(0.0, 0.0, 1.0, tuple(np.linspace(0.1, 4, 40)), 40, 40, "")


@pytest.fixture
def prediction():
    """Half a cell in every pixel."""
    density = np.full((1, 20, 30), 0.5, dtype=np.float32)
    return Prediction(
        density=density, variance=density, grid=Grid((20, 30)), image_shape=(20, 30),
        diameter_px=3.0, model="m", model_sha256="", calibration=CALIBRATION,
    )  # fmt: skip


def judge(prediction, true, dots=None):
    return judge_intervals(prediction, true, dots, np.random.default_rng(0))


def test_intervals_of_images_hold_the_truth_or_not(prediction):
    off = judge(prediction, 302.3)  # half of the scores are larger
    assert [hit["level"] for hit in off] == list(LEVELS)
    assert [hit["inside"] for hit in off] == [level > 0.5 for level in LEVELS]


def test_regions_are_judged_by_the_dots_in_them(prediction):
    none = Dots.new(np.empty((0, 2)))
    hits = [hit for hit in judge(prediction, 300.0, none) if hit["of"] == "region"]
    assert len(hits) > 5 * len(LEVELS)
    assert len(hits) % len(LEVELS) == 0
    wrong = [hit["inside"] for hit in hits if hit["level"] == 0.5]
    places = np.argwhere(np.ones((20, 30)))
    every = Dots.new(places[places.sum(axis=1) % 2 == 0])
    wide = replace(prediction, calibration=replace(CALIBRATION, gamma=16.0))  # for borders
    hits = [hit for hit in judge(wide, 300.0, every) if hit["of"] == "region"]
    rising = [np.mean([h["inside"] for h in hits if h["level"] == level]) for level in LEVELS]
    assert rising == sorted(rising)
    assert rising[LEVELS.index(0.95)] > 0.9
    assert np.mean(wrong) < 0.3  # only where next to nothing was predicted


def test_without_intervals_there_is_nothing_to_judge(prediction):
    assert judge(replace(prediction, calibration=None), 3.0) == []
    assert reliability([]).empty


def test_shares_are_counted_by_kind_and_level():
    hits = [
        {"of": "image", "level": 0.9, "inside": True},
        {"of": "image", "level": 0.9, "inside": False},
        {"of": "region", "level": 0.9, "inside": True},
    ]
    table = reliability(hits)
    assert list(table["of"]) == ["image", "region"]
    assert list(table["n"]) == [2, 1]
    assert list(table["observed"]) == [0.5, 1.0]

"""Counting without a network: settings are found, and the figures are those of a report."""

import math

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import h_maxima

from celltally.errors import UserError
from celltally.evaluate.baselines import BASELINES, Baseline, iter_judge, iter_tune, summits
from celltally.evaluate.report import PER_IMAGE
from celltally.learn.data import read_dataset
from celltally.progress import drain


def darkened(folder):
    for path in (folder / "images").iterdir():
        iio.imwrite(path, 255 - iio.imread(path))
    return folder


# ---- summits ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_as_many_are_prominent_as_a_reconstruction_says(seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.integers(0, 3000, (50, 60)).astype(float), 1).round()
    found = summits(field)
    steps = (1, 7, 40, 150, 400)
    told = [ndimage.label(h_maxima(field.astype(np.int32), h), np.ones((3, 3)))[1] for h in steps]
    assert found.numbers(steps, (0,))[:, 0].tolist() == told
    assert told[0] > told[2] > told[-1] > 0
    assert found.numbers((0,), (1500, 1e9)).tolist() == [[(found.height >= 1500).sum(), 0]]


def test_prominence_is_the_way_down_to_a_higher_summit():
    field = np.full((5, 9), 1.0)
    field[2] = [1, 5, 3, 8, 2, 6, 1, 4, 1]
    found = summits(field)
    order = np.argsort(found.yx[:, 1])
    assert found.yx[order].tolist() == [[2, 1], [2, 3], [2, 5], [2, 7]]
    assert found.height[order].tolist() == [5, 8, 6, 4]
    assert found.prominence[order].tolist() == [2, 7, 4, 3]


def test_a_flat_top_is_one_summit_and_a_flat_field_none():
    field = np.zeros((7, 9))
    assert len(summits(field).yx) == 0
    field[2:5, 3:6] = 1
    assert summits(field).yx.tolist() == [[3, 4]]


# ---- tuning -----------------------------------------------------------------


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("dark", [False, True])
def test_clear_cells_are_counted(dataset_folder, kind, dark):
    train = dataset_folder("train", (4, 9, 6))
    val = dataset_folder("val", (10, 3, 8))
    if dark:
        darkened(train), darkened(val)
    best = drain(iter_tune(kind, train))
    assert best.dark == dark
    report, speed = drain(iter_judge(best, val))
    assert report.metrics["n"] == 3
    assert report.metrics["mae"] <= 1
    assert report.metrics["f1"] > 0.9
    assert report.metrics["match_radius_px"] == 6
    assert speed > 0


def test_touching_discs_are_two(dataset_folder):
    folder = dataset_folder("pair", (2,), shape=(64, 64))
    y, x = np.mgrid[:64, :64]
    discs = (np.hypot(y - 32, x - 22) < 12) | (np.hypot(y - 32, x - 42) < 12)
    iio.imwrite(folder / "images" / "pair-0.png", np.where(discs, 200, 10).astype(np.uint8))
    (folder / "dots" / "pair-0.csv").write_text("y,x\n32,22\n32,42\n")
    assert ndimage.label(discs)[1] == 1
    for prominence, seen in ((1, 2), (9, 1)):
        baseline = Baseline("watershed", False, 0.5, prominence, 2)
        report, _ = drain(iter_judge(baseline, folder))
        assert list(report.per_image["count"]) == [seen]
        assert (report.metrics["recall"] == 1) == (seen == 2)


def test_the_best_settings_are_taken(dataset_folder):
    """No other settings of the grid have a lower error on the images that tune."""
    folder = dataset_folder("few", (5, 11, 8), shape=(64, 64))
    best = drain(iter_tune("maxima", folder))
    errors = {}
    for sigma in (0.5, 2, 8):
        for prominence in (0.005, 0.08, 0.64):
            other = Baseline("maxima", False, sigma, prominence, 0.0)
            errors[sigma, prominence] = drain(iter_judge(other, folder))[0].metrics["mae"]
    assert drain(iter_judge(best, folder))[0].metrics["mae"] <= min(errors.values())
    assert max(errors.values()) > 3


def test_a_seed_draws_the_images(dataset_folder):
    folder = dataset_folder("many", (3, 1, 2, 4, 1, 2), shape=(32, 32))

    def looked_at(**options):
        return [step.message for step in iter_tune("watershed", folder, **options)]

    assert looked_at() == [s.image.name for s in read_dataset(folder).samples]
    drawn = {tuple(looked_at(images=2, seed=seed)) for seed in (0, 0, 1, 2, 3)}
    assert {len(names) for names in drawn} == {2}
    assert 1 < len(drawn) <= 4
    assert [(s.done, s.total) for s in iter_tune("maxima", folder, images=2)] == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("kind", "images", "words"), [("guess", 5, "'guess'.*maxima, watershed"), ("maxima", 0, "0 im")]
)
def test_what_cannot_be_tuned(dataset_folder, kind, images, words):
    with pytest.raises(UserError, match=words):
        drain(iter_tune(kind, dataset_folder(), images=images))


# ---- reports ----------------------------------------------------------------

MAXIMA = Baseline("maxima", False, 2.0, 0.2, 0.2)


def test_the_report_has_no_intervals(dataset_folder):
    report, _ = drain(iter_judge(MAXIMA, dataset_folder()))
    assert tuple(report.per_image.columns) == PER_IMAGE
    assert (report.model, report.model_sha256) == ("local maxima", MAXIMA.sha256)
    assert report.per_image["ci_low"].isna().all()
    assert math.isnan(report.metrics["coverage"])
    assert math.isnan(report.metrics["interval_score"])


def test_a_set_with_counts_only_has_no_figures_of_dots(dataset_folder):
    report, _ = drain(iter_judge(MAXIMA, dataset_folder(labels="counts")))
    assert report.metrics["mae"] <= 1
    assert math.isnan(report.metrics["f1"])


def test_an_image_that_shows_nothing_has_no_cells(dataset_folder):
    folder = dataset_folder("blank", (3,))
    path = folder / "images" / "blank-0.png"
    iio.imwrite(path, np.full_like(iio.imread(path), 7))
    for kind in BASELINES:
        report, speed = drain(iter_judge(Baseline(kind, False, 1, 0, 0), folder))
        assert list(report.per_image["count"]) == [0]
        assert math.isnan(speed)


def test_an_image_that_fails_is_told_and_left_out(dataset_folder):
    folder = dataset_folder("bad", (3, 4, 5))
    (folder / "images" / "bad-1.png").write_bytes(b"no picture")
    report, _ = drain(iter_judge(MAXIMA, folder))
    assert (report.failed, report.metrics["n"]) == (1, 2)
    assert "bad-1.png" in report.per_image["message"][1]


def test_identity_follows_the_settings():
    same = Baseline("maxima", False, 2.0, 0.2, 0.2)
    others = [Baseline("maxima", True, 2.0, 0.2, 0.2), Baseline("maxima", False, 3.0, 0.2, 0.2)]
    assert same.sha256 == MAXIMA.sha256
    assert MAXIMA.sha256 not in {other.sha256 for other in others}

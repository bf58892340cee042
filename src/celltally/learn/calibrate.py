"""Calibration: count images that chose nothing else, and remember how far off it was."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celltally import intervals
from celltally.appearance import APPEARANCE
from celltally.density.rectangles import dots_inside, random_rectangles
from celltally.density.regions import region_sums
from celltally.errors import UserError
from celltally.intervals.difficulty import LOGARITHMIC
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, read_datasets, sample_count, sample_dots
from celltally.learn.looks import iter_looks
from celltally.learn.seen import check_unseen
from celltally.model import Model
from celltally.predict import iter_predict
from celltally.progress import relay
from celltally.types import Prediction, Progress

__all__ = ["calibrate_on", "iter_calibrate", "seen_ranges"]

#: Statistics may lie this share of the seen range outside of it.
MARGIN = 0.25
#: Of cell diameters this share is left out at either end, for an estimate is far off now and
#: then and that is no size of cells; the others may lie this share of their range outside it.
RARE, DIAMETER_MARGIN = 0.01, 0.5
#: Random rectangles per image that regions are calibrated with.
RECTANGLES = 60


def iter_calibrate(
    model: Model, data: Sequence[Path], *, out: Path, device: str = "auto"
) -> Generator[Progress, None, Model]:
    """Recalibrate a copy of a model on data set folders and save it.

    Parameters
    ----------
    model
        Stays as it is.
    data
        Data set folders; their images must neither have taught the model nor chosen
        its weights.
    out
        Folder of the copy.
    device
        See ``iter_predict``.

    Raises
    ------
    UserError
        For folders that are no data sets, images that the model has seen, or a place
        that is taken.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another place for the calibrated copy")
    pairs = [(d, s) for d in read_datasets(data) for s in d.samples]
    check_unseen(pairs, model.record, "calibrate")
    calibrated = yield from calibrate_on(model, pairs, device=device)
    parent = f"{model.name} (calibration {model.calibration_sha256[:12] or 'none'})"
    told = {**model.record.training, "calibrated from": parent}
    return replace(calibrated, record=replace(model.record, training=told)).save(out)


def calibrate_on(
    model: Model,
    pairs: Sequence[tuple[Dataset, Sample]],
    *,
    others: Sequence[tuple[Dataset, Sample]] = (),
    device: str = "auto",
) -> Generator[Progress, None, Model]:
    """Calibrate a model on the given samples, counted as a user would.

    The diameter is the data set's where it states one, else the estimate.

    Parameters
    ----------
    model
        Stays as it is. Images that its base counts are left out, for the base keeps its own
        calibration.
    pairs
        What calibrates.
    others
        What made the model: only looked at, to tell unlike images.
    device
        See ``iter_predict``.

    Raises
    ------
    UserError
        When there is no sample, or the base counts all of them.
    """
    if not pairs:
        raise UserError("there is no image to calibrate with; give a data set with labels")
    counted: list[tuple[Dataset, Sample]] = []
    predictions: list[Prediction] = []
    regions: list[NDArray[np.float64]] = []
    rng = np.random.default_rng(0)  # the same images calibrate alike
    for done, (dataset, sample) in enumerate(pairs, start=1):
        before = Progress(done - 1, len(pairs), "calibrating")
        prediction = yield from _predict(model, dataset, sample, device, before)
        if model.counting(prediction.appearance) is model:
            counted.append((dataset, sample))
            predictions.append(prediction)
            regions.append(_rectangles(prediction, sample, rng))
        yield Progress(done, len(pairs), "calibrating")
    if not counted:
        raise UserError(
            f"all {len(pairs)} images look unlike those that {model.name!r} learned from, so that "
            "it counts none of them; calibrate it with images like those"
        )
    looks = yield from relay(
        iter_looks([*others, *counted]),
        lambda step: Progress(len(pairs), len(pairs), step.message),
    )
    calibration = intervals.calibrate(
        counts=np.array([p.count for p in predictions]),
        truths=np.array([sample_count(sample) for _, sample in counted]),
        variances=np.array([float(p.variance.sum()) for p in predictions]),
        groups=[sample.group for _, sample in counted],
        looks=[p.look for p in predictions],
        regions=regions,
        sets=tuple(dict.fromkeys(dataset.name for dataset, _ in counted)),
        ranges=seen_ranges([look.statistics for look in looks]),
        date=date.today().isoformat(),
    )
    known = intervals.known_appearances(
        [look.appearance for look in looks], [look.group for look in looks], APPEARANCE
    )
    return model.with_calibration(replace(calibration, appearances=known))


def _predict(
    model: Model, dataset: Dataset, sample: Sample, device: str, before: Progress
) -> Generator[Progress, None, Prediction]:
    pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
    job = iter_predict(model, pixels, diameter_px=dataset.diameter_px, device=device)
    # Tiles do not move the bar, but let a cancelled job end between them.
    return (yield from relay(job, lambda tile: before))


def _rectangles(
    prediction: Prediction, sample: Sample, rng: np.random.Generator
) -> NDArray[np.float64]:
    """``(m, 3)``: predicted and true counts and variances of random rectangles in an image."""
    if sample.dots is None:
        return np.empty((0, 3))
    dots, sums = sample_dots(sample), region_sums(prediction)
    rows = []
    for rectangle in random_rectangles(prediction.image_shape, RECTANGLES, rng):
        count, variance = np.maximum(sums.over(rectangle), 0.0)
        rows.append((count, dots_inside(dots.yx, rectangle), variance))
    return np.array(rows, dtype=np.float64)


def seen_ranges(statistics: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Give the range seen of every statistic, a little widened.

    Parameters
    ----------
    statistics
        Of each image; empty where they could not be taken.
    """
    names = {name for one in statistics for name in one}
    ranges = {}
    for name in sorted(names):
        seen = [one[name] for one in statistics if name in one]
        if name == "diameter_px":
            # A set that states one diameter has cells of more than one.
            seen += [one[name] / one["diameter_ratio"] for one in statistics if one]
        rare = RARE if name in LOGARITHMIC else 0.0
        low, high = (float(edge) for edge in np.quantile(seen, [rare, 1 - rare]))
        if name in LOGARITHMIC:
            factor = (high / low) ** DIAMETER_MARGIN
            ranges[name] = (low / factor, high * factor)
        else:
            margin = MARGIN * (high - low)
            ranges[name] = (low - margin, high + margin)
    return ranges

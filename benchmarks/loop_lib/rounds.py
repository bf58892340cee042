"""One round of review, learning and counting again; and what it costs and brings."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from celltally import intervals
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, sample_count
from celltally.learn.finetune import iter_finetune
from celltally.learn.new_model import iter_new_model
from celltally.learn.outcome import FineTuned
from celltally.learn.regions.loop import RegionFit
from celltally.model import Model
from celltally.predict import predict
from celltally.progress import drain
from loop_lib.biologist import Biologist, Tile

__all__ = ["Score", "count_all", "learn_from", "new_from", "score"]


@dataclass(frozen=True)
class Score:
    """Counts of whole images.

    Attributes
    ----------
    n, mae, bias, mean_count
        Number of images, mean absolute and mean signed error, mean true count.
    with_interval, covered
        Images that have a 95 % interval, and those whose interval holds the true count.
    mean_width
        Of these intervals, in cells; NaN where there are none.
    by_base
        Images that the base counted.
    """

    n: int
    mae: float
    bias: float
    mean_count: float
    with_interval: int
    covered: int
    mean_width: float
    by_base: int

    def row(self) -> dict[str, float]:
        """Give its figures by name."""
        return asdict(self)


def score(model: Model, dataset: Dataset, samples: Sequence[Sample]) -> Score:
    """Count whole images as a user would, with the data set's cell diameter."""
    errors, truths, widths, covered, by_base = [], [], [], 0, 0
    for sample in samples:
        pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
        prediction = predict(model, pixels, diameter_px=dataset.diameter_px)
        truth = sample_count(sample)
        interval = intervals.of(prediction, 0.95)
        covered += interval.low - 0.5 <= truth <= interval.high + 0.5
        if np.isfinite(interval.high - interval.low):
            widths.append(interval.high - interval.low)
        by_base += model.counting(prediction.appearance) is not model
        errors.append(prediction.count - truth)
        truths.append(truth)
    return Score(
        n=len(errors),
        mae=float(np.mean(np.abs(errors))),
        bias=float(np.mean(errors)),
        mean_count=float(np.mean(truths)),
        with_interval=len(widths),
        covered=covered,
        mean_width=float(np.mean(widths)) if widths else float("nan"),
        by_base=by_base,
    )


def count_all(model: Model, sets: Sequence[Dataset]) -> dict[str, float]:
    """Mean absolute error by data set."""
    return {d.name: score(model, d, d.samples).mae for d in sets}


def learn_from(
    biologist: Biologist,
    tiles: Sequence[Tile],
    *,
    stated: bool = False,
    audits: Sequence[Tile] = (),
    seed: int = 0,
    fit: RegionFit | None = None,
    steps: int | None = None,
) -> tuple[FineTuned, float, tuple[int, int]]:
    """Review tiles and learn from them; ``audits`` only judge.

    Returns
    -------
    outcome
        What came of it.
    seconds
        From the data set folder to the child.
    work
        Cells reviewed, and dots that were corrected.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "reviewed"
        folder.mkdir()
        work = biologist.review(tiles, folder, stated=stated, audits=audits)
        start = time.perf_counter()
        outcome = drain(
            iter_finetune(
                biologist.model, [folder], name="child", seed=seed, fit=fit, steps=steps or None
            )
        )
        return outcome, time.perf_counter() - start, work


def new_from(
    biologist: Biologist, tiles: Sequence[Tile], *, minutes: float, seed: int = 0
) -> tuple[FineTuned, float, tuple[int, int]]:
    """Review tiles and train a new model on them, from chance; see ``learn_from``."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "reviewed"
        folder.mkdir()
        work = biologist.review(tiles, folder)
        start = time.perf_counter()
        outcome = drain(iter_new_model([folder], name="new", minutes=minutes, seed=seed))
        return outcome, time.perf_counter() - start, work

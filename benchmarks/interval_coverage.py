r"""How often intervals hold the truth, for images and for random rectangles in them.

    python benchmarks/interval_coverage.py --data D --model general \
        --out build/interval_coverage --docs docs/calibration.md

Counts the `val` of every set with one model, whose calibration must have seen none of it. What
a set's coverage may be is the range that 99.8 % of fair 95 % intervals would be in (binomial).
The width is judged by the mean interval score, against the best interval of one constant width,
chosen with the truth in hand. Rectangles are grouped by what was predicted for them; the range
of their coverage comes from drawing images anew (bootstrap), for those of one depend on each
other. The plots are those of `celltally evaluate`, of all sets together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from errors_lib.command import new_parser, publish, run, say
from numpy.typing import NDArray
from scipy.stats import binom

from celltally import intervals, zoo
from celltally.density.rectangles import dots_inside, random_rectangles
from celltally.errors import UserError
from celltally.evaluate.metrics import count_metrics
from celltally.evaluate.plots import write_plots
from celltally.evaluate.reliability import judge_intervals, reliability
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, read_dataset, sample_count, sample_dots
from celltally.model import Model
from celltally.predict import predict
from celltally.types import Interval

LEVEL = 0.95
#: Share of fair sets of intervals that lie inside the range, and of the bootstrap.
FAIR, LIKELY = 0.998, 0.95
#: Random rectangles per image, and the predicted counts that they are grouped by.
RECTANGLES, EDGES = 40, (1, 5, 20, 60, 200)
DRAWS = 500


def main(words: Sequence[str] | None = None) -> int:
    """Measure and write everything; 2 for what cannot be used, 130 when stopped."""
    parser = new_parser(__doc__, Path("build/interval_coverage"))
    parser.add_argument("--model", default="general", help="name or folder")
    return run(_write, parser, words)


def _write(arguments: argparse.Namespace) -> None:
    folders = sorted(path for path in arguments.data.glob("*/val"))
    if not folders:
        raise UserError(f"{arguments.data} holds no set with a folder 'val'; give another")
    model = zoo.load(arguments.model)
    if model.calibration is None:
        raise UserError(f"the model {model.name!r} has no intervals; calibrate it first")
    rng = np.random.default_rng(0)
    rows, rectangles, hits = [], [], []
    for folder in folders:
        dataset = read_dataset(folder)
        say(f"{folder.parent.name}: {len(dataset.samples)} images")
        for sample in dataset.samples:
            row, inside, hit = _judge(model, dataset, sample, arguments.device, rng)
            name = {"set": folder.parent.name, "image": sample.stem}
            rows.append(name | row)
            rectangles += [name | one for one in inside]
            hits += hit
    images, parts = pd.DataFrame(rows), pd.DataFrame(rectangles)
    arguments.out.mkdir(parents=True, exist_ok=True)
    images.to_csv(arguments.out / "images.csv", index=False)
    parts.to_csv(arguments.out / "rectangles.csv", index=False)
    texts = {"images": image_table(images)}
    if len(parts):
        texts["rectangles"] = rectangle_table(parts)
    pictures = arguments.out if arguments.docs is None else arguments.docs.parent / "images"
    pictures = pictures / "intervals"
    pictures.mkdir(parents=True, exist_ok=True)
    for note in write_plots(images.assign(status="ok"), LEVEL, pictures, reliability(hits)):
        say(note)
    publish(texts, arguments.docs, "interval coverage")


def _judge(
    model: Model, dataset: Dataset, sample: Sample, device: str, rng: np.random.Generator
) -> tuple[dict[str, object], list[dict[str, object]], list[dict[str, object]]]:
    """Count an image; give its row, those of its rectangles, and what `reliability` needs."""
    pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
    prediction = predict(model, pixels, diameter_px=dataset.diameter_px, device=device)
    true = sample_count(sample)
    dots = None if sample.dots is None else sample_dots(sample)
    row = _row(prediction.count, true, intervals.of(prediction, LEVEL))
    rectangles = []
    if dots is not None:
        for rectangle in random_rectangles(prediction.image_shape, RECTANGLES, rng):
            count = intervals.count_in(prediction, rectangle)
            found = intervals.of(prediction, LEVEL, rectangle)
            rectangles.append(_row(count, dots_inside(dots.yx, rectangle), found))
    return row, rectangles, judge_intervals(prediction, true, dots, rng)


def _row(count: float, true: float, interval: Interval) -> dict[str, object]:
    return {
        "true": true,
        "count": count,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval_kind": interval.kind,
        "inside": bool(interval.low <= true <= interval.high),
    }


def image_table(images: pd.DataFrame) -> str:
    """Lay out a line per set, and one for all images together."""
    lines = [
        "| set | images | inside | fair range | mean width | score | of a constant width |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    everything = [*images.groupby("set"), ("all", images)]
    for name, rows in everything:
        n = len(rows)
        low, high = binom.ppf([(1 - FAIR) / 2, (1 + FAIR) / 2], n, LEVEL).astype(int)
        found = count_metrics(rows["true"], rows["count"], rows["ci_low"], rows["ci_high"], LEVEL)
        cells = (
            f"{name}",
            f"{n}",
            f"{rows['inside'].sum()} ({100 * rows['inside'].mean():.0f} %)",
            f"{low}–{high}",
            f"{found['mean_width']:.1f}",
            f"{found['interval_score']:.1f}",
            f"{best_constant(rows):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def best_constant(rows: pd.DataFrame) -> float:
    """Least mean interval score of intervals of one half-width for all images."""
    true, count = rows["true"].to_numpy(float), rows["count"].to_numpy(float)
    scores = [
        count_metrics(true, count, np.maximum(count - width, 0), count + width, LEVEL)
        for width in np.unique(np.abs(true - count))
    ]
    return min(score["interval_score"] for score in scores)


def rectangle_table(rectangles: pd.DataFrame) -> str:
    """Lay out a line per range of predicted counts."""
    lines = ["| predicted cells | rectangles | inside | range |", "|---|--:|--:|--:|"]
    for low, high in pairwise(EDGES):
        rows = rectangles[(rectangles["count"] >= low) & (rectangles["count"] < high)]
        if rows.empty:
            continue
        least, most = bootstrap(rows["inside"].to_numpy(), (rows["set"] + rows["image"]).to_numpy())
        lines.append(
            f"| {low} to {high} | {len(rows)} | {100 * rows['inside'].mean():.1f} % "
            f"| {100 * least:.1f}–{100 * most:.1f} % |"
        )
    return "\n".join(lines) + "\n"


def bootstrap(inside: NDArray[np.bool_], images: NDArray[np.object_]) -> tuple[float, float]:
    """Range of the mean when images are drawn anew."""
    rng = np.random.default_rng(0)
    _, image = np.unique(images.astype(str), return_inverse=True)
    held, seen = np.bincount(image, weights=inside), np.bincount(image)
    drawn = rng.integers(len(seen), size=(DRAWS, len(seen)))
    means = held[drawn].sum(axis=1) / seen[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LIKELY) / 2, (1 + LIKELY) / 2])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())

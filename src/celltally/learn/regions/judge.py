"""A model before and after, on regions that taught it nothing."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celltally.density import dots_from_prediction
from celltally.density.inside import inside
from celltally.density.regions import region_sums
from celltally.intervals.recalibrate import Audit
from celltally.learn.outcome import Compared, Example, Judge, RegionCounts
from celltally.learn.regions.reviewed import ReviewedImage, open_outline, region_count
from celltally.model import Model
from celltally.predict import iter_predict
from celltally.progress import relay, standing
from celltally.types import Prediction, Progress, Region

__all__ = ["Judged", "compared", "examples_of", "iter_judge"]

#: Sides of an example, in cell diameters.
EXAMPLE = 12
#: Percentiles of an example's brightness that are shown as black and white.
SHOWN = (0.5, 99.8)


@dataclass(frozen=True, eq=False)
class Judged:
    """A region, counted by a person, by the model in use and by the new one.

    Attributes
    ----------
    judge
        What kind of region; None for one that taught.
    image, region
        Where it is.
    counts
        What was counted in it.
    audit
        The same as the recalibration of the new model takes it.
    example
        A picture of a part of it.
    """

    judge: Judge | None
    counts: RegionCounts
    audit: Audit
    example: Example


def iter_judge(
    before: Model,
    after: Model,
    images: Sequence[tuple[ReviewedImage, Sequence[tuple[Judge | None, Region]]]],
    *,
    device: str,
) -> Generator[Progress, None, list[Judged]]:
    """Count regions of whole images with two models, as a user would.

    Parameters
    ----------
    before, after
        The model in use and the new one.
    images
        Images with the regions that are judged in each.
    device
        See ``iter_predict``.
    """
    found: list[Judged] = []
    for done, (image, regions) in enumerate(images, start=1):
        step = Progress(done - 1, len(images), "comparing")
        pixels = image.pixels()
        diameter = image.scaled.diameter_px
        predictions = []
        for model in (before, after):
            job = iter_predict(model, pixels, diameter_px=diameter, device=device)
            predictions.append((yield from relay(job, standing(step))))
        dots = [dots_from_prediction(p).yx for p in predictions]
        sums = [region_sums(p) for p in predictions]
        for judge, region in regions:
            outline = open_outline(region, image.excluded)
            counts = [float(max(s.along(outline)[0], 0.0)) for s in sums]
            variance = float(max(sums[1].along(outline)[1], 0.0))
            counted = region_count(image, region)
            row = RegionCounts(image.name, image.sample.group, region.id, counted, *counts)
            found.append(
                Judged(
                    judge, row, _audit(image, region, predictions[1], row, variance),
                    _example(image, region, pixels, row, judge, dots),
                )
            )  # fmt: skip
        yield Progress(done, len(images), "comparing")
    return found


def compared(judged: Sequence[Judged]) -> tuple[Compared, ...]:
    """Regions by what kind of judge they are."""
    kinds: tuple[Judge, ...] = ("kept back", "audit")
    found = []
    for kind in kinds:
        rows = tuple(one.counts for one in judged if one.judge == kind)
        if rows:
            found.append(Compared(kind, rows))
    return tuple(found)


def examples_of(judged: Sequence[Judged], most: int) -> tuple[Example, ...]:
    """Choose the places where the count changed most."""
    judged = [one for one in judged if round(one.counts.after) != round(one.counts.before)]
    changed = sorted(judged, key=lambda one: -abs(one.counts.after - one.counts.before))
    return tuple(one.example for one in changed[:most])


def _audit(
    image: ReviewedImage, region: Region, prediction: Prediction, row: RegionCounts, variance: float
) -> Audit:
    return Audit(
        image=row.image,
        group=row.group,
        predicted=row.after,
        variance=variance,
        counted=row.counted,
        image_predicted=prediction.count,
        image_variance=float(prediction.variance.sum(dtype=np.float64)),
        statistics=prediction.statistics,
        appearance=prediction.appearance,
        whole=not image.excluded and _is_whole(region, image.scaled.image_shape),
        region=tuple((float(y), float(x)) for y, x in region.polygon),
    )


def _is_whole(region: Region, shape: tuple[int, int]) -> bool:
    edges = np.array([(0, 0), (0, shape[1]), shape, (shape[0], 0)]) - 0.5
    return len(region.polygon) == 4 and bool(
        np.allclose(np.sort(region.polygon, axis=0), np.sort(edges, axis=0), atol=0.5)
    )


def _example(
    image: ReviewedImage,
    region: Region,
    pixels: NDArray[np.generic],
    row: RegionCounts,
    judge: Judge | None,
    dots: Sequence[NDArray[np.float64]],
) -> Example:
    """Cut out the part of a region where most dots came or went."""
    low = np.maximum(np.floor(region.polygon.min(axis=0) + 0.5), 0).astype(int)
    high = np.minimum(np.ceil(region.polygon.max(axis=0) + 0.5), pixels.shape[:2]).astype(int)
    side = np.minimum(np.array([round(EXAMPLE * image.scaled.diameter_px)] * 2), high - low)
    corner = _busiest(low, high, side, _unmatched(dots[0], dots[1], image.scaled.diameter_px / 2))
    (y0, x0), (y1, x1) = corner, corner + side
    part = np.asarray(pixels[y0:y1, x0:x1])

    def within(yx: NDArray[np.float64]) -> NDArray[np.float64]:
        here = ((yx >= corner - 0.5) & (yx < corner + side - 0.5)).all(axis=1)
        return np.asarray(yx[here] - corner)

    own = image.dots.yx[inside(image.dots.yx, region.polygon)]
    return Example(
        image=row.image, judge=judge, pixels=_shown(part, pixels),
        counted=row.counted, before=row.before, after=row.after,
        dots=within(own if region.stated is None else np.empty((0, 2))),
        dots_before=within(dots[0]), dots_after=within(dots[1]),
    )  # fmt: skip


def _unmatched(
    one: NDArray[np.float64], other: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Dots of either that have no partner near by among the other's."""
    lone = []
    for own, others in ((one, other), (other, one)):
        if not len(others):
            lone.append(own)
        elif len(own):
            lone.append(own[cKDTree(others).query(own)[0] > reach])
    return np.concatenate(lone) if lone else np.empty((0, 2))


def _busiest(
    low: NDArray[np.int64], high: NDArray[np.int64], side: NDArray[np.int64],
    yx: NDArray[np.float64],
) -> NDArray[np.int64]:  # fmt: skip
    """Corner of the window between ``low`` and ``high`` that holds most of the dots."""
    best, most = low + (high - low - side) // 2, -1
    steps = [
        np.unique(np.linspace(first, last - size, 6).round().astype(int))
        for first, last, size in zip(low, high, side, strict=True)
    ]
    for y in steps[0]:
        for x in steps[1]:
            corner = np.array([y, x])
            held = int(((yx >= corner) & (yx < corner + side)).all(axis=1).sum())
            if held > most:
                best, most = corner, held
    return best


def _shown(part: NDArray[np.generic], pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Pixels of a part as they are looked at, ``(h, w)`` or ``(h, w, 3)``."""
    if part.dtype == np.uint8 and part.ndim == 3:
        return np.asarray(part, dtype=np.uint8).copy()
    low, high = np.percentile(np.asarray(pixels[::2, ::2], dtype=np.float64), SHOWN)
    scaled = (part.astype(np.float64) - low) / max(high - low, 1e-9)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)

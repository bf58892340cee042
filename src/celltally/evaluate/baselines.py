"""Cells without a network: what a user would try first, tuned on labelled images.

*Local maxima* are the bright spots of the smoothed image that stand out from their
surroundings, as Fiji's *Find Maxima* has them. *Watershed* is Otsu's threshold and
the summits of the distance to the background; the watershed itself would only draw
the lines between the objects, which has no say in their number or place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from celltally.density import Matching, match_dots
from celltally.diameter import diameter_of
from celltally.errors import UserError
from celltally.evaluate.metrics import count_metrics, dot_metrics
from celltally.evaluate.report import PER_IMAGE, Report
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, read_dataset, sample_count, sample_dots
from celltally.preprocess import normalise, settings
from celltally.record import canonical_json, sha256_of
from celltally.types import Progress

__all__ = [
    "BASELINES",
    "TUNING_IMAGES",
    "Baseline",
    "Summits",
    "iter_judge",
    "iter_tune",
    "summits",
]

#: More images than this add little to a handful of settings.
TUNING_IMAGES = 40


@dataclass(frozen=True)
class _Choices:
    """What is tried of a baseline: every combination, cells bright and cells dark."""

    label: str
    sigmas_px: tuple[float, ...]
    prominences: tuple[float, ...]
    heights: tuple[float, ...]


#: Baselines by name. Prominence and height of the local maxima are shares of the
#: image's range; of the watershed they are pixels of distance, so that the height is
#: an object's inner radius.
BASELINES = {
    "maxima": _Choices(
        label="local maxima",
        sigmas_px=(0.5, 1, 1.5, 2, 3, 4, 6, 8, 12),
        prominences=tuple(round(0.005 * 2 ** (i / 2), 4) for i in range(15)),
        heights=tuple(i / 10 for i in range(8)),
    ),
    "watershed": _Choices(
        label="watershed",
        sigmas_px=(0.5, 1, 1.5, 2, 3, 4, 6),
        prominences=(0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8),
        heights=(0, 1, 2, 3, 4, 6, 8, 10, 12),
    ),
}


@dataclass(frozen=True, eq=False)
class Summits:
    """Local maxima of a field.

    Attributes
    ----------
    yx
        ``(n, 2)`` float64, pixels; the middle of a flat top.
    height
        ``(n,)``, the field's value there.
    prominence
        ``(n,)``, how far one has to go down from there to reach a higher summit; of
        the highest one, to reach the lowest place.
    """

    yx: NDArray[np.float64]
    height: NDArray[np.float64]
    prominence: NDArray[np.float64]

    def numbers(
        self, prominences: tuple[float, ...], heights: tuple[float, ...]
    ) -> NDArray[np.int64]:
        """``(P, H)``: how many are at least so prominent and so high."""
        tall = self.height[:, None] >= np.asarray(heights)
        clear = self.prominence[:, None] >= np.asarray(prominences)
        return np.asarray(clear.T.astype(np.int64) @ tall.astype(np.int64))


@dataclass(frozen=True)
class Baseline:
    """A way to count without a network, with its settings.

    Attributes
    ----------
    kind
        A name in ``BASELINES``.
    dark
        Whether cells are darker than the ground.
    sigma_px
        Standard deviation of the Gaussian that the image is smoothed with.
    prominence, height
        Least ones of a cell; see ``BASELINES``.
    """

    kind: str
    dark: bool
    sigma_px: float
    prominence: float
    height: float

    @property
    def label(self) -> str:
        """Name for readers."""
        return BASELINES[self.kind].label

    @property
    def sha256(self) -> str:
        """Identity: the settings, and how pixels are scaled before."""
        return sha256_of(canonical_json({**asdict(self), "preprocessing": settings()}))

    def find(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Positions ``(n, 2)`` of the cells of a normalised ``(C, H, W)`` image."""
        found = _summits_of(self.kind, values, self.dark, self.sigma_px)
        kept = (found.prominence >= self.prominence) & (found.height >= self.height)
        return found.yx[kept]


def summits(field: NDArray[np.floating[Any]]) -> Summits:
    """All local maxima of a field ``(H, W)``, with their prominences; none of a flat one."""
    labels, n = ndimage.label(local_maxima(field), structure=np.ones((3, 3)))
    if n == 0:
        return Summits(np.empty((0, 2)), np.empty(0), np.empty(0))
    rows, columns = np.nonzero(labels)
    owner = labels[rows, columns] - 1
    size = np.bincount(owner)
    yx = np.stack([np.bincount(owner, x) / size for x in (rows, columns)], axis=1)
    height = np.empty(n)
    height[owner] = field[rows, columns]

    # Flooded from all summits at once, two slopes meet where the pass between them is.
    slope = watershed(-field, labels, connectivity=2) - 1
    pairs, levels = [], []
    for one, other in _neighbours():
        apart = slope[one] != slope[other]
        pairs.append(np.stack([slope[one][apart], slope[other][apart]], axis=1))
        levels.append(np.minimum(field[one][apart], field[other][apart]))
    pair, level = np.sort(np.concatenate(pairs), axis=1), np.concatenate(levels)
    down = np.argsort(-level, kind="stable")
    _, highest = np.unique(pair[down] @ np.array([n, 1]), return_index=True)
    passes = down[np.sort(highest)]

    # From the highest pass down; where two ranges join, the lower summit ends.
    prominence = height - float(field.min())
    parent = list(range(n))
    for (a, b), saddle in zip(pair[passes].tolist(), level[passes].tolist(), strict=True):
        first, second = _root(parent, a), _root(parent, b)
        if first == second:
            continue
        if height[first] < height[second]:
            first, second = second, first
        prominence[second] = height[second] - saddle
        parent[second] = first
    return Summits(yx, height, prominence)


def _neighbours() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows whose pixels are each other's neighbours: beside, below, and on both diagonals."""
    every, front, back = slice(None), slice(None, -1), slice(1, None)
    return [
        ((every, front), (every, back)),
        ((front, every), (back, every)),
        ((front, front), (back, back)),
        ((front, back), (back, front)),
    ]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _summits_of(kind: str, values: NDArray[np.float32], dark: bool, sigma_px: float) -> Summits:
    grey = values.mean(axis=0)
    smooth = ndimage.gaussian_filter(1 - grey if dark else grey, sigma_px, mode="nearest")
    if kind == "maxima":
        return summits(smooth)
    return summits(ndimage.distance_transform_edt(smooth > threshold_otsu(smooth)))


def iter_tune(
    kind: str, folder: str | Path, *, images: int = TUNING_IMAGES, seed: int = 0
) -> Generator[Progress, None, Baseline]:
    """Choose the settings whose counts have the least mean absolute error.

    Parameters
    ----------
    kind
        A name in ``BASELINES``.
    folder
        Data set folder.
    images
        At most so many images are looked at, drawn by ``seed``.

    Yields
    ------
    Progress
        After each image.

    Raises
    ------
    UserError
        For a name or a number that cannot be used, or images that cannot be read.
    """
    if kind not in BASELINES:
        raise UserError(f"there is no baseline {kind!r}; choose one of {', '.join(BASELINES)}")
    if images < 1:
        raise UserError(f"a baseline cannot be tuned on {images} images; give at least 1")
    choices = BASELINES[kind]
    dataset = read_dataset(folder)
    drawn = np.random.default_rng(seed).permutation(len(dataset.samples))[:images]
    tried = [(dark, sigma) for dark in (False, True) for sigma in choices.sigmas_px]
    error = np.zeros((len(tried), len(choices.prominences), len(choices.heights)))
    for done, index in enumerate(sorted(drawn), start=1):
        sample = dataset.samples[index]
        true, values = sample_count(sample), _values(dataset, sample)
        for i, (dark, sigma) in enumerate(tried):
            found = None if values is None else _summits_of(kind, values, dark, sigma)
            numbers = 0 if found is None else found.numbers(choices.prominences, choices.heights)
            error[i] += np.abs(numbers - true)
        yield Progress(done, len(drawn), sample.image.name)
    best, prominence, height = np.unravel_index(error.argmin(), error.shape)
    return Baseline(kind, *tried[best], choices.prominences[prominence], choices.heights[height])


def iter_judge(
    baseline: Baseline, folder: str | Path
) -> Generator[Progress, None, tuple[Report, float]]:
    """Count a data set's images with a baseline and compare with its labels.

    Returns
    -------
    report
        As of ``iter_evaluate``, without intervals.
    speed
        Megapixels of the images per second of counting, reading not included.
    """
    dataset = read_dataset(folder)
    rows: list[dict[str, Any]] = []
    matchings: list[Matching] = []
    pixels = seconds = 0.0
    for done, sample in enumerate(dataset.samples, start=1):
        row: dict[str, Any] = dict.fromkeys(PER_IMAGE, math.nan)
        row |= {"image": sample.image.name, "group": sample.group, "interval_kind": ""}
        row |= {"status": "failed", "message": ""}
        rows.append(row)
        try:
            row["true"] = sample_count(sample)
            values = _values(dataset, sample)
            start = time.perf_counter()
            found = np.empty((0, 2)) if values is None else baseline.find(values)
            row["seconds"] = time.perf_counter() - start
            diameter = dataset.diameter_px or (None if values is None else diameter_of(values))
            if sample.dots is not None and diameter is not None:
                matching = match_dots(sample_dots(sample).yx, found, diameter / 2)
                matchings.append(matching)
                row |= {n: getattr(matching, n) for n in ("precision", "recall", "f1")}
        except UserError as error:
            row["message"] = " ".join(f"{sample.image.name}: {error}".split())
        else:
            count = float(len(found))
            row |= {"count": count, "error": count - row["true"], "n_dots": len(found)}
            row |= {"diameter_px": diameter, "status": "ok"}
            if values is not None:
                pixels, seconds = pixels + values[0].size, seconds + row["seconds"]
        yield Progress(done, len(dataset.samples), sample.image.name)
    table = pd.DataFrame(rows, columns=list(PER_IMAGE))
    good = table[table["status"] == "ok"]
    report = Report(
        dataset=dataset.name,
        model=baseline.label,
        model_sha256=baseline.sha256,
        level=0.95,
        diameter="not used",
        metrics=count_metrics(good["true"], good["count"]) | dot_metrics(matchings),
        per_image=table,
    )
    return report, pixels / 1e6 / seconds if seconds else math.nan


def _values(dataset: Dataset, sample: Sample) -> NDArray[np.float32] | None:
    """Normalised ``(C, H, W)``; None for an image that shows nothing."""
    pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
    values, scaling = normalise(pixels)
    return None if scaling.empty else values

"""Where the errors of counts are: in which images, where in them, at which diameter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celltally.density import match_dots
from celltally.io import read_image, select_pixels
from celltally.learn.data import Dataset, Sample, sample_count, sample_dots
from errors_lib.counted import Counted

__all__ = ["FACTORS", "blank_fields", "even", "read_pixels", "study", "subgroups"]

#: By how much the cell diameter is wrong.
FACTORS = (0.5, 0.6, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5)
#: What the stem tells of the focus, by set.
FOCUS = {"bbbc005": r"_(F\d+)_"}


def read_pixels(dataset: Dataset, sample: Sample) -> NDArray[np.generic]:
    """Return the plane that is counted."""
    return np.asarray(select_pixels(read_image(sample.image), channel=dataset.channel))


def study(dataset: Dataset, sample: Sample, counted: Counted) -> dict[str, Any]:
    """Compare an image's count and dots with its labels.

    Returns
    -------
    dict
        ``true``, ``count``, ``error`` and the ``relative`` one (of max(true, 1)),
        ``diameter_px``; and where there are true dots: ``border_area`` (as a share of the
        image), ``border_true`` and ``border_count`` within a cell diameter of the image's
        border, ``inner_true`` and ``inner_count`` elsewhere; ``missed`` true dots; of the
        found dots that are no match the ``beside`` ones, within a diameter of a true dot,
        and the ``false`` ones.
    """
    true = sample_count(sample)
    row = {
        "image": sample.image.name,
        "true": true,
        "count": counted.count,
        "error": counted.count - true,
        "relative": abs(counted.count - true) / max(true, 1),
        "diameter_px": counted.diameter_px,
    }
    if sample.dots is None:
        return row
    dots = sample_dots(sample, counted.image_shape).yx
    diameter = dataset.diameter_px or counted.diameter_px
    low, high = diameter - 0.5, np.array(counted.image_shape) - 0.5 - diameter
    inside = int(((dots >= low) & (dots < high)).all(axis=1).sum())
    mass = _mass_between(counted, low, high)
    matching = match_dots(dots, counted.dots, diameter / 2)
    alone = np.delete(counted.dots, matching.pairs[:, 1], axis=0)
    away = cKDTree(dots).query(alone)[0] if len(dots) else np.full(len(alone), math.inf)
    return row | {
        "border_area": 1 - np.prod(np.maximum(high - low, 0) / counted.image_shape),
        "border_true": len(dots) - inside,
        "border_count": float(counted.density.sum(dtype=np.float64)) - mass,
        "inner_true": inside,
        "inner_count": mass,
        "missed": len(dots) - len(matching.pairs),
        "beside": int((away <= diameter).sum()),
        "false": int((away > diameter).sum()),
    }


def _mass_between(counted: Counted, low: float, high: NDArray[np.float64]) -> float:
    """Cells in the rectangle; a density cell on its edge belongs to it in part."""
    shares = []
    for n, step, origin, end in zip(
        counted.density.shape, counted.step, counted.origin, high, strict=True
    ):
        edges = origin + step * np.arange(n + 1)
        overlap = np.minimum(edges[1:], end) - np.maximum(edges[:-1], low)
        shares.append(np.maximum(overlap, 0) / step)
    return float(shares[0] @ counted.density.astype(np.float64) @ shares[1])


def subgroups(images: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Divide the images of a set: all, thirds by cells and by cell size, and by focus."""
    yield "all", images
    yield from _thirds(images, "true", ("fewest cells", "medium", "most cells"), "")
    if images["diameter_px"].nunique() >= 3:
        yield from _thirds(images, "diameter_px", ("small cells", "medium", "large cells"), " px")
    pattern = FOCUS.get(str(images["set"].iloc[0]))
    if pattern:
        focus = images["image"].str.extract(pattern)[0]
        for name in sorted(focus.dropna().unique(), key=lambda word: int(word[1:])):
            yield f"focus {name}", images[focus == name]


def _thirds(
    images: pd.DataFrame, column: str, names: tuple[str, ...], unit: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Thirds of the images in the order of a column; nothing where there are fewer than three."""
    if len(images) < 3:
        return
    order = np.argsort(images[column].to_numpy(), kind="stable")
    for name, places in zip(names, np.array_split(order, 3), strict=True):
        third = images.iloc[places]
        low, high = third[column].min(), third[column].max()
        yield f"{name} ({low:.0f}–{high:.0f}{unit})", third


def even(samples: tuple[Sample, ...], most: int) -> list[Sample]:
    """Take at most so many samples, at even distances."""
    places = np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int)
    return [samples[i] for i in places]


def blank_fields() -> dict[str, NDArray[np.generic]]:
    """Fields without a cell, by what they show."""
    rng, shape = np.random.default_rng(0), (512, 512)
    light = np.linspace(60, 180, shape[1])[None, :]
    noise = rng.normal(0, 12, shape)
    return {
        "constant": np.full(shape, 90, np.uint8),
        "noise": (90 + noise).clip(0, 255).astype(np.uint8),
        "few photons": rng.poisson(3, shape).astype(np.uint16),
        "uneven light and noise": (light + noise).clip(0, 255).astype(np.uint8),
    }

"""What an image looks like, in a few figures, whatever its size and magnification.

Two images of one stain, camera and magnification have like figures, so that an image that a
model knows nothing like can be told (``intervals.likeness``). No network is needed: it can be
told before anything is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["APPEARANCE", "MODEL_SCALE_PX", "appearance"]

#: Cell diameter, in pixels, of the scale at which images are looked at.
MODEL_SCALE_PX = 12.0
#: Octaves of structure: the first holds what is finer than about a tenth of a cell, the last
#: what is of the size of a few cells.
OCTAVES = 5
PERCENTILES = (5, 25, 50, 75, 90, 95, 99)
#: Deviation, in pixels, of the blur between two octaves.
BLUR = 1.0
#: Of a large image this many windows are looked at, of this many blocks along a side.
WINDOWS, WINDOW = 16, 256
#: Structure weaker than this share of the image's range is none.
FAINT = 1e-3
#: A few bright pixels must not make a skewness of hundreds.
MOST_SKEW = 5.0

#: Every figure, and from which difference on it is one: what two images of a kind differ in.
APPEARANCE: Mapping[str, float] = {
    "size": 0.15,
    **{f"level_{q}": 0.02 for q in PERCENTILES},
    **{
        f"{what}_{octave}": least
        for octave in range(OCTAVES)
        for what, least in (("strength", 0.15), ("skewness", 0.2), ("peakedness", 0.1))
    },
    "colour": 0.15,
    "red_green": 0.02,
    "blue_green": 0.02,
}


def appearance(values: NDArray[np.float32], diameter_px: float) -> dict[str, float]:
    """Figures of an image.

    Parameters
    ----------
    values
        Normalised ``(C, H, W)``, C = 1 or 3.
    diameter_px
        Cell diameter in image pixels, to which the structure's sizes relate.

    Returns
    -------
    dict
        ``size`` (log of the cell diameter in pixels); ``level_q`` (percentiles of the
        brightness); for each octave of structure its ``strength`` (log of the standard
        deviation), ``skewness`` and ``peakedness`` (log of one plus the kurtosis); ``colour``
        (log of the deviation between samples), ``red_green`` and ``blue_green`` (differences of
        their means).
    """
    block = max(1, int(diameter_px // MODEL_SCALE_PX))
    blocks = _block_means(_windows(values, WINDOW * block), block)
    grey = blocks.mean(axis=0)
    found = {"size": math.log(diameter_px)}
    levels = np.percentile(grey, PERCENTILES)
    found |= {f"level_{q}": float(x) for q, x in zip(PERCENTILES, levels, strict=True)}
    scale = diameter_px / (block * MODEL_SCALE_PX)  # of what is left, 1 to 2 for large cells
    plane = grey
    for octave in range(OCTAVES):
        blurred = gaussian_filter(plane, BLUR * scale, mode="nearest", axes=(1, 2))
        band = plane - blurred
        deviation = float(band.std())
        z = band / max(deviation, 1e-6)
        found[f"strength_{octave}"] = math.log(deviation + FAINT)
        found[f"skewness_{octave}"] = float(np.clip((z**3).mean(), -MOST_SKEW, MOST_SKEW))
        found[f"peakedness_{octave}"] = math.log1p(float((z**4).mean()))
        # What is left is smooth enough to be halved.
        plane = blurred[:, ::2, ::2] if min(blurred.shape[1:]) >= 4 else blurred
    difference = float((blocks - grey).std()) if len(blocks) > 1 else 0.0
    red, green, blue = blocks.mean(axis=(1, 2, 3)) if len(blocks) > 1 else (0.0, 0.0, 0.0)
    found["colour"] = math.log(difference + FAINT)
    found["red_green"], found["blue_green"] = float(red - green), float(blue - green)
    return found


def _windows(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """``(C, H, W)`` → ``(C, n, h, w)``: windows spread evenly over a large image, or all of it."""
    height, width = values.shape[1:]
    if height * width <= WINDOWS * side**2:
        return values[:, None]
    shape = (min(height, side), min(width, side))
    rows = min(max(height // side, 1), round(WINDOWS**0.5))
    columns = min(max(width // side, 1), WINDOWS // rows)
    rows = min(max(height // side, 1), WINDOWS // columns)  # of a narrow image more
    starts = [
        np.linspace(0, whole - part, number).astype(int)
        for whole, part, number in zip((height, width), shape, (rows, columns), strict=True)
    ]
    windows = [values[:, y : y + shape[0], x : x + shape[1]] for y in starts[0] for x in starts[1]]
    return np.stack(windows, axis=1)


def _block_means(windows: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """``(C, n, h, w)`` → ``(C, n, h // block, w // block)``; what is smaller than a block as is."""
    channels, number, height, width = windows.shape
    rows, columns = height // block, width // block
    if block == 1 or not rows or not columns:
        return windows
    cut = windows[..., : rows * block, : columns * block]
    means: NDArray[np.float32] = cut.reshape(channels, number, rows, block, columns, block).mean(
        axis=(3, 5), dtype=np.float32
    )
    return means

"""Which places of an image to check first: those where the count is most in doubt.

The image is cut into blocks one cell wide, and windows of a few blocks are ranked by the error
that is expected of the count in them::

    error² = s² + (Σ density − dots)²

s is the standard error that the calibration gives for a part of an image with such a density
and variance (see ``uncertainty``), and the second term what density and dots do not agree on:
a cell that the model half believes in, or one that a human has set or removed, where the count
goes by the density until the place is reviewed. What s² is of a part with nothing in it is
taken off for the ranking: every place has it. Blocks in reviewed, audited and excluded regions
add nothing, nor do those outside the tissue, where tissue regions are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import inside_any
from celltally.intervals.uncertainty import standard_error
from celltally.types import Prediction, Region

__all__ = ["Place", "places_to_check"]

#: Cell diameters that a window is wide.
WIDTH = 4
#: Least share of a window that is open to be checked.
OPEN = 0.5
#: Least error in cells that makes a place worth a look, and most places that are named.
LEAST, MOST = 0.5, 50


@dataclass(frozen=True)
class Place:
    """A window of an image that is worth checking.

    Attributes
    ----------
    window
        ``(y0, x0, y1, x1)`` in image pixels.
    error
        Expected error of the count in it, in cells.
    """

    window: tuple[float, float, float, float]
    error: float


def places_to_check(
    prediction: Prediction,
    yx: ArrayLike,
    regions: Sequence[Region] = (),
    *,
    least: float = LEAST,
    most: int = MOST,
) -> list[Place]:
    """Rank places by the expected error of the count in them, the largest first.

    No two of them overlap.

    Parameters
    ----------
    prediction
        What a model says about the image.
    yx
        ``(n, 2)`` positions of the dots, without those that were removed.
    regions
        Of the image's plane.
    least
        Error, beyond that of an empty part, from which on a place is named.
    most
        How many are named.
    """
    side = [max(round(prediction.diameter_px / step), 1) for step in prediction.grid.step]
    shape = prediction.grid.shape
    edges = [np.arange(0, n, s) for n, s in zip(shape, side, strict=True)]
    density, variance = (_blocks(maps, edges) for maps in (prediction.density, prediction.variance))
    cells = prediction.grid.to_cells(yx)
    dots = np.zeros(density.shape)
    at = [np.clip(cells[:, i] // side[i], 0, density.shape[i] - 1).astype(int) for i in (0, 1)]
    np.add.at(dots, (at[0], at[1]), 1.0)
    middles = [(e + np.append(e[1:], n)) / 2 for e, n in zip(edges, shape, strict=True)]
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2)
    free = _open(prediction.grid.to_image(grid), regions).reshape(density.shape)
    size = [min(WIDTH, n) for n in density.shape]
    sums = [_windows(one * free, size) for one in (density, variance, dots, np.ones(dots.shape))]
    spread = standard_error(prediction, *(s.astype(np.float32) for s in sums[:2]))
    nothing = np.zeros((1, 1), dtype=np.float32)
    floor = float(standard_error(prediction, nothing, nothing)[0, 0])
    error = np.hypot(spread, sums[0] - sums[2])
    above = np.sqrt(np.maximum(error**2 - floor**2, 0.0))
    above[sums[3] < OPEN * size[0] * size[1]] = 0.0
    return _pick(prediction, error, above, edges, size, least, most)


def _blocks(
    maps: NDArray[np.float32], edges: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:  # fmt: skip
    rows = np.add.reduceat(maps.sum(axis=0, dtype=np.float64), edges[0], axis=0)
    return np.asarray(np.add.reduceat(rows, edges[1], axis=1))


def _open(yx: NDArray[np.float64], regions: Sequence[Region]) -> NDArray[np.float64]:
    """Whether places are left to be checked, 1 or 0."""
    done = [r.polygon for r in regions if r.kind in ("reviewed", "audit", "exclude")]
    tissue = [r.polygon for r in regions if r.kind == "tissue"]
    free = ~inside_any(yx, done)
    if tissue:
        free &= inside_any(yx, tissue)
    return free.astype(np.float64)


def _windows(blocks: NDArray[np.float64], size: Sequence[int]) -> NDArray[np.float64]:
    """Sum over every window of ``size`` blocks."""
    total = np.pad(blocks.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    rows = total[size[0] :] - total[: -size[0]]
    found = rows[:, size[1] :] - rows[:, : -size[1]]
    return np.asarray(np.maximum(found, 0.0))  # rounding


def _pick(
    prediction: Prediction, error: NDArray[np.float64], above: NDArray[np.float64],
    edges: Sequence[NDArray[np.intp]], size: Sequence[int], least: float, most: int,
) -> list[Place]:  # fmt: skip
    """Take the largest errors, no two of which overlap (non-maximum suppression)."""
    left = above.copy()
    found: list[Place] = []
    ends = [np.append(e, n) for e, n in zip(edges, prediction.grid.shape, strict=True)]
    while len(found) < most:
        i, j = np.unravel_index(int(np.argmax(left)), left.shape)
        if left[i, j] < least or left[i, j] <= 0:
            break
        corners = [(ends[0][i], ends[1][j]), (ends[0][i + size[0]], ends[1][j + size[1]])]
        (y0, x0), (y1, x1) = prediction.grid.to_image(corners).tolist()
        found.append(Place((y0, x0, y1, x1), float(error[i, j])))
        left[max(i - size[0] + 1, 0) : i + size[0], max(j - size[1] + 1, 0) : j + size[1]] = 0.0
    return found

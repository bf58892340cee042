"""Dots → density: every dot spreads a mass of one, and none of it is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from celltally.types import Grid

__all__ = ["density_map"]

# A Gaussian is cut off here; what lies beyond (6e-5 of it) goes back into the window.
_REACH_SIGMAS = 4.0
# Cells scattered in one go: bounds the memory at about 100 MB.
_CHUNK_CELLS = 4_000_000


def density_map(
    yx: ArrayLike,
    grid: Grid,
    sigma_px: ArrayLike,
    *,
    extent: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    """Density of dots: one Gaussian of mass 1 per dot, integrated over each cell.

    The Gaussians are integrated exactly (not sampled), cut off at 4 sigma and
    renormalised inside ``extent``, so that a dot near the image's border keeps
    its whole mass in the image. Dots outside ``extent`` are no cells of this
    image and contribute nothing.

    Parameters
    ----------
    yx
        ``(n, 2)`` positions in image pixels.
    grid
        Where the density's cells lie.
    sigma_px
        Standard deviation in image pixels: one for all, or ``(n,)``, one each.
    extent
        ``(y0, x0, y1, x1)``: the rectangle, in the pixels of ``yx`` and ``grid``,
        that holds all mass. None: the grid's own, and the sum is the number of
        dots inside. For a crop give the extent of the whole image: dots
        outside the crop then reach into it with their true tails, dots inside
        lose theirs, and only at the image's own borders is mass folded back.
        Sides may be infinite.

    Returns
    -------
    ndarray
        ``(h, w)`` float32, cells per density cell.

    Raises
    ------
    ValueError
        For positions that are not finite, a sigma that is not a positive
        number, or one sigma too few or too many.
    """
    points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    sigma = np.asarray(sigma_px, dtype=np.float64)
    if sigma.ndim and sigma.shape != (len(points),):
        raise ValueError(f"{sigma.shape} sigmas do not fit {len(points)} dots")
    if not np.all(np.isfinite(points)):
        raise ValueError("a dot's position is not finite")
    if not np.all(np.isfinite(sigma) & (sigma > 0)):
        raise ValueError(f"sigma must be a positive number of pixels, not {sigma_px!r}")
    sigma = np.broadcast_to(sigma, (len(points),))

    size = np.asarray(grid.shape)
    origin, step = np.asarray(grid.origin), np.asarray(grid.step)
    low, high = (
        (origin, origin + size * step)
        if extent is None
        else (np.asarray(extent[:2], dtype=np.float64), np.asarray(extent[2:], dtype=np.float64))
    )

    # Each dot's window (within the extent), in pixels and then in cells of the grid.
    start = np.maximum(points - _REACH_SIGMAS * sigma[:, None], low)
    stop = np.minimum(points + _REACH_SIGMAS * sigma[:, None], high)
    first = np.maximum(np.floor((start - origin) / step), 0)
    last = np.minimum(np.ceil((stop - origin) / step), size)
    seen = np.all((points >= low) & (points <= high) & (last > first), axis=1)
    if not seen.any():
        return np.zeros(grid.shape, dtype=np.float32)
    points, sigma, start, stop = points[seen], sigma[seen], start[seen], stop[seen]
    first = first[seen].astype(np.int64)

    # All windows get the widest one's size; the margin catches what sticks out.
    rows, columns = (last[seen] - first).max(axis=0).astype(int).tolist()
    canvas_shape = (grid.shape[0] + rows, grid.shape[1] + columns)
    canvas = np.zeros(canvas_shape[0] * canvas_shape[1])
    chunk = max(_CHUNK_CELLS // (rows * columns), 1)
    for i in range(0, len(points), chunk):
        part = slice(i, i + chunk)
        along = [
            _shares(
                points[part, axis],
                sigma[part],
                start[part, axis],
                stop[part, axis],
                origin[axis] + (first[part, axis, None] + np.arange(cells + 1)) * step[axis],
            )
            for axis, cells in enumerate((rows, columns))
        ]
        mass = along[0][:, :, None] * along[1][:, None, :]
        target = (first[part, 0, None] + np.arange(rows))[:, :, None] * canvas_shape[1]
        target = target + (first[part, 1, None] + np.arange(columns))[:, None, :]
        canvas += np.bincount(target.ravel(), weights=mass.ravel(), minlength=canvas.size)
    density = canvas.reshape(canvas_shape)[: grid.shape[0], : grid.shape[1]]
    return density.astype(np.float32)


def _shares(
    centre: NDArray[np.float64],
    sigma: NDArray[np.float64],
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of each dot's mass between successive edges ``(n, k + 1)`` along one axis."""
    clipped = np.clip(edges, start[:, None], stop[:, None])
    below = ndtr((clipped - centre[:, None]) / sigma[:, None])
    whole = ndtr((stop - centre) / sigma) - ndtr((start - centre) / sigma)
    return np.asarray(np.diff(below, axis=1) / whole[:, None])

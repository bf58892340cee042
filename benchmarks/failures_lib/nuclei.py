"""Nuclei of an image from its mask, and how much of a density falls to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from errors_lib.counted import Counted
from numpy.typing import NDArray
from scipy import ndimage, sparse
from skimage.measure import regionprops

from celltally.errors import UserError
from celltally.io import read_image, select_pixels
from celltally.learn.data import Sample, sample_dots

__all__ = ["TOUCH_PX", "Nuclei", "masses", "read_nuclei"]

#: Nuclei touch when some of their pixels are at most this far apart along each axis. Masks
#: drawn by hand leave a line of one pixel between nuclei that touch.
TOUCH_PX = 2


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei of one image, in the order of its dots.

    Attributes
    ----------
    yx
        ``(n, 2)`` positions of the dots.
    labels
        ``(H, W)`` number of the nucleus that covers a pixel, −1 elsewhere.
    parts
        ``(H, W)`` number of the nucleus whose mask is nearest (its Voronoi part): these
        tile the image, so that the masses of the parts add up to the count.
    clump
        ``(n,)`` numbers of the groups that nuclei form by touching each other.
    touching, whole
        ``(n,)`` bool: touches another nucleus; does not reach the image's border.
    solidity, eccentricity, area_px
        ``(n,)`` shape: area over that of the convex hull; eccentricity of the ellipse with
        the same second moments, 0 for a disc; pixels.
    """

    yx: NDArray[np.float64]
    labels: NDArray[np.int64]
    parts: NDArray[np.int64]
    clump: NDArray[np.int64]
    touching: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    solidity: NDArray[np.float64]
    eccentricity: NDArray[np.float64]
    area_px: NDArray[np.int64]


def read_nuclei(sample: Sample) -> Nuclei:
    """Read the mask of a sample; objects without a dot are no nuclei.

    Raises
    ------
    UserError
        When there are no dots or no mask, or two dots belong to one object.
    """
    if sample.mask is None:
        raise UserError(f"{sample.image.name} has no mask; give a set with masks")
    mask = np.asarray(select_pixels(read_image(sample.mask)))
    dots = sample_dots(sample, (mask.shape[0], mask.shape[1])).yx
    if not len(dots):
        nothing = np.full(mask.shape, -1, dtype=np.int64)
        none, no = np.empty(0), np.empty(0, bool)
        whole = np.empty(0, np.int64)
        return Nuclei(dots, nothing, nothing, whole, no, no, none, none, whole)
    # The centroid of a crescent lies beside it, hence the nearest object.
    rows, columns = dots.round().astype(int).T
    objects = mask[_nearest(mask > 0)][rows, columns]
    if len(np.unique(objects)) < len(dots):
        raise UserError(
            f"two dots of {sample.image.name} belong to one object of its mask; mend either"
        )
    numbers = np.full(int(mask.max()) + 1, -1, dtype=np.int64)
    numbers[objects] = np.arange(len(dots))
    labels = numbers[mask]
    shapes = regionprops(labels + 1)
    boxes = np.array([shape.bbox for shape in shapes])
    inside = (boxes > 0) & (boxes < np.array([*mask.shape, *mask.shape]))
    pairs = _touching_pairs(labels)
    n = len(dots)
    graph = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    return Nuclei(
        yx=dots,
        labels=labels,
        parts=labels[_nearest(labels >= 0)],
        clump=sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64),
        touching=np.isin(np.arange(n), pairs),
        whole=np.all(inside, axis=1),
        solidity=np.array([shape.solidity for shape in shapes]),
        eccentricity=np.array([shape.eccentricity for shape in shapes]),
        area_px=np.array([shape.area for shape in shapes], dtype=np.int64),
    )


def _nearest(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Index of the nearest pixel inside, for every pixel."""
    return tuple(
        ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    )


def _touching_pairs(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(m, 2)`` numbers of nuclei that touch each other."""
    found = [np.empty((0, 2), np.int64)]
    height, width = labels.shape
    for dy in range(TOUCH_PX + 1):
        for dx in range(-TOUCH_PX, TOUCH_PX + 1):
            one = labels[: height - dy, max(-dx, 0) : width - max(dx, 0)]
            other = labels[dy:, max(dx, 0) : width - max(-dx, 0)]
            meet = (one != other) & (one >= 0) & (other >= 0)
            found.append(np.stack([one[meet], other[meet]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def masses(counted: Counted, nuclei: Nuclei) -> NDArray[np.float64]:
    """Density in the part of each nucleus, in cells: ``(n,)``, in all the count.

    A density cell that several parts share is divided by area. What a density has beyond
    the image's border belongs to the border's pixels.
    """
    if not len(nuclei.yx):
        return np.empty(0)
    down, across = (
        _shares(n, cells, step, origin)
        for n, cells, step, origin in zip(
            counted.image_shape, counted.density.shape, counted.step, counted.origin, strict=True
        )
    )
    pixels = down @ counted.density.astype(np.float64) @ across.T
    sums = np.bincount(nuclei.parts.ravel(), pixels.ravel(), minlength=len(nuclei.yx))
    return sums.astype(np.float64)


def _shares(n: int, cells: int, step: float, origin: float) -> NDArray[np.float64]:
    """``(n, cells)`` share of each density cell that lies in each pixel, along one axis."""
    pixels = np.arange(n + 1) - 0.5
    pixels[[0, -1]] = -np.inf, np.inf
    edges = origin + step * np.arange(cells + 1)
    low = np.maximum(pixels[:-1, None], edges[None, :-1])
    high = np.minimum(pixels[1:, None], edges[None, 1:])
    shares: NDArray[np.float64] = np.maximum(high - low, 0) / step
    return shares

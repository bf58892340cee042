"""How much an image looks like those that a model knows.

A *p*-value-like score: the share of the known images that are as far from the others as this
one is from them. Images are compared by figures of what they look like
(``celltally.appearance``), whitened, by the mean distance to the nearest known ones (a
nearest-neighbour novelty score, Ramaswamy et al. 2000), and the score is its conformal
*p*-value (Laxhammar & Falkman 2010): of images like the known ones, about a share ``p`` at most
gets a score of ``p`` or less. Images of one group (a well, a slide) are alike, so that every group
has the same mass, and none is compared with its own.

Beyond the farthest known image there is nothing left to count, and the score falls with the
square of the distance: no *p*-value any more, but strange images can be told from stranger
ones. With fewer than 49 groups even the farthest has a score above ``UNLIKE``, so that it is
this fall alone that tells; one or two groups say nothing of how much images of a kind differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from celltally.intervals.whitened import Whitened
from celltally.types import Appearances

__all__ = ["MOST_APPEARANCES", "UNLIKE", "known_appearances", "likeness_score", "strangest"]

#: An image that scores below this is unlike the known ones.
UNLIKE = 0.02
#: Known images that an image is compared with.
NEAREST = 3
#: See ``Whitened``. Of few groups the covariance is known badly, and a new image would look
#: strange in every direction in which these happen not to differ; so up to the number of groups
#: from which on ``UNLIKE`` is a share of them, so many times what 1 / groups is too much is
#: added. (Of sets of which 8 images were known, 5 in 100 of the other images are then called
#: unlike and not 22, with 19 known images 4 and not 9; of images of other sets 87 and 89 and
#: not 97 and 94.)
SHRINKAGE, FEW = 0.03, 3.0
#: Images that differ by this share of a figure's least difference, in every figure and any
#: direction, are the same. (It says something where one or two images are known, or copies.)
SMALL = 0.25
#: Digits that are kept of a figure.
DIGITS = 4
#: Known images that are kept, so that a calibration remains a small file.
MOST_APPEARANCES = 800


def known_appearances(
    appearances: Sequence[Mapping[str, float]],
    groups: Sequence[str],
    least: Mapping[str, float],
    before: Appearances | None = None,
) -> Appearances | None:
    """Put together what images look like; None where there is none to put.

    Parameters
    ----------
    appearances
        Of each image; empty ones, of images that show nothing, are left out.
    groups
        What is independent: well, slide, or the image itself.
    least
        Difference from which on a figure is one, by its name.
    before
        What was known already; it stays.

    Raises
    ------
    ValueError
        When the columns differ in length, or the figures from those known already.
    """
    names = tuple(least)
    rows = [
        (group, tuple(float(f"{one[name]:.{DIGITS}g}") for name in names))
        for one, group in zip(appearances, groups, strict=True)
        if one
    ]
    if before is not None:
        if before.names != names:
            raise ValueError("images are known by other figures than these")
        rows = [*zip(before.groups, before.points, strict=True), *rows]
    rows = list(dict.fromkeys(rows))  # images that were known already
    if not rows:
        return None
    if len(rows) > MOST_APPEARANCES:
        kept = np.linspace(0, len(rows) - 1, MOST_APPEARANCES).round().astype(int)
        rows = [rows[i] for i in kept]
    return Appearances(
        names=names,
        least=tuple(least.values()),
        points=tuple(point for _, point in rows),
        groups=tuple(group for group, _ in rows),
    )


def likeness_score(known: Appearances, appearance: Mapping[str, float]) -> float:
    """Score of an image, in (0, 1]; NaN for one that shows too little to be compared.

    Parameters
    ----------
    known
        What the images that a model knows look like.
    appearance
        Of the image.
    """
    if not set(known.names) <= set(appearance):
        return math.nan
    space = _space(known)
    point = np.array([appearance[name] for name in known.names])
    distance = float(_nearest(space.images.squares(point)))
    groups = len(space.distances)
    # Every group's share of images that are as far from the others.
    as_far = sum(float((own >= distance).mean()) for own in space.distances)
    farthest = max(float(own.max()) for own in space.distances)
    if distance <= farthest:
        return (1.0 + as_far) / (groups + 1)
    beyond = max(distance / max(farthest, space.least), 1.0)
    return beyond**-2 / (groups + 1)


def strangest(known: Appearances, appearance: Mapping[str, float]) -> str:
    """Name of the figure in which an image differs most from the known ones nearest to it."""
    space = _space(known)
    point = np.array([appearance[name] for name in known.names])
    order = np.argsort(space.images.squares(point), kind="stable")
    around = np.array(known.points)[order[:NEAREST]].mean(axis=0)
    return known.names[int(np.argmax(np.abs(point - around) / space.images.widths))]


class _Space:
    """The known images, and how far each is from the others.

    Attributes
    ----------
    images
        Where they are.
    least
        Distance that is too small to be strange.
    distances
        For every group the distances of its images to those of other groups.
    """

    def __init__(self, known: Appearances) -> None:
        excess = max(1 / len(set(known.groups)) - UNLIKE / (1 - UNLIKE), 0.0)
        self.images = Whitened(known.points, known.least, SHRINKAGE + FEW * excess)
        self.least = SMALL * self.images.reach(known.least)
        squares = self.images.among()
        _, group = np.unique(np.array(known.groups), return_inverse=True)
        own = group[:, None] == group
        if own.all():  # one group only: its images are all there is to compare with
            own = np.eye(len(own), dtype=bool)
        squares[own] = np.inf
        near = _nearest(squares) if len(squares) > 1 else np.zeros(1)
        self.distances = [near[group == g] for g in range(int(group.max()) + 1)]


@lru_cache(maxsize=8)
def _space(known: Appearances) -> _Space:
    return _Space(known)


def _nearest(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of the least distances along the last axis."""
    count = min(NEAREST, squares.shape[-1])
    least = np.partition(squares, count - 1, axis=-1)[..., :count]
    least = np.where(np.isfinite(least), least, np.nan)
    return np.asarray(np.sqrt(np.nanmean(least, axis=-1)))

"""How hard an image is to count, from the calibration images that it looks like.

The variance that a network foretells is right on the average over its training data and
not for every kind of image: stained slides were off by two and a half times the foretold
deviation where simulated cells were off by half of it. The nearest calibration images tell
by how much (a difficulty estimator of normalised conformal prediction, Boström et al. 2017,
with k nearest neighbours), by what they look like (``celltally.appearance``) and how many
cells they have. It divides the scores, so whatever it says, the guarantee for exchangeable
images stays; it only shares the width out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from celltally.appearance import APPEARANCE
from celltally.intervals.whitened import Whitened
from celltally.types import Neighbours

__all__ = ["LOGARITHMIC", "difficulty", "make_neighbours"]

#: Statistics that are compared by their ratio.
LOGARITHMIC = frozenset({"diameter_px", "diameter_ratio"})
#: Images that are asked, and as many images' weight of ordinary difficulty beside them. (Among
#: 8 to 20 and 1 to 4, validation images of eight sets had mean interval scores of 24.4 to 25.9;
#: with the same m for all 30, with a few statistics in place of the looks 28.)
NEAREST, PRIOR = 12, 2.0
#: See ``Whitened``.
SHRINKAGE = 0.1
#: No error counts for more than this many times s².
LARGEST = 9.0
#: A given diameter this close to the estimate is the estimate.
SAME_DIAMETER = 0.01
#: Beside the figures of the appearance: the logarithm of the count, and whether the diameter
#: was estimated, for that is another source of errors than a measured one.
FURTHER: Mapping[str, float] = {"count": 0.3, "estimated": 0.5}


def make_neighbours(
    looks: Sequence[Mapping[str, float]],
    counts: NDArray[np.float64],
    surprise: NDArray[np.float64],
) -> Neighbours | None:
    """Neighbours of the images that could be looked at; None where no image could.

    Parameters
    ----------
    looks
        Of the n images, as of ``Prediction.look``.
    counts, surprise
        ``(n,)`` predicted counts, and squared count errors in s².
    """
    known = [look for look in looks if look]
    names = tuple(name for name in APPEARANCE if all(name in look for look in known))
    if not known or not names:
        return None
    rows = [
        (_features(look, count, names), min(float(z), LARGEST))
        for look, count, z in zip(looks, counts, surprise, strict=True)
        if look
    ]
    return Neighbours(
        names=names,
        least=(*(APPEARANCE[name] for name in names), *FURTHER.values()),
        points=tuple(tuple(_short(x) for x in point) for point, _ in rows),
        surprise=tuple(_short(z) for _, z in rows),
    )


def difficulty(neighbours: Neighbours | None, look: Mapping[str, float], count: float) -> float:
    """How many times s the errors of such images are, 1 where nothing is known.

    Parameters
    ----------
    neighbours
        Of a calibration.
    look, count
        Of the image.
    """
    if neighbours is None or not set(neighbours.names) <= set(look):
        return 1.0
    squares = _space(neighbours).squares(_features(look, count, neighbours.names))
    nearest = np.argsort(squares, kind="stable")[:NEAREST]
    seen = np.array(neighbours.surprise)[nearest]
    return math.sqrt((PRIOR + float(seen.sum())) / (PRIOR + len(seen)))


@lru_cache(maxsize=64)
def _space(neighbours: Neighbours) -> Whitened:
    return Whitened(neighbours.points, neighbours.least, SHRINKAGE)


def _short(value: float) -> float:
    """Keep the digits that matter, for a calibration is a file that one can read."""
    return float(f"{value:.5g}")


def _features(look: Mapping[str, float], count: float, names: Sequence[str]) -> tuple[float, ...]:
    """Give what images are compared by; see ``FURTHER``."""
    ratio = math.log(max(look.get("diameter_ratio", 1.0), 1e-6))
    further = (math.log(max(count, 0.0) + 5.0), float(abs(ratio) < SAME_DIAMETER))
    return (*(look[name] for name in names), *further)

"""Which of two models an image belongs to: the one that learned from images like it, or the other.

A nearest-neighbour rule: an image belongs to a model if it is not much farther from the nearest
image that this one learned from than from the nearest image that the other one knows. It is
told by what images look like (``celltally.appearance``), whitened, and so before anything is
counted. A model that learned from a handful of images is thus asked only about images like
these, and what the older one could do stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from celltally.intervals.whitened import Whitened
from celltally.types import Appearances, Known

__all__ = ["belongs", "which_counts"]

#: An image may be so many times as far from those that a model learned from as from those that
#: the other one knows: few were learned from, many are known. (Of eight data sets, each with
#: five images learned from, 92 to 100 in 100 of the other images belong then, and of the
#: images of other sets hardly any.)
FARTHER = 2.0
#: See ``Whitened``.
SHRINKAGE = 0.03


def which_counts(models: Sequence[Known], appearance: Mapping[str, float]) -> int:
    """Say which of a model and its bases counts an image.

    Parameters
    ----------
    models
        The model, its base, that one's base and so on.
    appearance
        Of the image; empty for one that shows nothing.

    Returns
    -------
    int
        Index of the first to which the image belongs; the last one counts what belongs to
        none.
    """
    for index, model in enumerate(models[:-1]):
        others = [looks for one in models[index + 1 :] for looks in (one.learned, one.seen)]
        older = [looks for looks in others if looks is not None]
        if model.learned is None or belongs(model.learned, older, appearance):
            return index
    return len(models) - 1


def belongs(
    own: Appearances, others: Sequence[Appearances], appearance: Mapping[str, float]
) -> bool:
    """Whether an image belongs to the images that a model learned from.

    Parameters
    ----------
    own
        What those look like.
    others
        What the images look like that the other model knows. Those that are known by other
        figures cannot be compared and are left out.
    appearance
        Of the image; one that shows too little to be compared belongs.

    Returns
    -------
    bool
        True also where the other model knows no image.
    """
    if not set(own.names) <= set(appearance):
        return True
    comparable = tuple(known for known in others if known.names == own.names)
    if not comparable:
        return True
    squares = _space(own, comparable).squares([appearance[name] for name in own.names])
    nearest, nearest_other = squares[: len(own.points)].min(), squares[len(own.points) :].min()
    return bool(nearest <= FARTHER**2 * nearest_other)


@lru_cache(maxsize=8)
def _space(own: Appearances, others: tuple[Appearances, ...]) -> Whitened:
    """All images, those learned from first."""
    points = [point for known in (own, *others) for point in known.points]
    return Whitened(np.array(points), own.least, SHRINKAGE)

"""What to review next: the regions from which a model would learn most.

What is learned in one place corrects the count in every place that looks like it. So the
worth of a tile is the expected error of the count that its review, and learning from it, takes
away over all images::

    worth(i) = Σⱼ errorⱼ · max(0, teachesᵢ · likenessᵢⱼ − coveredⱼ)

with ``coveredⱼ`` the largest ``teaches · likeness`` that a tile which is chosen, or reviewed
already, has with tile j: facility location, whose greedy choice is within 1 − 1/e of the best
(Nemhauser, Wolsey & Fisher 1978) and diverse by itself, for what is covered once is worth little
a second time (Wei, Iyer & Bilmes 2015, for active learning). From a handful of regions common
looks teach more than rare doubts (Hacohen, Dekel & Weinshall 2022); the sum over j sees to it.

The error that is expected of the count in a tile is its calibrated standard error and what
density and dots do not agree on. A model that is wrong without knowing it says that it is sure
everywhere: so the error is raised by how far a tile's features are from all prototypes and how
unlike its image is to those that the model knows, and what is compared in the end are the
errors of one project's tiles, however small they are.
``teaches`` is small where there is little to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from celltally.intervals.likeness import UNLIKE
from celltally.learn.candidates import Candidate, Window, iter_candidates, side_of, tiles

__all__ = [
    "Candidate",
    "Why",
    "Window",
    "iter_candidates",
    "side_of",
    "suggest",
    "tiles",
    "why",
]

#: Why a tile is worth a review, in a word or two.
Why = Literal["unsure", "dots and density disagree", "looks new"]

#: Least share of a tile that is open to be reviewed.
OPEN = 0.5
#: Share of a tile that may lie in another one that is chosen.
SHARED = 0.25
#: Width of the likeness, as a share of the median distance between tiles.
REACH = 0.6
#: Least likeness of tiles of one image, which has one light and one sample, among many images.
SAME_IMAGE = 0.7
#: What a model may be wrong in without knowing it, as a share of what it says it is unsure of.
BLIND = 0.1
#: Power of the expected error, between every tile alike (0) and the largest errors first (1).
TEMPER = 0.5
#: What is in a tile that teaches half of what the fullest could, as a share of the usual.
LITTLE = 0.5
#: By how much the error in an image is raised at most for what the image looks like.
MOST_UNLIKE = 3.0
#: Tiles over which the worth is summed at most; of more, some are taken evenly.
MOST_SUMMED = 2000


def suggest(
    candidates: Sequence[Candidate], n: int, *, reviewed: Sequence[Candidate] = ()
) -> list[Candidate]:
    """Choose the tiles to review next, the one from which a model would learn most first.

    Parameters
    ----------
    candidates
        Tiles of all images, those that are closed to a review among them: their reviewed
        part teaches already.
    n
        How many are asked for; there are fewer where nothing more is open.
    reviewed
        Further tiles that a model has learned from, or was asked to be reviewed.

    Raises
    ------
    ValueError
        When candidates have different features (of different models).
    """
    everything = [*candidates, *reviewed]
    if len({len(one.features) for one in everything}) > 1:
        raise ValueError("candidates have different features; look at all with one model")
    if not candidates:
        return []
    points = _standardised(np.array([one.features for one in everything], dtype=np.float64))
    summed = np.unique(np.linspace(0, len(candidates) - 1, MOST_SUMMED).round().astype(int))
    error = _errors(candidates)[summed]
    teaches = _teaches(everything)
    likeness = _likeness(points, points[summed])
    images = np.array([one.image for one in everything])
    same = images[:, None] == images[summed]
    least = SAME_IMAGE * (1 - 1 / len(set(images.tolist())))  # of one image all must be told apart
    likeness = np.where(same, np.maximum(likeness, least), likeness)
    worth = (teaches[:, None] * likeness).astype(np.float32)
    known = np.array([one.reviewed_share for one in candidates] + [1.0] * len(reviewed))
    covered = (known[:, None] * worth).max(axis=0)
    free = np.array([one.open_share >= OPEN for one in everything])
    free[len(candidates) :] = False
    for one in reviewed:
        _close(free, candidates, one)
    chosen: list[Candidate] = []
    while len(chosen) < n and free.any():
        gain = np.full(len(everything), -1.0)
        gain[free] = np.maximum(worth[free] - covered, 0.0) @ error
        best = int(np.argmax(gain))
        chosen.append(everything[best])
        covered = np.maximum(covered, worth[best])
        free[best] = False
        _close(free, candidates, everything[best])
    return chosen


def why(candidate: Candidate, candidates: Sequence[Candidate]) -> Why:
    """Say in a word or two why a tile is worth a review, compared with the others.

    Parameters
    ----------
    candidate
        One of them.
    candidates
        Tiles of all images.
    """
    if candidate.disagreement > candidate.unsure:
        return "dots and density disagree"
    if candidate.likeness < UNLIKE:
        return "looks new"
    strange = np.array([one.unfamiliar for one in candidates])
    unsure = np.array([one.unsure for one in candidates])
    if (strange < candidate.unfamiliar).mean() > (unsure < candidate.unsure).mean():
        return "looks new"
    return "unsure"


def _errors(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Return the error that is expected in each tile, relative to that of the others.

    How sure a model is tells tiles apart, not what it is worth: the figures are relative.
    What it is blind to is told by how much there is to see, and by features that are unlike
    all prototypes.
    """
    stated = _relative([one.expected_error for one in candidates])
    blind = _relative([one.structure for one in candidates])
    share = np.array([one.open_share for one in candidates])
    strange = _relative([one.unfamiliar for one in candidates])
    unlike = np.array([_unlike(one.likeness) for one in candidates])
    # Tempered: regions that are all of one kind, however doubtful, teach a wrong level.
    doubt = (stated + BLIND * blind) ** TEMPER
    return np.asarray(doubt * strange * unlike * share)


def _unlike(likeness: float) -> float:
    """Return by how much the error of an image is raised that a model knows nothing like."""
    if not likeness < UNLIKE:  # or not known
        return 1.0
    return min(1.0 + math.log10(UNLIKE / max(likeness, 1e-9)), MOST_UNLIKE)


def _teaches(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Return how much each tile teaches, 0 to 1: next to nothing where there is nothing to see.

    Two thirds where there is as much as usual: what a tile has taught is not all there was.
    """
    much = _relative([one.count for one in candidates], none=0.0)
    much = 0.5 * (much + _relative([one.structure for one in candidates]))
    return np.asarray(much / (LITTLE + much))


def _relative(values: Sequence[float], none: float = 1.0) -> NDArray[np.float64]:
    """Divide figures ≥ 0 by their mean; ``none`` for all of them where there is nothing.

    Those that are not known are taken for usual.
    """
    figures = np.array(values, dtype=np.float64)
    known = np.isfinite(figures)
    mean = figures[known].mean() if known.any() else 0.0
    if mean <= 0:
        return np.full(len(figures), none)
    return np.where(known, figures / mean, 1.0)


def _standardised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give every figure the same spread over the tiles; one that hardly differs, none."""
    centred = features - features.mean(axis=0)
    widths = centred.std(axis=0)
    least = max(1e-3 * float(widths.max(initial=0.0)), 1e-9)
    return np.asarray(centred / np.maximum(widths, least))


def _likeness(
    points: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float32]:  # fmt: skip
    """``(n, m)`` likeness of tiles to others, 0 to 1; 1 for the same."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * points @ others.T
    squares = np.maximum(squares, 0.0)
    apart = squares[squares > 1e-9]
    usual = float(np.median(apart)) if apart.size else 1.0
    return np.asarray(np.exp(-squares / (2 * REACH**2 * usual)), dtype=np.float32)


def _close(free: NDArray[np.bool_], candidates: Sequence[Candidate], chosen: Candidate) -> None:
    """Take a chosen tile, and those that overlap it too much, from those that can be chosen."""
    for index, one in enumerate(candidates):
        if free[index] and one.image == chosen.image:
            free[index] = _shared(one.window, chosen.window) <= SHARED


def _shared(one: Window, other: Window) -> float:
    """Share of a window that lies in another one."""
    sides = [min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1)]
    area = (one[2] - one[0]) * (one[3] - one[1])
    return max(sides[0], 0.0) * max(sides[1], 0.0) / area

"""Dots of neighbouring z planes → cells: a cell that is seen in several planes is one cell.

Each plane of a stack is counted by itself, and a cell is found in every plane that it is sharp
enough in. Its dots lie above each other, so they are linked from plane to plane, as positions
are linked from one time point to the next in tracking (Crocker & Grier 1996, J. Colloid
Interface Sci. 179:298, §"Linking locations into trajectories": one to one, no farther apart
than a largest distance, the smallest sum over all; a position that is missed for a few frames
may be bridged). Here as many dots as possible are linked, and of these choices the one with the
smallest sum of distances (theirs, of squared distances with a price for what is left over).
Finding nuclei plane by plane and joining them along z is an old way to count them in three
dimensions (Santella et al. 2010, BMC Bioinformatics 11:580, with a model of a nucleus' shape
where there is only a distance here).

Limits
------
- Two cells straight above each other, with no plane between them in which neither is seen, are
  one chain and so one cell.
- A cell that is missed in more than ``gap`` planes between two in which it is found becomes
  two cells. A larger gap mends that, at the price of the first limit.
- A cell that moves sideways by more than the distance from one plane to the next becomes two.
- Where cells lie nearer to each other than twice the distance, a dot may be linked to its
  neighbour's.

A plane is compared with the next one (and ``gap`` further ones) only: n dots cost about
n log n in time and, beside the dots, the memory of a few planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from celltally.density.matching import SAME_CELL, match_dots
from celltally.errors import UserError
from celltally.types import Dots

__all__ = [
    "MERGE_DISTANCE",
    "Merged",
    "check_gap",
    "check_merge_distance",
    "join_dots",
    "merge_planes",
]

#: Largest distance of a cell's dots in neighbouring planes, in cell diameters.
MERGE_DISTANCE = SAME_CELL


@dataclass(frozen=True, eq=False)
class Merged:
    """Cells of stacks, and which dots were merged into each.

    Attributes
    ----------
    dots
        One dot a cell, ``(m,)``: that of its dots which stands for it, unchanged, in the order
        of the dots that were given.
    cell
        ``(n,)`` int64: for each of the dots that were given, the row of ``dots`` of its cell;
        −1 for removed ones, which are no cells.
    distance_px, gap
        What they were merged with.
    """

    dots: Dots
    cell: NDArray[np.int64]
    distance_px: float
    gap: int

    def members(self, row: int) -> NDArray[np.int64]:
        """Rows of the dots that were given of which a cell consists, in their order."""
        return np.flatnonzero(self.cell == row)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of dots of each cell, ``(m,)``."""
        return np.bincount(self.cell[self.cell >= 0], minlength=len(self.dots)).astype(np.int64)


def check_merge_distance(distance_px: float) -> str | None:
    """Why a distance cannot be used to merge dots, in words; None where it can."""
    if math.isfinite(distance_px) and distance_px > 0:
        return None
    return (
        f"dots cannot be merged over a distance of {distance_px:g} px: give a positive number of "
        "pixels, such as half a cell's diameter"
    )


def check_gap(gap: object) -> str | None:
    """Why a number of planes cannot be skipped, in words; None where it can."""
    if isinstance(gap, int | np.integer) and not isinstance(gap, bool) and gap >= 0:
        return None
    return f"a gap of {gap!r} planes cannot be skipped: give a whole number from 0 on"


def merge_planes(dots: Dots, distance_px: float, *, gap: int = 0) -> Merged:
    """Merge the dots of neighbouring z planes into cells.

    Planes are gone through from the lowest z on. The dots of each are matched one to one with
    the ends of the chains in the plane below (``match_dots``); what is left over, with chains
    that end one plane lower, and so on. Only dots of one time point and one class are merged.

    What stands for a cell is, of its dots, one that a person confirmed, added or moved; then
    the one with the best score; of equal ones the lowest plane's.

    Parameters
    ----------
    dots
        Of any number of planes and time points, in any order; removed ones are left out.
    distance_px
        Largest distance (inclusive) in image pixels between a cell's dots in planes that
        follow each other in a chain; sensible is ``MERGE_DISTANCE`` times the cell diameter.
    gap
        Number of planes that a chain may skip.

    Raises
    ------
    UserError
        When the distance is no positive number, or the gap no whole number from 0 on.
    ValueError
        For positions that are not finite.
    """
    for problem in (check_merge_distance(distance_px), check_gap(gap)):
        if problem:
            raise UserError(problem)
    chain = np.full(len(dots), -1, dtype=np.int64)
    n = 0
    there = dots.state != "removed"
    for t in np.unique(dots.t[there]):
        for label in np.unique(dots.label[there & (dots.t == t)]):
            rows = np.flatnonzero(there & (dots.t == t) & (dots.label == label))
            found = _chains(dots.yx[rows], dots.z[rows], distance_px, gap)
            chain[rows] = found + n
            n += int(found.max()) + 1
    best = _representatives(dots, chain, n)
    # Cells in the order of the dots that stand for them, not of the chains.
    order = np.argsort(best, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    cell = np.where(chain >= 0, place[chain], -1) if n else chain
    return Merged(dots[best[order]], cell, float(distance_px), int(gap))


def join_dots(parts: Sequence[Dots]) -> Dots:
    """All dots of several planes, as they are, in the order that is given."""
    if not parts:
        return Dots.new()
    return Dots(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Dots)}
    )


def _chains(
    yx: NDArray[np.float64], z: NDArray[np.int64], distance_px: float, gap: int
) -> NDArray[np.int64]:
    """Give every dot of one time point and class the number of its chain, ``(n,)`` from 0 on."""
    by_plane = np.argsort(z, kind="stable")
    planes, starts = np.unique(z[by_plane], return_index=True)
    rows_of = dict(zip(planes.tolist(), np.split(by_plane, starts[1:]), strict=True))
    chain = np.full(len(z), -1, dtype=np.int64)
    goes_on = np.zeros(len(z), dtype=bool)
    n = 0
    for plane, rows in rows_of.items():
        for below in range(plane - 1, plane - 2 - gap, -1):
            ends = rows_of.get(below)
            if ends is None:
                continue
            ends = ends[~goes_on[ends]]
            free = rows[chain[rows] < 0]
            pairs = match_dots(yx[ends], yx[free], distance_px).pairs
            chain[free[pairs[:, 1]]] = chain[ends[pairs[:, 0]]]
            goes_on[ends[pairs[:, 0]]] = True
        free = rows[chain[rows] < 0]
        chain[free] = n + np.arange(len(free))
        n += len(free)
    return chain


def _representatives(dots: Dots, chain: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Row of the dot that stands for each of n chains."""
    by_hand = np.isin(dots.state, ("confirmed", "added", "moved"))
    score = np.where(np.isnan(dots.score), -np.inf, dots.score)
    order = np.lexsort((np.arange(len(dots)), dots.z, -score, ~by_hand, chain))
    order = order[chain[order] >= 0]
    return np.asarray(order[np.searchsorted(chain[order], np.arange(n))], dtype=np.int64)

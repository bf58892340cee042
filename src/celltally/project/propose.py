"""What counting again changes: proposals take the place of proposals, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celltally.density.inside import inside_any
from celltally.density.matching import SAME_CELL, match_dots
from celltally.density.stacks import join_dots
from celltally.project.edits import Edit, Work, diff_dots
from celltally.types import Dots, Region

__all__ = ["Proposal", "proposals", "propose"]

#: A plane (t, z), or all planes of a time point (t, None).
PlaneOf = tuple[int, int | None]


@dataclass(frozen=True)
class Proposal:
    """What a count would change, before it is done.

    Attributes
    ----------
    edit
        Of kind ``system``; without changes where there is nothing to change.
    new, gone
        Number of proposals where there was none within half a diameter, and of earlier ones
        that have none there any more.
    beside, reviewed
        Number of found dots that are left out: beside dots that a person touched, and where
        it was reviewed.
    """

    edit: Edit
    new: int
    gone: int
    beside: int
    reviewed: int

    @property
    def text(self) -> str:
        """In words, such as ``34 new, 12 gone, 5 left out beside your edits``."""
        said = [f"{self.new} new", f"{self.gone} gone"]
        said += [f"{self.beside} left out beside your edits"] if self.beside else []
        said += [f"{self.reviewed} left out where it was reviewed"] if self.reviewed else []
        return ", ".join(said)


def proposals(
    work: Work, found: Dots, diameter_px: float, *, planes: Sequence[PlaneOf] | None = None
) -> Edit:
    """Return the edit that puts found dots in place of earlier proposals; see ``propose``."""
    return propose(work, found, diameter_px, planes=planes).edit


def propose(
    work: Work, found: Dots, diameter_px: float, *, planes: Sequence[PlaneOf] | None = None
) -> Proposal:
    """Put found dots in place of the earlier proposals of their planes; a person's work stays.

    What is replaced are dots in state ``proposed``, where it was not reviewed. Left out are found
    dots nearer than half a diameter to a dot that a person confirmed, added, moved or
    removed, those that are such a dot themselves, and those inside of reviewed and audit
    regions.

    Parameters
    ----------
    work
        Dots and regions of the image.
    found
        What a model found: proposals, each with its t and z.
    diameter_px
        Cell diameter in image pixels.
    planes
        What was counted: planes ``(t, z)``, or ``(t, None)`` for a time point over all of its
        z, as a projection is. None for the planes in which something was found.
    """
    if planes is None:
        planes = sorted(set(zip(found.t.tolist(), found.z.tolist(), strict=True)))
    kept: list[Dots] = []
    old_rows: list[NDArray[np.intp]] = []
    known = work.dots
    human = known.state != "proposed"
    new = gone = beside = in_reviewed = 0
    for t, z in planes:
        here = _in_plane(known, t, z)
        outlines = [r.polygon for r in work.regions if _is_reviewed(r, t, z)]
        there = found[_in_plane(found, t, z) & (found.state == "proposed")]
        reviewed = inside_any(there.yx, outlines)
        touched = known[here & human]
        near = np.isin(there.id, known.id[human])
        taken = np.concatenate([touched.yx, _left_places(work, touched)])
        if len(taken) and len(there):
            away, _ = cKDTree(taken).query(there.yx)
            near |= away < SAME_CELL * diameter_px
        near &= ~reviewed
        offered = there[~reviewed & ~near]
        rows = np.flatnonzero(here & ~human & ~inside_any(known.yx, outlines))
        same = len(match_dots(known.yx[rows], offered.yx, SAME_CELL * diameter_px).pairs)
        new, gone = new + len(offered) - same, gone + len(rows) - same
        beside, in_reviewed = beside + int(near.sum()), in_reviewed + int(reviewed.sum())
        kept.append(offered)
        old_rows.append(rows)
    old = known[np.concatenate([np.zeros(0, dtype=np.intp), *old_rows])]
    edit = Edit("propose", diff_dots(old, join_dots(kept)), "system")
    return Proposal(edit, new, gone, beside, in_reviewed)


def _left_places(work: Work, touched: Dots) -> NDArray[np.float64]:
    """Return where moved dots were proposed first: a model will find the same there again."""
    moved = set(touched.id[touched.state == "moved"].tolist())
    found = [
        (change.before["y"], change.before["x"])
        for edit in (work.edits if moved else ())
        for change in edit.changes
        if change.id in moved
        and change.before is not None
        and change.before.get("state") in ("proposed", "confirmed")
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _in_plane(dots: Dots, t: int, z: int | None) -> NDArray[np.bool_]:
    same = dots.t == t
    return np.asarray(same if z is None else same & (dots.z == z))


def _is_reviewed(region: Region, t: int, z: int | None) -> bool:
    of_plane = region.t == t and (z is None or region.z == z)
    return of_plane and region.by_dots and len(region.polygon) >= 3

"""A blinded count of a random region, as one edit of the image's dots and regions.

A person is shown the region without the model's count and dots, and sets a dot on every cell,
or states how many there are. The edit puts that into the image's work, so that undoing it
takes all of it back.

**Where dots were set** they are all there is to count in the region: what the person did not
see there does not count, whoever put it there. Person's and model's dots are matched one to one,
up to half a cell diameter apart. A model's dot that was matched is confirmed, where it is; one
that was not is removed; a person's own is added. Dots that somebody had confirmed, moved or
added there before, with the model's dots in view, are matched like the model's: matched ones
stay as they are, the others are removed, for an answer that was swayed by them would be no
blinded one. One that somebody had removed, and that the person now saw, comes back. Removed
dots stay as crosses, added ones too: nothing is deleted. Dots outside are left alone.

**Where only a number was stated**, or fewer dots were set than were counted, nobody said which
dots are right: the region states the number, which counts there in place of its dots, and the
model's dots stay proposals; dots that were set are added, or confirm what they match.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import inside
from celltally.density.matching import SAME_CELL, match_dots
from celltally.errors import UserError
from celltally.project.edits import Change, Edit, diff_dots, diff_regions, dot_record
from celltally.types import Dots, Region

__all__ = ["ACTION", "Audited", "audit_edit", "audit_name", "new_seed", "random_of", "words"]

#: What the edit is called in the log.
ACTION = "audit"


@dataclass(frozen=True)
class Audited:
    """What a blinded count and a model's said of the same region.

    Attributes
    ----------
    counted
        Cells that the person counted.
    dots
        Dots that the person set; fewer than ``counted`` where a number was stated.
    predicted
        Integral of the density over the region.
    model_dots
        The model's dots in it, with those that somebody had removed or moved before.
    matched
        How many of the person's and the model's dots are the same cell.
    touched
        Dots that somebody had added, moved or confirmed there before, and that were removed
        now, for the person did not set them again.
    """

    counted: float
    dots: int
    predicted: float
    model_dots: int
    matched: int
    touched: int = 0

    @property
    def complete(self) -> bool:
        """Whether every counted cell has its dot."""
        return self.counted == self.dots


def new_seed() -> str:
    """Give the id of a region to be drawn, which is the seed that it is drawn with.

    So the seed goes wherever the region goes: into the project, its log, and GeoJSON.
    """
    return uuid.uuid4().hex


def random_of(seed: str) -> np.random.Generator:
    """Return the random numbers that the region of an id is drawn with."""
    return np.random.default_rng(int(seed, 16))


def audit_name(regions: Sequence[Region]) -> str:
    """Return the first ``Audit 1``, ``Audit 2``, … that no region has."""
    taken = {region.name for region in regions}
    number = 1
    while f"Audit {number}" in taken:
        number += 1
    return f"Audit {number}"


def audit_edit(
    region: Region,
    dots: Dots,
    yx: ArrayLike,
    *,
    counted: float | None = None,
    predicted: float = float("nan"),
    diameter_px: float,
    author: str = "",
    label: str = "cell",
    every_z: bool = False,
) -> tuple[Edit, Audited]:
    """Return the edit that a blinded count makes, and how it compares with the model's.

    Parameters
    ----------
    region
        The region, of kind ``audit``; what it states is set here.
    dots
        All dots of the image.
    yx
        ``(n, 2)`` dots that the person set in the region, in image pixels.
    counted
        The number that was typed; None: the number of dots.
    predicted
        Integral of the density over the region.
    diameter_px
        Cell diameter.
    author, label
        Source and class of dots that are added.
    every_z
        Whether a projection was counted: then dots of all z are in the region.

    Raises
    ------
    UserError
        When fewer cells were counted than dots were set, or the number is none.
    """
    points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    total = float(len(points)) if counted is None else float(counted)
    if not (np.isfinite(total) and total >= 0):
        raise UserError(f"a count of {total:g} cannot be used; type how many cells there are")
    if total < len(points):
        raise UserError(
            f"{total:g} was typed, but {len(points)} dots are set; type how many cells there "
            "are in all, or remove the dots that are none"
        )
    complete = total == len(points)
    here = (dots.t == region.t) & (every_z | (dots.z == region.z))
    rows = np.flatnonzero(here)
    rows = rows[inside(dots.yx[rows], region.polygon)]
    known = dots[rows]
    radius = SAME_CELL * diameter_px
    # Dots that are there first: a removed one comes back only where no other is the cell.
    pairs = _pairs(points, known, known.state != "removed", radius)
    alone = np.setdiff1d(np.arange(len(points)), pairs[:, 0])
    back = _pairs(points[alone], known, known.state == "removed", radius)
    changes = []
    for row in pairs[:, 1].tolist():
        if known.state[row] == "proposed":
            changes.append(_change(known, row, state="confirmed"))
    changes += [_change(known, row, state="confirmed") for row in back[:, 1].tolist()]
    found = np.concatenate([pairs[:, 1], back[:, 1]])
    missed = np.setdiff1d(np.flatnonzero(known.state != "removed"), found)
    touched = 0
    if complete:
        changes += [_change(known, row, state="removed") for row in missed.tolist()]
        touched = int(np.count_nonzero(known.state[missed] != "proposed"))
    new = points[np.delete(alone, back[:, 0])]
    added = Dots.new(
        new, t=region.t, z=region.z, label=label, state="added", source=author
    )  # fmt: skip
    changes += diff_dots(added[:0], added)
    stated = replace(region, stated=None if complete else total)
    model = known.yx[known.state != "added"]
    same = match_dots(points, model, radius).pairs
    edit = Edit(ACTION, (*diff_regions((), (stated,)), *changes))
    return edit, Audited(total, len(points), float(predicted), len(model), len(same), touched)


def _pairs(
    points: NDArray[np.float64], dots: Dots, among: NDArray[np.bool_], radius: float
) -> NDArray[np.int64]:
    """``(m, 2)`` rows of points and of the dots that they are."""
    rows = np.flatnonzero(among)
    pairs = match_dots(points, dots.yx[rows], radius).pairs
    return np.stack([pairs[:, 0], rows[pairs[:, 1]]], axis=1)


def _change(dots: Dots, row: int, **values: Any) -> Change:
    before = dot_record(dots, row)
    return Change("dot", str(dots.id[row]), before, {**before, **values})


def words(found: Audited) -> str:
    """Say it: ``You counted 23; the model 25.4 (its dots: 24). 21 matched, …``."""
    said = [
        f"You counted {found.counted:g}; the model {found.predicted:.1f} "
        f"(its dots: {found.model_dots})."
    ]
    if found.complete:
        said.append(
            f"{found.matched} matched, {found.dots - found.matched} you only, "
            f"{found.model_dots - found.matched} model only."
        )
    elif found.dots:
        said.append(
            f"{found.dots} of your cells have dots, {found.matched} of which are the model's, too: "
            "your number counts here, and no dot was removed."
        )
    else:
        said.append("Your number counts here in place of the dots, which stay as they were.")
    if found.touched:
        n = found.touched
        said.append(
            f"{n} {'dot' if n == 1 else 'dots'} that had been set or confirmed here before "
            f"{'is' if n == 1 else 'are'} crossed out: you did not set "
            f"{'it' if n == 1 else 'them'} again."
        )
    return " ".join(said)

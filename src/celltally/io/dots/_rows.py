"""From a file's rows to dots: what every format does alike."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._numbers import MOST_PLANES
from celltally.io._text import whole
from celltally.types import Dots

__all__ = ["filled", "fresh_ids", "slices_of", "time_in_slices", "whole_pixels", "without_removed"]


def filled(cells: Sequence[str] | None, default: str) -> NDArray[np.str_] | str:
    """Return a column with a default where a cell is empty."""
    return default if cells is None else np.array([cell or default for cell in cells], np.str_)


def fresh_ids(cells: Sequence[str]) -> NDArray[np.str_]:
    """Return ids that are all different: an id that occurs twice stays with its first dot."""
    seen: set[str] = set()
    ids = []
    for cell in cells:
        name = whole(cell.strip())
        if not name or name in seen:
            name = uuid.uuid4().hex
        seen.add(name)
        ids.append(name)
    return np.array(ids, np.str_)


def without_removed(dots: Dots) -> Dots:
    """Return the dots that other programs shall count."""
    return dots[dots.state != "removed"]


def whole_pixels(dots: Dots) -> NDArray[np.int64]:
    """Return ``(n, 2)`` y and x of the pixels that dots lie in."""
    return np.rint(dots.yx).astype(np.int64)


def slices_of(dots: Dots, planes: int | None) -> NDArray[np.int64]:
    """Return every dot's slice from 1 on, as ImageJ goes through a stack: z first, then time.

    Parameters
    ----------
    dots
        Of an image with one channel.
    planes
        How many planes (z) a time point has; None: as many as there are dots in.

    Raises
    ------
    UserError
        When a dot lies in none of them, or in a slice whose number ImageJ cannot hold.
    """
    over_time = bool(dots.t.any())
    if over_time and planes is not None and (dots.z >= planes).any():
        raise UserError(
            f"a dot lies in plane z = {dots.z.max()}, but the image is said to have {planes} "
            "planes; correct the number"
        )
    each = (planes or int(dots.z.max()) + 1) if over_time else 0
    # Python's integers do not wrap around.
    places = zip(dots.t.tolist(), dots.z.tolist(), strict=True)
    slices = [t * each + z + 1 for t, z in places]
    if (last := max(slices, default=1)) > MOST_PLANES:
        raise UserError(
            f"a dot lies in slice {last} of the stack, but ImageJ numbers slices up to "
            f"{MOST_PLANES}; correct its t and z, or choose another format"
        )
    return np.array(slices, np.int64)


def time_in_slices(dots: Dots, title: str) -> list[str]:
    """Say what a format that has slices only does to time points."""
    if not dots.t.any():
        return []
    several = f", with {dots.z.max() + 1} planes to a time point" if dots.z.any() else ""
    return [
        f"{title} files number slices only: time points become slices of the stack{several}, "
        "and are read back as planes (z)."
    ]

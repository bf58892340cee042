"""Numbers out of a stranger's file: finite, and where an image can be."""

from __future__ import annotations

import math
from typing import Any

from celltally.errors import UserError

__all__ = ["LARGEST", "MOST_PLANES", "index", "number", "place", "plane"]

#: No image is larger; beyond it a float no longer tells pixels apart.
LARGEST = 1e9
#: ImageJ numbers slices from 1 with Java's integers, which end here.
MOST_PLANES = 2**31 - 1


def number(value: Any, where: str, name: str, limit: float = LARGEST) -> float:
    """Return a value as a finite number.

    Parameters
    ----------
    value
        A number, or its text.
    where
        The file and the place in it, for the error.
    name
        What the file calls it.
    limit
        Largest magnitude.

    Raises
    ------
    UserError
        When it is none, or too large.
    """
    shown = repr(value if not isinstance(value, str) else value[:40])[:42]
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        if isinstance(value, str) and "_" in value:  # Python reads 1_0 as 10
            raise ValueError
        found = float(value)
    except ValueError:
        raise UserError(f"{where}: {name} is {shown}, which is no number; correct it") from None
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or abs(found) > limit:
        what = "no place in an image" if limit == LARGEST else "too large"
        raise UserError(f"{where}: {name} is {shown}, which is {what}; correct it")
    return found


def place(pair: Any, where: str) -> tuple[float, float]:
    """Return ``[x, y]`` (and whatever follows) as a pair of numbers."""
    if not isinstance(pair, list | tuple) or len(pair) < 2:
        raise UserError(f"{where}: its coordinates are {str(pair)[:40]!r}, not [x, y]; correct it")
    return number(pair[0], where, "x"), number(pair[1], where, "y")


def index(value: Any, where: str, name: str, limit: float = LARGEST) -> int:
    """Return a value as a whole number: a z between two planes is its nearest plane."""
    return round(number(value, where, name, limit))


def plane(value: Any, where: str, name: str, what: str = "planes", first: int = 0) -> int:
    """Return a value as the number of a plane, a slice or a time point.

    Parameters
    ----------
    value, where, name
        As of ``number``.
    what, first
        What is numbered, and from which number on.

    Raises
    ------
    UserError
        When it is no number, too large, or negative.
    """
    found = index(value, where, name, MOST_PLANES - 1 + first)
    if found < 0:
        raise UserError(f"{where}: {name} is {found}; {what} count from {first}: correct it")
    return found

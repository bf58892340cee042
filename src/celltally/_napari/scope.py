"""Which planes of an image over time or with z are counted, and how. Free of Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from celltally._napari.planes import Plane

__all__ = ["IN_VIEW", "Choice", "Scope", "choices"]

_TIME_TIP = (
    "Every time point is counted by itself, all with the cell diameter that is set. The counts "
    "are a curve and are never added up: the cells of one time point are those of the next."
)
_PROJECTION_TIP = (
    "One picture is counted: of every pixel its largest value over z. Cells above each other "
    "become one or overlap, so crowded stacks come out too low; cells must be brighter than "
    "their surroundings. Each dot lies in the z plane where its cell is brightest."
)
_MERGED_TIP = (
    "Every z plane is counted, and dots above each other, no farther apart than half a cell "
    "diameter, are one cell. There is no interval. Two cells straight above each other, with no "
    "empty plane between them, are one; a cell that is missed in a plane between two becomes two."
)


@dataclass(frozen=True)
class Scope:
    """What is counted.

    Attributes
    ----------
    every_t
        Every time point; otherwise the one in view.
    z_method
        ``plane``: the z in view; ``projection`` over z; or ``merged``: every z, and dots above
        each other are one cell.
    """

    every_t: bool = False
    z_method: str = "plane"

    def planes(self, plane: Plane) -> list[Plane]:
        """Return all planes that are counted, in their order.

        Parameters
        ----------
        plane
            The one in view.
        """
        times = range(plane.length("T")) if self.every_t else [plane.index("T")]
        depth = range(plane.depth) if self.z_method == "merged" else [plane.index("Z")]
        each = replace(plane, z_method=self.z_method)
        return [each.moved(t=t, z=z) for t in times for z in depth]

    def place(self, number: int, plane: Plane) -> str:
        """Say which of its planes is counted: ``time point 3 of 40, plane 5 of 12``.

        Parameters
        ----------
        number
            Of the plane, from 0 on.
        plane
            Any of the image.
        """
        planes = plane.depth if self.z_method == "merged" else 1
        t, z = divmod(number, planes)
        parts = [f"time point {t + 1} of {plane.length('T')}"] if self.every_t else []
        if self.z_method == "merged":
            parts.append(f"plane {z + 1} of {planes}")
        return ", ".join(parts)

    def amount(self, number: int) -> str:
        """Say how many of its planes: ``7 time points``, ``5 planes``."""
        word = "plane" if self.z_method == "merged" else "time point"
        return f"{number} {word}{'s' * (number != 1)}"


IN_VIEW = Scope()


@dataclass(frozen=True)
class Choice:
    """A scope with its name and what it does, in words."""

    words: str
    scope: Scope
    tip: str


def choices(axes: Sequence[str], lengths: Sequence[int]) -> list[Choice]:
    """Return what can be counted of an image; one choice only for a plain image.

    Parameters
    ----------
    axes
        Letters of the axes before the last two, see ``Plane``.
    lengths
        Of these axes.
    """
    there = {letter for letter, length in zip(axes, lengths, strict=False) if length > 1}
    found = [Choice("the plane in view", IN_VIEW, "Move the sliders to choose it.")]
    if "T" in there:
        same_z = " The z plane is the one in view." if "Z" in there else ""
        found.append(Choice("every time point", Scope(every_t=True), _TIME_TIP + same_z))
    if "Z" in there:
        own_time = " Only the time point in view is counted." if "T" in there else ""
        found += [
            Choice("projection over z", Scope(z_method="projection"), _PROJECTION_TIP + own_time),
            Choice("all z planes, merged", Scope(z_method="merged"), _MERGED_TIP + own_time),
        ]
    if {"T", "Z"} <= there:
        found += [
            Choice(
                "every time, projection",
                Scope(every_t=True, z_method="projection"),
                f"{_PROJECTION_TIP} {_TIME_TIP}",
            ),
            Choice(
                "every time, z merged",
                Scope(every_t=True, z_method="merged"),
                f"{_MERGED_TIP} {_TIME_TIP}",
            ),
        ]
    return found

"""How the images of a batch are counted, and the files that belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from celltally import intervals
from celltally.density.stacks import check_gap, check_merge_distance
from celltally.diameter import check_diameter
from celltally.io.planes import PlaneChoice, check_choice, choice_text

__all__ = ["Z_OF_STACK", "Settings", "Task", "ZStack"]

#: What of a z stack is counted: one plane, its maximum projection, or all planes, their cells
#: merged.
ZStack = Literal["plane", "projection", "merged"]

#: What stands in the column z of a row that is of no single plane.
Z_OF_STACK: Mapping[str, str] = {"projection": "max", "merged": "merged"}


@dataclass(frozen=True)
class Settings:
    """What is the same for every image of a batch; see ``iter_count``."""

    diameter_px: float | None
    channel: int | str | None
    plane: Mapping[str, PlaneChoice]
    z_stack: ZStack
    merge_distance_px: float | None
    merge_gap: int
    level: float
    device: str

    def along(self, axis: str) -> PlaneChoice | None:
        """Return what was chosen along ``"T"`` or ``"Z"``; of a stack that is counted, all z."""
        chosen = {key.upper(): choice for key, choice in self.plane.items()}
        every = slice(None) if axis == "Z" and self.z_stack != "plane" else None
        return chosen.get(axis, every)

    @property
    def is_series(self) -> bool:
        """Whether an image may have several rows, one a time point."""
        return isinstance(self.along("T"), slice)

    @property
    def told(self) -> dict[str, Any]:
        """What a row does not tell."""
        plane = {axis: choice_text(choice) for axis, choice in self.plane.items()}
        told = {"channel": self.channel, "plane": plane, "diameter": self.diameter_px}
        if self.z_stack != "plane":
            told["z_stack"] = self.z_stack
        if self.z_stack == "merged":
            told |= {"merge_distance": self.merge_distance_px, "merge_gap": self.merge_gap}
        return told

    def problem(self) -> str | None:
        """Say what is wrong, without torch and before any image is opened."""
        if problem := intervals.check_level(self.level):
            return problem
        if self.diameter_px is not None and (problem := check_diameter(self.diameter_px)):
            return f"{problem}, or leave it out to have it estimated"
        channel = self.channel
        if (isinstance(channel, int) and channel < 0) or channel == "":
            return f"there is no channel {channel!r}: give a name, or a number from 0 on"
        return self._plane_problem() or self._stack_problem()

    def _plane_problem(self) -> str | None:
        for axis, choice in self.plane.items():
            if axis.upper() not in ("T", "Z"):
                return f"a plane cannot be chosen by {axis}={choice}: give t and z, as in t=0,z=3"
            if problem := check_choice(axis, choice):
                return problem
        return None

    def _stack_problem(self) -> str | None:
        if self.z_stack not in get_args(ZStack):
            return (
                f"a z stack cannot be counted by {self.z_stack!r}; "
                f"valid: {', '.join(get_args(ZStack))}"
            )
        z = self.along("Z")
        if z is not None and isinstance(z, slice) != (self.z_stack != "plane"):
            if isinstance(z, slice):
                return (
                    f"z={choice_text(z)} are several planes, whose counts cannot be summed: "
                    "choose one, such as z=3, or count the stack by projection or merged"
                )
            return (
                f"z={z} is one plane, so there is nothing to be {_DONE[self.z_stack]}; leave it out"
            )
        if self.z_stack != "merged":
            if self.merge_distance_px is not None or self.merge_gap:
                return (
                    "a merge distance or gap says nothing unless cells are merged over z: leave "
                    "it out, or count the stack as merged"
                )
            return None
        distance = self.merge_distance_px
        problem = None if distance is None else check_merge_distance(distance)
        return problem or check_gap(self.merge_gap)


_DONE = {"projection": "projected", "merged": "merged"}


@dataclass(frozen=True)
class Task:
    """An image and the files that belong to it."""

    image: Path
    dots: Path | None
    density: Path | None

    @property
    def files(self) -> list[Path]:
        """Those that are asked for."""
        return [path for path in (self.dots, self.density) if path is not None]

"""How much of a project a model can learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celltally.density.inside import inside_any
from celltally.project.history import people
from celltally.project.images import all_images
from celltally.project.store import Store
from celltally.project.study import is_missing
from celltally.project.work import load_dots, load_regions
from celltally.types import Dots, Region

__all__ = ["CORRECTED", "Teaching", "teaching"]

#: States of dots that a person has changed.
CORRECTED = ("added", "moved", "removed")


@dataclass(frozen=True)
class Teaching:
    """What people reviewed.

    Attributes
    ----------
    images
        Number of images with a region that teaches or judges.
    regions, stated
        Reviewed regions whose dots teach, and regions of which only the count is stated.
    audits
        Regions that were drawn at random: they teach nothing, they judge.
    dots, corrected
        Dots in the reviewed regions, and how many dots there a person added, moved or removed.
    by
        Who reviewed.
    without_file, moved
        Names of such images that came from no file, and of those whose file is not where it was:
        they are left out.
    """

    images: int = 0
    regions: int = 0
    stated: int = 0
    audits: int = 0
    dots: int = 0
    corrected: int = 0
    by: tuple[str, ...] = ()
    without_file: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()

    @property
    def lessons(self) -> int:
        """Number of regions that teach."""
        return self.regions + self.stated


def teaching(store: Store) -> Teaching:
    """Return what people reviewed in a project; the same regions as ``iter_export`` writes."""
    found: list[tuple[list[Region], Dots]] = []
    without_file: list[str] = []
    moved: list[str] = []
    for entry in all_images(store):
        regions = [r for r in load_regions(store, entry.id) if len(r.polygon) >= 3]
        known = [r for r in regions if r.by_dots or r.stated is not None]
        if not known:
            continue
        if entry.path is None:
            without_file.append(entry.name)
        elif is_missing(entry):
            moved.append(entry.name)
        else:
            dots = load_dots(store, entry.id) if any(r.by_dots for r in known) else Dots.new()
            found.append((known, dots))
    reviewed = [_reviewed_dots(known, dots) for known, dots in found]
    usable = [known for known, _ in found]
    flat = [region for known in usable for region in known]
    return Teaching(
        images=len(usable),
        regions=sum(r.kind == "reviewed" and r.by_dots for r in flat),
        stated=sum(r.kind != "audit" and r.stated is not None for r in flat),
        audits=sum(r.kind == "audit" for r in flat),
        dots=sum(n for n, _ in reviewed),
        corrected=sum(n for _, n in reviewed),
        by=tuple(sorted(people(store))),
        without_file=tuple(without_file),
        moved=tuple(moved),
    )


def _reviewed_dots(regions: list[Region], dots: Dots) -> tuple[int, int]:
    """Count the dots in reviewed regions, and those that a person changed."""
    n = corrected = 0
    planes = {(r.t, r.z) for r in regions}
    for t, z in planes:
        polygons = [
            r.polygon
            for r in regions
            if (r.t, r.z) == (t, z) and r.kind == "reviewed" and r.by_dots
        ]
        here = dots[(dots.t == t) & (dots.z == z)]
        states = here.state[inside_any(here.yx, polygons)]
        n += int((states != "removed").sum())
        corrected += int(np.isin(states, CORRECTED).sum())
    return n, corrected

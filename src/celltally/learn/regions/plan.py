"""Which reviewed regions teach, which are kept back, and which judge."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from celltally.density.inside import inside_any
from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample
from celltally.learn.outcome import Judge
from celltally.learn.regions.reviewed import ReviewedImage, region_count
from celltally.learn.regions.windows import Window, teaching_windows
from celltally.learn.seen import is_among
from celltally.types import Region

__all__ = ["RegionPlan", "make_region_plan"]

#: Share of the regions that is kept back, and independent groups from which on some are.
KEPT, FEWEST_GROUPS = 0.2, 3
#: Kept-back groups that choose when to stop.
CHOOSING = 4
#: Images with regions that taught that are counted again, for examples where nothing judges.
SHOWN = 3


@dataclass(frozen=True, eq=False)
class RegionPlan:
    """What reviewed images do.

    Attributes
    ----------
    teachers
        Images with regions that teach.
    kept
        Images whose reviewed regions are kept back.
    audited
        Images with audit regions, which may teach beside them.
    """

    teachers: tuple[ReviewedImage, ...]
    kept: tuple[ReviewedImage, ...]
    audited: tuple[ReviewedImage, ...]

    @property
    def choosing(self) -> tuple[ReviewedImage, ...]:
        """Kept-back images that choose when to stop: those of a few groups.

        The others choose nothing, so that they can calibrate.
        """
        groups = list(dict.fromkeys(image.sample.group for image in self.kept))[:CHOOSING]
        return tuple(image for image in self.kept if image.sample.group in groups)

    @property
    def kindly(self) -> frozenset[str]:
        """Groups that judge kindly: parts of them teach, or they choose when to stop."""
        return frozenset(image.sample.group for image in (*self.teachers, *self.choosing))

    @property
    def taught(self) -> list[tuple[ReviewedImage, Region]]:
        """Regions that teach."""
        return [(image, region) for image in self.teachers for region in image.teaching]

    @property
    def cells(self) -> float:
        """Cells that a person counted in the regions that teach, by dots or as a number."""
        return sum(region_count(image, region) for image, region in self.taught)

    def windows(self, *, nominal_px: float, stride: int, multiple: int) -> list[Window]:
        """Windows of the regions that teach.

        Raises
        ------
        UserError
            When there is nothing in them.
        """
        found = [
            window
            for image in self.teachers
            for window in teaching_windows(
                image, nominal_px=nominal_px, stride=stride, multiple=multiple
            )
        ]
        if not found:
            raise UserError(
                "the reviewed regions are too small to learn from, or their images show nothing; "
                "review regions of a few cell diameters a side"
            )
        return found

    def kept_windows(self, *, nominal_px: float, stride: int, multiple: int) -> list[Window]:
        """Windows of the regions that choose when to stop."""
        return [
            window
            for image in self.choosing
            for window in teaching_windows(
                image, nominal_px=nominal_px, stride=stride, multiple=multiple
            )
        ]

    def judges(self) -> list[tuple[ReviewedImage, list[tuple[Judge | None, Region]]]]:
        """Images to be counted again, each with its regions; without judges, some that taught."""
        found: dict[int, tuple[ReviewedImage, list[tuple[Judge | None, Region]]]] = {}
        for image in self.kept:
            rows = found.setdefault(id(image), (image, []))[1]
            rows += [("kept back", region) for region in image.teaching]
        for image in self.audited:
            rows = found.setdefault(id(image), (image, []))[1]
            rows += [("audit", region) for region in image.judging]
        if not found:
            for image in self.teachers[:SHOWN]:
                found[id(image)] = (image, [(None, region) for region in image.teaching])
        return list(found.values())

    def numbers(self) -> dict[str, Any]:
        """Numbers of regions and dots, as ``Learned`` has them."""
        dotted = [(i, r) for i, r in self.taught if r.stated is None]
        corrected = 0
        for image in self.teachers:
            polygons = [r.polygon for r in image.teaching if r.stated is None]
            corrected += int(inside_any(image.corrected, polygons).sum())
        return {
            "regions": len(dotted),
            "stated": len(self.taught) - len(dotted),
            "excluded": sum(len(i.excluded) for i in self.teachers),
            "dots": sum(int(region_count(i, r)) for i, r in dotted),
            "corrected": corrected,
            "kept_back": sum(len(i.teaching) for i in self.kept),
            "audits": sum(len(i.judging) for i in self.audited),
        }

    def sources(self) -> list[tuple[Dataset, list[Sample]]]:
        """Return data sets with the samples that teach."""
        found: dict[str, tuple[Dataset, list[Sample]]] = {}
        for image in self.teachers:
            key = str(image.dataset.folder)
            found.setdefault(key, (image.dataset, []))[1].append(image.sample)
        return list(found.values())


def make_region_plan(
    images: Sequence[ReviewedImage], seed: int, *, taught: Collection[str] = ()
) -> RegionPlan:
    """Keep back about a fifth of the reviewed regions, image by image.

    With regions of fewer than three independent groups all of them teach: one of two would be
    too much to do without.

    Parameters
    ----------
    images
        What was reviewed.
    seed
        Chooses what is kept back.
    taught
        Hashes of images (``seen.image_hashes``) that the model has learned from before: they
        cannot judge it, and teach again.

    Raises
    ------
    UserError
        When no region teaches, or none of those that do holds a cell.
    """
    teachers = [image for image in images if image.teaching]
    audited = tuple(image for image in images if image.judging)
    if not teachers:
        raise UserError(
            "nothing was reviewed that could be learned from: check the dots of a region and make "
            "it a reviewed one, or state its count (audit regions only judge)"
        )
    if not any(region_count(i, r) > 0 for i in teachers for r in i.teaching):
        n = sum(len(i.teaching) for i in teachers)
        name = teachers[0].name
        where = (
            f"any of the {n} reviewed regions (such as in {name})"
            if n > 1
            else f"the only reviewed region (in {name})"
        )
        raise UserError(
            f"no cell was found in {where}, and a model that learned from "
            f"{'these alone' if n > 1 else 'it alone'} would count nothing any more; review a "
            "region with cells as well"
        )
    kept = _kept_back(teachers, seed, taught)
    return RegionPlan(
        tuple(image for image in teachers if image.sample.group not in kept),
        tuple(image for image in teachers if image.sample.group in kept),
        audited,
    )


def _kept_back(teachers: Sequence[ReviewedImage], seed: int, taught: Collection[str]) -> set[str]:
    """Choose groups that are kept back; those with cells, and never most of the regions.

    Nor all of those with cells, or groups that have taught before.
    """
    groups: dict[str, list[ReviewedImage]] = {}
    for image in teachers:
        groups.setdefault(image.sample.group, []).append(image)
    if len(groups) < FEWEST_GROUPS:
        return set()
    total = sum(len(i.teaching) for i in teachers)
    wanted = max(1, round(KEPT * total))
    names = sorted(groups)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    barred = {i.sample.group for i in teachers if is_among(i.sample, taught)}
    cells = {
        n: sum(region_count(i, r) for i in own for r in i.teaching) for n, own in groups.items()
    }
    kept: set[str] = set()
    held = 0
    for name in order:
        own = sum(len(i.teaching) for i in groups[name])
        left = sum(cells[other] for other in groups if other not in {name, *kept})
        if cells[name] and left and name not in barred and held + own <= max(wanted, total // 3):
            kept.add(name)
            held += own
        if held >= wanted:
            break
    return kept

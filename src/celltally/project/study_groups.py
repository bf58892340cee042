"""Groups of a study's rows, such as the conditions of an experiment, with n = replicates."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from celltally.errors import UserError
from celltally.intervals import check_level
from celltally.project.images import ImageEntry
from celltally.project.study import StudyRow, Value

__all__ = ["Group", "groups"]


@dataclass(frozen=True)
class Group:
    """Rows that belong together, with replicates as the unit.

    Attributes
    ----------
    by, key
        Names of the columns that they share, and what stands in them.
    t
        Time point; None where the group has one only.
    unit
        What n counts: ``replicate``, ``well`` where no replicates are named, or ``image``.
    values
        Mean of every replicate over its fields.
    names
        What the replicates are called, in the same order.
    images
        Number of images that they were made from.
    left_out
        Number of images without a value.
    mean, sd
        Over the replicates; NaN where there are none, or one.
    low, high
        Student's t interval of the mean; NaN with fewer than two replicates. It tells how far
        replicates differ, and holds no interval of a single count.
    level
        Its nominal coverage.
    """

    by: tuple[str, ...]
    key: tuple[str, ...]
    t: int | None
    unit: str
    values: tuple[float, ...]
    names: tuple[str, ...]
    images: int
    left_out: int
    mean: float
    sd: float
    low: float
    high: float
    level: float

    @property
    def n(self) -> int:
        """Number of replicates."""
        return len(self.values)

    @property
    def label(self) -> str:
        """What it is called in a plot."""
        words = " · ".join(part or "(none)" for part in self.key) or "all images"
        return words if self.t is None else f"{words} · t {self.t}"


def groups(
    study: Iterable[StudyRow],
    by: Sequence[str] = ("condition",),
    *,
    value: Value = "count",
    level: float = 0.95,
) -> list[Group]:
    """Mean, spread and interval of groups of images, with n = replicates.

    The fields of a replicate are no independent measurements: they are averaged first, and
    the replicates' means are what is compared. What belongs to a replicate is told by its name
    within the group: one name on two plates is one replicate. Where not every image has a
    replicate the wells take their place, and where there are no wells either, the images.
    Planes of one image are averaged before all else; time points are groups of their own.
    Rows of regions are left out.

    Parameters
    ----------
    study
        Rows of a study.
    by
        Columns of the plate map: of ``images.COLUMNS`` or further ones; none for all images
        together.
    value
        ``count`` (corrected), ``cells_per_mm2`` or ``n_dots``.
    level
        Nominal coverage of the interval of the mean.

    Returns
    -------
    list of Group
        In the order of their keys.

    Raises
    ------
    UserError
        When the level is not a number between 0 and 1.
    """
    if problem := check_level(level):
        raise UserError(problem)
    whole = [row for row in study if not row.is_region]
    together: dict[tuple[str, ...], list[StudyRow]] = {}
    for row in whole:
        together.setdefault(tuple(row.column(name) for name in by), []).append(row)
    found: dict[tuple[tuple[str, ...], int | None], list[StudyRow]] = {}
    for key, members in together.items():
        over_time = len({row.figures.t for row in members}) > 1
        for row in members:
            found.setdefault((key, row.figures.t if over_time else None), []).append(row)
    ordered = sorted(found, key=lambda k: ([_natural(part) for part in k[0]], k[1] or 0))
    return [_group(tuple(by), key, t, found[key, t], value, level) for key, t in ordered]


def _group(
    by: tuple[str, ...],
    key: tuple[str, ...],
    t: int | None,
    members: Sequence[StudyRow],
    value: Value,
    level: float,
) -> Group:
    of_image: dict[int, list[float]] = {}
    entry_of: dict[int, ImageEntry] = {}
    for row in members:
        entry_of[row.entry.id] = row.entry
        planes = of_image.setdefault(row.entry.id, [])
        if math.isfinite(number := row.value(value)) and not _no_count(row, value):
            planes.append(number)
    fields = {n: float(np.mean(planes)) for n, planes in of_image.items() if planes}
    unit = _unit(list(entry_of.values()))
    replicates: dict[tuple[str, ...], list[float]] = {}
    for number, mean in fields.items():
        replicates.setdefault(_replicate(entry_of[number], unit), []).append(mean)
    names = sorted(replicates, key=lambda name: [_natural(part) for part in name])
    values = np.array([np.mean(replicates[name]) for name in names])
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    sd = float(values.std(ddof=1)) if n > 1 else math.nan
    half = float(stdtrit(n - 1, 0.5 + level / 2)) * sd / math.sqrt(n) if n > 1 else math.nan
    return Group(
        by=by,
        key=key,
        t=t,
        unit=unit,
        values=tuple(values.tolist()),
        names=tuple(" ".join(part for part in name if part) for name in names),
        images=len(fields),
        left_out=len(of_image) - len(fields),
        mean=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        level=level,
    )


def _no_count(row: StudyRow, value: Value) -> bool:
    """Whether there is nothing to go by: an image that nobody counted has no dots, not zero."""
    return value == "n_dots" and row.counted is None and not row.figures.by_hand


def _unit(entries: Sequence[ImageEntry]) -> str:
    """Return what is independent in a group: as much as every image of it tells."""
    for name in ("replicate", "well"):
        if all(getattr(entry, name) for entry in entries):
            return name
    return "image"


def _replicate(entry: ImageEntry, unit: str) -> tuple[str, ...]:
    if unit == "replicate":
        return (entry.replicate,)
    return (entry.plate, entry.well) if unit == "well" else (entry.name, str(entry.id))


def _natural(text: str) -> tuple[Any, ...]:
    """Sort ``A2`` before ``A10``."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part.casefold())
        for part in re.findall(r"\d+|\D+", text)
    )

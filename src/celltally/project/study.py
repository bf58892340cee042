"""The table of a study: a row per counted plane and region.

What holds for all of them is in ``study_lock``; groups of them are in ``study_groups``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from celltally.project import schema
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.figures import Figures, level_of
from celltally.project.images import COLUMNS, ImageEntry, all_images
from celltally.project.remembering import remembered
from celltally.project.store import Store
from celltally.project.study_lock import Lock, locked, otherwise
from celltally.types import DOT_STATES, Interval

__all__ = ["LastEdit", "StudyRow", "Value", "is_missing", "missing_files", "rows"]

#: What a group may be of.
Value = Literal["count", "cells_per_mm2", "n_dots"]


@dataclass(frozen=True)
class LastEdit:
    """Who edited an image last, and when (ISO 8601, UTC)."""

    by: str
    at: str


@dataclass(frozen=True)
class StudyRow:
    """A row of the study's table: a counted plane of an image, or a region of it.

    Attributes
    ----------
    entry
        The image, with what the plate map says of it.
    figures
        Corrected count, interval, dots, areas. Where ``stale``, as they were last known.
    counted
        How it was counted; None where it was not.
    flags
        What sets it apart, in words: ``counted with another model (…)``, ``other diameter
        (…)``, ``threshold moved (…)``, ``interval not calibrated``, ``file is missing``, ….
    stale
        Whether the figures are older than the last edit or count (``remembering.iter_refresh``).
    missing
        Whether the image's file is not where it was.
    last_edit
        By a person; None without any.
    """

    entry: ImageEntry
    figures: Figures
    counted: StoredCount | None
    flags: tuple[str, ...] = ()
    stale: bool = False
    missing: bool = False
    last_edit: LastEdit | None = None

    @property
    def is_region(self) -> bool:
        """Whether it is a region's row."""
        return bool(self.figures.region_id)

    @property
    def label(self) -> str:
        """Name of the image, with the region's, and with t and z where they are not 0."""
        f = self.figures
        parts = [self.entry.name]
        parts += [f"t {f.t}"] if f.t else []
        parts += [f"z {f.z}"] if f.z and f.z_method == "plane" else []
        parts += [f.name or "region"] if self.is_region else []
        return " · ".join(parts)

    @property
    def area_mm2(self) -> float:
        """Area in square millimetres; NaN where the pixel size is not known."""
        return self.figures.area_mm2(self.entry.pixel_size_um)

    @property
    def cells_per_mm2(self) -> float:
        """Corrected count per square millimetre; NaN where the pixel size is not known."""
        return self.figures.cells_per_mm2(self.entry.pixel_size_um)

    def value(self, name: Value) -> float:
        """Return one of the figures that groups may be of."""
        if name == "cells_per_mm2":
            return self.cells_per_mm2
        return float(self.figures.n_dots if name == "n_dots" else self.figures.count)

    def column(self, name: str) -> str:
        """Return what the plate map says: one of ``images.COLUMNS``, or a further column."""
        if name in COLUMNS:
            return str(getattr(self.entry, name))
        return self.entry.further.get(name, "")


def is_missing(entry: ImageEntry) -> bool:
    """Whether an image came from a file that is not where it was."""
    return entry.path is not None and not entry.path.exists()


def missing_files(entries: Iterable[ImageEntry]) -> frozenset[int]:
    """Numbers of the images whose files are missing; on a slow disk this may take a while."""
    return frozenset(entry.id for entry in entries if is_missing(entry))


def rows(
    store: Store,
    *,
    fresh: Mapping[int, tuple[Figures, ...]] | None = None,
    missing: Collection[int] | None = None,
) -> list[StudyRow]:
    """Return the table of a study: a row per counted plane, each followed by its regions'.

    It is read in a handful of queries, however many images there are, and nothing is worked
    out: figures that are older than the last edit are shown as they were, and marked.

    Parameters
    ----------
    store
        The project.
    fresh
        Figures that were just worked out (what ``remembering.iter_refresh`` returns) and could
        not be remembered.
    missing
        Numbers of the images whose files are missing; without, the files are looked for.

    Returns
    -------
    list of StudyRow
        In the order in which the images came, by t and z.
    """
    fresh = fresh or {}
    entries = all_images(store)
    gone = missing_files(entries) if missing is None else frozenset(missing)
    held = locked(store)
    level = level_of(store)
    known = remembered(store, level=level)
    counts: dict[int, list[StoredCount]] = {}
    for count in latest_counts(store):
        counts.setdefault(count.image_id, []).append(count)
    unknown = [e for e in entries if e.id not in known.figures and e.id not in fresh]
    dots = _dots_of(store) if unknown else {}
    edits = _last_edits(store)
    found = []
    for entry in entries:
        figures = fresh.get(entry.id) or known.figures.get(entry.id)
        stale = entry.id in known.stale and entry.id not in fresh
        of_image = counts.get(entry.id, [])
        if figures is None:
            figures = _as_counted(entry, in_force(of_image), dots.get(entry.id, {}), level)
        by_id = {count.id: count for count in of_image}
        for one in figures:
            counted = by_id.get(one.prediction_id or 0) or _at(of_image, one)
            row = StudyRow(
                entry=entry,
                figures=one,
                counted=counted,
                stale=stale,
                missing=entry.id in gone,
                last_edit=edits.get(entry.id),
            )
            found.append(replace(row, flags=_flags(row, held)))
    return found


def _at(counts: Sequence[StoredCount], figures: Figures) -> StoredCount | None:
    """Return the newest count of a plane whose figures are of an older one."""
    here = [c for c in counts if (c.t, c.z) == (figures.t, figures.z)]
    return max(here, key=lambda c: c.id, default=None)


def _flags(row: StudyRow, held: Lock | None) -> tuple[str, ...]:
    """Say in words what sets a row apart."""
    said: list[str] = []
    counted = row.counted
    kind = row.figures.interval.kind
    if counted is None and kind != "exact":
        said.append("not counted")
    if counted is not None and held is not None:
        said += otherwise(counted, held)
    if counted is not None and kind == "not calibrated":
        said.append("interval not calibrated")
    if kind == "provisional":
        said.append("interval provisional")
    if row.missing:
        said.append("file is missing")
    return tuple(said)


#: Number of dots of an image by t, z, state and class.
_DotNumbers = dict[tuple[int, int, str, str], int]


def _dots_of(store: Store) -> dict[int, _DotNumbers]:
    """Count the dots of every image by t, z, state and class: from an index alone."""
    columns = [schema.dots.c[name] for name in ("image_id", "t", "z", "state", "class")]
    query = sa.select(*columns, sa.func.count()).group_by(*columns)
    found: dict[int, _DotNumbers] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            image_id, t, z, state, label, n = tuple(row)
            found.setdefault(image_id, {})[t, z, state, label] = n
    return found


def _last_edits(store: Store) -> dict[int, LastEdit]:
    """Return who edited every image last."""
    steps = schema.steps
    last = (
        sa.select(sa.func.max(steps.c.seq))
        .where(steps.c.kind != "system", steps.c.image_id.is_not(None))
        .group_by(steps.c.image_id)
    )
    query = sa.select(steps.c.image_id, steps.c.author, steps.c.made).where(steps.c.seq.in_(last))
    with store.read() as connection:
        return {number: LastEdit(by, at) for number, by, at in connection.execute(query)}


def _as_counted(
    entry: ImageEntry, counts: Sequence[StoredCount], dots: _DotNumbers, level: float
) -> tuple[Figures, ...]:
    """Figures of an image of which none are known yet: its counts as they were made."""
    found = []
    for count in counts:
        states: dict[str, int] = dict.fromkeys(DOT_STATES, 0)
        classes: Counter[str] = Counter()
        for (t, z, state, label), n in dots.items():
            if t == count.t and (z == count.z or count.z_method != "plane"):
                states[state] += n
                if state != "removed":
                    classes[label] += n
        interval = count.interval
        if interval.level != level:
            reason = "it is being worked out"
            interval = Interval(math.nan, math.nan, level, interval.kind, reason)
        found.append(
            Figures(
                image_id=entry.id,
                t=count.t,
                z=count.z,
                z_method=count.z_method,
                count=count.count,
                interval=interval,
                density_count=count.count,
                n_dots=classes.total(),
                states=states,
                classes=dict(classes),
                area_px=math.nan if entry.shape is None else float(math.prod(entry.shape)),
                prediction_id=count.id,
            )
        )
    return tuple(found) or (Figures(entry.id),)

"""The table of a study: a row per counted plane and region, what holds for all of them, groups.

A study may be *locked*: from then on model, diameter and threshold are the same for every
image, and a row that was counted otherwise says so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from scipy.special import stdtrit

from celltally.errors import UserError
from celltally.intervals import check_level
from celltally.project import schema
from celltally.project.counts import StoredCount, in_force, latest_counts
from celltally.project.edits import Edit
from celltally.project.figures import LEVEL, Figures, level_of, remembered
from celltally.project.images import COLUMNS, ImageEntry, all_images
from celltally.project.store import Store, now, set_in
from celltally.project.work import record
from celltally.types import DOT_STATES, Interval

__all__ = [
    "Group",
    "LastEdit",
    "Lock",
    "StudyRow",
    "Value",
    "groups",
    "is_missing",
    "lock",
    "locked",
    "missing_files",
    "rows",
    "suggested_lock",
    "unlock",
]

#: What a group may be of.
Value = Literal["count", "cells_per_mm2", "n_dots"]
#: Diameters and thresholds that differ by less are the same: what is typed is rounded.
_SAME = 1e-3


@dataclass(frozen=True)
class Lock:
    """What every image of a study is to be counted with.

    Attributes
    ----------
    model, model_sha256
        The model.
    calibration_sha256
        Its calibration; "" where any will do.
    diameter_px
        Cell diameter in pixels; None where it may differ by image.
    threshold
        Least score of a dot; None for *as counted*: the one that makes dots ≈ count, image by
        image.
    level
        Nominal coverage of the intervals, in (0, 1).
    by, at
        Who locked the study, and when (ISO 8601, UTC); filled in by ``lock``.
    """

    model: str
    model_sha256: str
    calibration_sha256: str = ""
    diameter_px: float | None = None
    threshold: float | None = None
    level: float = LEVEL
    by: str = ""
    at: str = ""

    @property
    def text(self) -> str:
        """In words, such as ``general (ab12cd34), diameter 14 px, threshold as counted``."""
        diameter = "any" if self.diameter_px is None else f"{self.diameter_px:.4g} px"
        threshold = "as counted" if self.threshold is None else f"{self.threshold:.3g}"
        return (
            f"{self.model} ({self.model_sha256[:8]}), diameter {diameter}, threshold {threshold}, "
            f"intervals of {100 * self.level:.10g} %"
        )


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
        Whether the figures are older than the last edit or count (``figures.iter_refresh``).
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


# ---- the lock ----


def locked(store: Store) -> Lock | None:
    """Return what a study is locked to; None where it is not."""
    kept = store.setting("lock")
    return None if kept is None else Lock(**kept)


def lock(store: Store, wanted: Lock, *, author: str | None = None) -> Lock:
    """Lock a study; an earlier lock is replaced. The log keeps who did it.

    Returns
    -------
    Lock
        With who and when.

    Raises
    ------
    UserError
        When a number cannot be used, or the project cannot be written.
    """
    if problem := check_level(wanted.level):
        raise UserError(problem)
    if wanted.diameter_px is not None and not 1 <= wanted.diameter_px < math.inf:
        raise UserError(
            f"a study cannot be locked to a diameter of {wanted.diameter_px:g} px: "
            "give a number of pixels from 1 on"
        )
    if wanted.threshold is not None and not math.isfinite(wanted.threshold):
        raise UserError(
            f"a study cannot be locked to a threshold of {wanted.threshold}: give a number"
        )
    if not wanted.model_sha256:
        raise UserError("a study is locked to a model: count an image first, or name a model")
    made = replace(wanted, by=store.author if author is None else author, at=now())
    _keep(store, asdict(made), "lock study", made, author)
    return made


def unlock(store: Store, *, author: str | None = None) -> None:
    """Take a study's lock off; the log keeps who did it."""
    before = locked(store)
    if before is not None:
        _keep(store, None, "unlock study", before, author)


def _keep(
    store: Store, value: Mapping[str, Any] | None, action: str, about: Lock, author: str | None
) -> None:
    with store.write() as connection:
        set_in(connection, "lock", value)
        if value is not None:
            set_in(connection, "level", about.level)
        record(store, None, Edit(action, (), "system"), author=author, detail=asdict(about))


def suggested_lock(store: Store, counts: Sequence[StoredCount] | None = None) -> Lock | None:
    """Return what most images were counted with; None where none was.

    The diameter is theirs where all that were counted with this model agree, else None; the
    threshold likewise, where it was moved everywhere to the same.
    """
    counts = in_force(latest_counts(store) if counts is None else counts)
    if not counts:
        return None
    # Images are what is asked for, not their time points and planes.
    by = {(c.image_id, c.model, c.model_sha256, c.calibration_sha256): None for c in counts}
    often = Counter(identity[1:] for identity in by)
    (model, sha256, calibration), _ = often.most_common(1)[0]
    alike = [c for c in counts if (c.model, c.model_sha256) == (model, sha256)]
    first = alike[0]
    one_size = all(_same(c.diameter_px, first.diameter_px) for c in alike)
    one_threshold = all(_same(c.threshold, first.threshold) for c in alike) and all(
        not _same(c.threshold, c.default_threshold) for c in alike
    )
    return Lock(
        model=model,
        model_sha256=sha256,
        calibration_sha256=calibration,
        diameter_px=first.diameter_px if one_size else None,
        threshold=first.threshold if one_threshold else None,
        level=level_of(store),
    )


# ---- rows ----


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
        Figures that were just worked out (what ``figures.iter_refresh`` returns) and could
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
        said += _otherwise(counted, held)
    if counted is not None and kind == "not calibrated":
        said.append("interval not calibrated")
    if kind == "provisional":
        said.append("interval provisional")
    if row.missing:
        said.append("file is missing")
    return tuple(said)


def _otherwise(counted: StoredCount, held: Lock) -> list[str]:
    """Say in what a count differs from what the study is locked to."""
    said = []
    if counted.model_sha256 != held.model_sha256:
        named = counted.model
        if named == held.model:
            named += f", {counted.model_sha256[:8]}"
        said.append(f"counted with another model ({named})")
    elif held.calibration_sha256 and counted.calibration_sha256 != held.calibration_sha256:
        said.append("counted with another calibration")
    if held.diameter_px is not None and not _same(counted.diameter_px, held.diameter_px):
        said.append(f"other diameter ({counted.diameter_px:.4g} px)")
    wanted = counted.default_threshold if held.threshold is None else held.threshold
    if not _same(counted.threshold, wanted):
        said.append(f"threshold moved ({counted.threshold:.3g})")
    return said


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-9)


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


# ---- groups ----


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

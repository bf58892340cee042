"""Corrected counts of the images of a project, worked out once and remembered.

What is remembered of an image holds while its last step, its newest prediction and the level
are those that it was made from; an edit, another count or another level makes it stale.

**Over time** every time point has figures of its own; they are a curve and never summed.
**Over z** the newest count of a time point decides: planes that were counted by themselves
have figures each; of a projection there is one, with the dots and regions of all its planes;
of planes that were merged there is one as well, whose count is its number of cells (dots of
neighbouring planes merged by distance, see ``density.stacks``) and has no interval, unless
all of it was reviewed.

**In tissue.** Where tissue regions are drawn, all figures are those of the tissue.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from celltally.density.inside import inside_any
from celltally.density.stacks import MERGE_DISTANCE, merge_planes
from celltally.errors import UserError
from celltally.intervals import Measured, measure
from celltally.project import schema
from celltally.project.counts import StoredCount, in_force, latest_counts, load_prediction
from celltally.project.images import image
from celltally.project.store import Store
from celltally.project.work import load_dots, load_regions
from celltally.types import DOT_STATES, Dots, Grid, Interval, Prediction, Progress, Region

__all__ = [
    "LEVEL",
    "Figures",
    "Remembered",
    "iter_refresh",
    "level_of",
    "of_image",
    "remembered",
]

#: Nominal coverage of intervals where a project states no other.
LEVEL = 0.95
NOT_COUNTED = "it was not counted"
_NOTHING = Interval(math.nan, math.nan, LEVEL, "not calibrated", NOT_COUNTED)
NOT_OVER_Z = "cells merged over z have no interval: models are calibrated on single planes"
#: Images whose figures are written in one transaction.
_BATCH = 50
#: What a part is, in ``measure``'s words: groups of polygons, in all of which it lies.
_Within = tuple[tuple[NDArray[np.float64], ...], ...]


@dataclass(frozen=True)
class Figures:
    """What is known of a counted plane, or of a region of it, after corrections.

    Attributes
    ----------
    image_id
        Number of the image.
    t, z
        Time point and plane (of merged planes the lowest).
    z_method
        ``plane``, ``projection`` or ``merged``.
    region_id, name
        Of a region of kind ``count``; "" for the whole plane.
    stated
        Count that a person stated for the region; None without.
    count, interval
        After corrections: dots where it was reviewed, density elsewhere. NaN where it was
        neither counted nor wholly reviewed.
    density_count
        What the model said, without corrections; NaN where it was not counted.
    n_dots
        Number of dots (of merged planes: of cells), without removed and excluded ones.
    states
        Number of dots by state, excluded ones left out: ``proposed`` are the model's, untouched;
        ``confirmed``, ``added``, ``moved`` and ``removed`` a person's.
    classes
        Number of dots by class, without removed and excluded ones.
    class_counts
        Corrected count by class, where it is known: the model tells classes, or all was
        reviewed.
    area_px
        Area in image pixels, without excluded regions; of the tissue where some is drawn.
    reviewed_share
        Share of the area that was reviewed, in [0, 1].
    in_tissue
        Whether the figures are those of tissue regions only.
    prediction_id
        The count that they were made from; None without.
    """

    image_id: int
    t: int = 0
    z: int = 0
    z_method: str = "plane"
    region_id: str = ""
    name: str = ""
    stated: float | None = None
    count: float = math.nan
    interval: Interval = _NOTHING
    density_count: float = math.nan
    n_dots: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, float] = field(default_factory=dict)
    area_px: float = math.nan
    reviewed_share: float = 0.0
    in_tissue: bool = False
    prediction_id: int | None = None

    @property
    def by_hand(self) -> int:
        """Number of dots that a person added, moved, removed or confirmed."""
        return sum(n for state, n in self.states.items() if state != "proposed")

    def area_mm2(self, pixel_size_um: tuple[float, float] | None) -> float:
        """Area in square millimetres; NaN where the pixel size is not known."""
        if pixel_size_um is None:
            return math.nan
        return self.area_px * pixel_size_um[0] * pixel_size_um[1] * 1e-6

    def cells_per_mm2(self, pixel_size_um: tuple[float, float] | None) -> float:
        """Cells per square millimetre; NaN without an area or its size."""
        area = self.area_mm2(pixel_size_um)
        return self.count / area if area > 0 else math.nan


@dataclass(frozen=True)
class Remembered:
    """Figures as they were last worked out.

    Attributes
    ----------
    figures
        By the image's number: those of its planes, each followed by its regions'.
    stale
        Numbers of the images whose figures are missing, or older than what was done since.
    """

    figures: Mapping[int, tuple[Figures, ...]]
    stale: frozenset[int]


#: What an image's figures are made from: its last step, its newest prediction.
_State = tuple[int, int | None]


def level_of(store: Store) -> float:
    """Nominal coverage of a project's intervals."""
    return float(store.setting("level", LEVEL))


def remembered(store: Store, *, level: float | None = None) -> Remembered:
    """Return what is remembered of every image, and for which it is stale; works nothing out.

    Parameters
    ----------
    level
        Nominal coverage; without, the project's.
    """
    return _remembered(store, level_of(store) if level is None else level)


def _remembered(store: Store, level: float, image_id: int | None = None) -> Remembered:
    """Return what is remembered of every image, or of one."""
    states = _states(store, image_id)
    query = sa.select(schema.figures).order_by(*schema.figures.primary_key)
    if image_id is not None:
        query = query.where(schema.figures.c.image_id == image_id)
    found: dict[int, list[Figures]] = {}
    made_from: dict[int, set[tuple[int, int | None, float]]] = {}
    with store.read() as connection:
        for row in connection.execute(query).mappings():
            content = json.loads(row["content"])
            made_from.setdefault(row["image_id"], set()).add(
                (row["step_seq"], row["prediction_id"], content["level"])
            )
            found.setdefault(row["image_id"], []).extend(_unpacked(row, content))
    stale = {
        number for number, state in states.items() if made_from.get(number) != {(*state, level)}
    }
    return Remembered({n: tuple(rows) for n, rows in found.items()}, frozenset(stale))


def of_image(store: Store, image_id: int, *, level: float | None = None) -> tuple[Figures, ...]:
    """Figures of an image as it is now: those of its planes, each followed by its regions'.

    What is not remembered is worked out, and remembered unless the project is open for reading
    only.

    Raises
    ------
    UserError
        When there is no such image, or the project cannot be read or written.
    """
    level = level_of(store) if level is None else level
    known = _remembered(store, level, image_id)
    if image_id in known.figures and image_id not in known.stale:
        return known.figures[image_id]
    state = _states(store, image_id).get(image_id, (0, None))
    found = _worked_out(store, image_id, level)
    if not store.read_only:
        _remember(store, {image_id: (state, found)}, level)
    return found


def iter_refresh(
    store: Store, *, level: float | None = None
) -> Generator[Progress, None, dict[int, tuple[Figures, ...]]]:
    """Work out the figures of every image for which they are stale.

    They are remembered as it goes, unless the project is open for reading only; an image that
    is edited meanwhile stays stale.

    Parameters
    ----------
    level
        Nominal coverage; without, the project's.

    Yields
    ------
    Progress
        After every image.

    Returns
    -------
    dict
        By the image's number, what was worked out: to be given to ``study.rows`` where it could
        not be remembered.
    """
    level = level_of(store) if level is None else level
    stale = sorted(remembered(store, level=level).stale)
    all_found: dict[int, tuple[Figures, ...]] = {}
    batch: dict[int, tuple[_State, tuple[Figures, ...]]] = {}
    try:
        for done, number in enumerate(stale, start=1):
            state = _states(store, number).get(number, (0, None))
            all_found[number] = _worked_out(store, number, level)
            batch[number] = state, all_found[number]
            if len(batch) >= _BATCH and not store.read_only:
                _remember(store, batch, level)
                batch.clear()
            yield Progress(done, len(stale), "working out the counts")
    except GeneratorExit:  # cancelled: what is worked out is kept, unless the project was closed
        with contextlib.suppress(UserError):
            if batch and not store.read_only:
                _remember(store, batch, level)
        raise
    if batch and not store.read_only:
        _remember(store, batch, level)
    return all_found


# ---- what figures are made from ----


def _states(store: Store, image_id: int | None = None) -> dict[int, _State]:
    """Last step and newest prediction of every image, or of one."""

    def newest(column: sa.Column[Any], owner: sa.Column[Any]) -> sa.Select[Any]:
        query = sa.select(owner, sa.func.max(column)).group_by(owner)
        return query.where(owner.is_not(None) if image_id is None else owner == image_id)

    query = sa.select(schema.images.c.id)
    if image_id is not None:
        query = query.where(schema.images.c.id == image_id)
    with store.read() as connection:
        numbers = connection.execute(query).scalars().all()
        steps = newest(schema.steps.c.seq, schema.steps.c.image_id)
        last = _by_owner(connection, steps)
        predictions = newest(schema.predictions.c.id, schema.predictions.c.image_id)
        counted = _by_owner(connection, predictions)
    return {number: (int(last.get(number, 0)), counted.get(number)) for number in numbers}


def _by_owner(connection: sa.Connection, query: sa.Select[Any]) -> dict[int, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _remember(
    store: Store,
    found: Mapping[int, tuple[_State, tuple[Figures, ...]]],
    level: float,
) -> None:
    table = schema.figures
    rows = []
    for number, ((step, prediction), figures) in found.items():
        planes: dict[tuple[int, int], list[Figures]] = {}
        for one in figures:
            planes.setdefault((one.t, one.z), []).append(one)
        rows += [
            {
                "image_id": number,
                "t": t,
                "z": z,
                "step_seq": step,
                "prediction_id": prediction,
                "content": json.dumps({"level": level, "figures": [_packed(f) for f in of_plane]}),
            }
            for (t, z), of_plane in planes.items()
        ]
    with store.write() as connection:
        connection.execute(table.delete().where(table.c.image_id.in_(list(found))))
        if rows:
            connection.execute(table.insert(), rows)


def _packed(figures: Figures) -> dict[str, Any]:
    interval = figures.interval
    return {
        "z_method": figures.z_method,
        "region_id": figures.region_id,
        "name": figures.name,
        "stated": figures.stated,
        "count": _null(figures.count),
        "interval": [_null(interval.low), _null(interval.high), interval.level],
        "kind": interval.kind,
        "reason": interval.reason,
        "density_count": _null(figures.density_count),
        "n_dots": figures.n_dots,
        "states": dict(figures.states),
        "classes": dict(figures.classes),
        "class_counts": dict(figures.class_counts),
        "area_px": _null(figures.area_px),
        "reviewed_share": figures.reviewed_share,
        "in_tissue": figures.in_tissue,
        "prediction_id": figures.prediction_id,
    }


def _unpacked(row: Mapping[Any, Any], content: Mapping[str, Any]) -> list[Figures]:
    found = []
    for packed in content["figures"]:
        low, high, level = packed["interval"]
        values = {
            name: value
            for name, value in packed.items()
            if name not in ("interval", "kind", "reason")
        }
        for name in ("count", "density_count", "area_px"):
            values[name] = _nan(values[name])
        interval = Interval(_nan(low), _nan(high), level, packed["kind"], packed["reason"])
        place = (row["image_id"], row["t"], row["z"])
        found.append(Figures(*place, interval=interval, **values))
    return found


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


# ---- working them out ----


@dataclass(frozen=True)
class _Counted:
    """What has figures of its own: a plane, or all planes of a time point together."""

    t: int
    z: int
    z_method: str
    counts: tuple[StoredCount, ...]

    def holds(self, t: NDArray[np.int64] | int, z: NDArray[np.int64] | int) -> Any:
        """Whether places of some t and z are its own."""
        same = np.asarray(t) == self.t
        return same & (np.asarray(z) == self.z) if self.z_method == "plane" else same


def _worked_out(store: Store, image_id: int, level: float) -> tuple[Figures, ...]:
    entry = image(store, image_id)
    counts = latest_counts(store, [image_id])
    regions = [r for r in load_regions(store, image_id) if len(r.polygon) >= 3]
    placed = regions or any(count.z_method == "merged" for count in counts)
    dots = load_dots(store, image_id) if placed else _unplaced(store, image_id)
    found: list[Figures] = []
    for counted in _counted(counts, dots, regions):
        here = counted.holds(dots.t, dots.z)
        own = [r for r in regions if counted.holds(r.t, r.z)]

        def load(count: StoredCount) -> Prediction | None:
            loaded = load_prediction(store, count)
            return None if loaded is None else loaded[0]

        parts = [None, *(r for r in own if r.kind == "count")]
        measured = _Measured(counted, dots[here], own, entry.shape, load, level)
        found += [replace(measured.figures(part), image_id=image_id) for part in parts]
    return tuple(found)


def _unplaced(store: Store, image_id: int) -> Dots:
    """Return the dots of an image without their places, which nothing asks for without regions.

    Their numbers come from an index, in a small part of the time.
    """
    columns = [schema.dots.c[name] for name in ("t", "z", "state", "class")]
    query = sa.select(*columns, sa.func.count()).where(schema.dots.c.image_id == image_id)
    with store.read() as connection:
        rows = [tuple(row) for row in connection.execute(query.group_by(*columns))]
    if not rows:
        return Dots.new()
    t, z, state, label, numbers = zip(*rows, strict=True)
    return Dots.new(
        np.zeros((sum(numbers), 2)),
        id="",
        t=np.repeat(t, numbers),
        z=np.repeat(z, numbers),
        state=np.repeat(state, numbers),
        label=np.repeat(label, numbers),
    )


def _counted(
    counts: Sequence[StoredCount], dots: Dots, regions: Sequence[Region]
) -> list[_Counted]:
    """Everything of an image that has figures of its own, in the order of t and z."""
    found: list[_Counted] = []
    by_t: dict[int, list[StoredCount]] = {}
    for count in in_force(counts):
        by_t.setdefault(count.t, []).append(count)
    for t, alike in by_t.items():
        newest = max(alike, key=lambda count: count.id)
        if newest.z_method == "plane":
            found += [_Counted(t, count.z, "plane", (count,)) for count in alike]
        elif newest.z_method == "projection":
            found.append(_Counted(t, newest.z, "projection", (newest,)))
        else:
            found.append(_Counted(t, min(c.z for c in alike), newest.z_method, tuple(alike)))
    by_hand = dots[dots.state != "proposed"]
    edited = set(zip(by_hand.t.tolist(), by_hand.z.tolist(), strict=True))
    edited |= {(region.t, region.z) for region in regions}
    for t, z in sorted(edited):
        if not any(one.holds(t, z) for one in found):
            found.append(_Counted(t, z, "plane", ()))
    return sorted(found, key=lambda one: (one.t, one.z)) or [_Counted(0, 0, "plane", ())]


class _Measured:
    """Figures of a plane and its regions; maps are loaded only where they are needed."""

    def __init__(
        self,
        counted: _Counted,
        dots: Dots,
        regions: Sequence[Region],
        shape: tuple[int, int] | None,
        load: Callable[[StoredCount], Prediction | None],
        level: float,
    ) -> None:
        self.counted, self.dots, self.regions = counted, dots, regions
        self.level = level
        self._shape, self._load = shape, load
        self._loaded: dict[int, Prediction | None] = {}
        self.tissue = tuple(r.polygon for r in regions if r.kind == "tissue")
        self.taken = [r for r in regions if r.kind in ("reviewed", "audit", "exclude")]

    def figures(self, region: Region | None) -> Figures:
        """Figures of a region, or of all of the plane."""
        within: _Within = () if region is None else ((region.polygon,),)
        if self.tissue:
            within = (*within, self.tissue)
        here = self._here(within)
        live = here & (self.dots.state != "removed")
        states = Counter(self.dots.state[here].tolist())
        base = Figures(
            image_id=0,
            t=self.counted.t,
            z=self.counted.z,
            z_method=self.counted.z_method,
            n_dots=int(live.sum()),
            states={state: states.get(state, 0) for state in DOT_STATES},
            classes=dict(sorted(Counter(self.dots.label[live].tolist()).items())),
            in_tissue=bool(self.tissue),
            prediction_id=max((count.id for count in self.counted.counts), default=None),
        )
        if region is not None:
            base = replace(
                base,
                region_id=region.id,
                name=region.name,
                stated=region.stated,
            )
        if self.counted.z_method == "merged":
            return self._merged(base, live, within)
        if not self.counted.counts:
            return self._uncounted(base, live, within)
        return self._of_density(base, live, within)

    def _here(self, within: _Within) -> NDArray[np.bool_]:
        """Dots that lie in a part and are not excluded, removed ones among them."""
        here = np.ones(len(self.dots), dtype=bool)
        for group in within:
            here &= inside_any(self.dots.yx, group)
        excluded = [r for r in self.taken if r.kind == "exclude"]
        if self.counted.z_method != "merged":
            return here & ~inside_any(self.dots.yx, [r.polygon for r in excluded])
        for z in {r.z for r in excluded}:  # of each plane its own
            out = inside_any(self.dots.yx, [r.polygon for r in excluded if r.z == z])
            here &= ~(out & (self.dots.z == z))
        return here

    def _of_density(self, base: Figures, live: NDArray[np.bool_], within: _Within) -> Figures:
        (count,) = self.counted.counts
        whole = not within and not self.taken
        several = len(count.classes) > 1
        if whole and not several and self._shape and count.interval.level == self.level:
            return replace(  # untouched: what was kept of the count is all there is to know
                base,
                count=count.count,
                interval=count.interval,
                density_count=count.count,
                area_px=float(self._shape[0] * self._shape[1]),
            )
        prediction = self._prediction(count)
        if prediction is None:  # counted again at this moment: stale anyway
            return replace(base, density_count=count.count)
        found = measure(prediction, self.dots.yx[live], self.taken, within=within)
        plain = measure(prediction, (), (), within=within).density if within else count.count
        of_class = {}
        if several and not any(r.by_stated for r in self.taken):  # which states no classes
            for k, label in enumerate(prediction.classes):
                one = replace(
                    prediction,
                    density=prediction.density[k : k + 1],
                    variance=prediction.variance[k : k + 1],
                    classes=(label,),
                )
                yx = self.dots.yx[live & (self.dots.label == label)]
                of_class[label] = measure(one, yx, self.taken, within=within).count
        return self._with(
            replace(base, density_count=plain, class_counts=of_class),
            found,
            found.count,
            found.interval(prediction, self.level),
        )

    def _uncounted(self, base: Figures, live: NDArray[np.bool_], within: _Within) -> Figures:
        nothing = Interval(math.nan, math.nan, self.level, "not calibrated", NOT_COUNTED)
        base = replace(base, interval=nothing)
        if self._shape is None:
            return base
        found = measure(_blank(self._shape), self.dots.yx[live], self.taken, within=within)
        return self._with(base, found, math.nan, nothing)

    def _merged(self, base: Figures, live: NDArray[np.bool_], within: _Within) -> Figures:
        """Cells that consist of the dots of neighbouring planes."""
        nothing = Interval(math.nan, math.nan, self.level, "not calibrated", NOT_OVER_Z)
        counts = self.counted.counts
        distance = MERGE_DISTANCE * max(count.diameter_px for count in counts)
        cells = merge_planes(self.dots[live], distance).dots
        base = replace(
            base,
            count=float(len(cells)),
            interval=nothing,
            n_dots=len(cells),
            classes=dict(sorted(Counter(cells.label.tolist()).items())),
        )
        shape = self._shape
        if shape is None:
            loaded = self._prediction(counts[0])
            shape = None if loaded is None else loaded.image_shape
        if shape is None:
            return base
        taken = [r for r in self.taken if not r.by_stated]  # cells are dots here
        planes = [
            measure(_blank(shape), (), [r for r in taken if r.z == count.z], within=within)
            for count in counts
        ]
        if all(plane.open_px <= 0 for plane in planes):
            n = float(len(cells))
            base = replace(base, interval=Interval(n, n, self.level, "exact"))
            base = replace(base, class_counts={c: float(k) for c, k in base.classes.items()})
        return replace(
            base,
            area_px=float(np.mean([plane.area_px for plane in planes])),
            reviewed_share=float(np.mean([_reviewed(plane) for plane in planes])),
        )

    def _with(self, base: Figures, found: Measured, count: float, interval: Interval) -> Figures:
        of_class = base.class_counts
        if found.open_px <= 0:  # nothing is left to a model
            count = float(found.known)
            interval = Interval(count, count, self.level, "exact")
            of_class = {label: float(n) for label, n in base.classes.items()}
        if any(region.by_stated for region in self.taken):
            of_class = {}
        return replace(
            base,
            count=count,
            interval=interval,
            class_counts=of_class,
            area_px=found.area_px,
            reviewed_share=_reviewed(found),
        )

    def _prediction(self, count: StoredCount) -> Prediction | None:
        if count.id not in self._loaded:
            self._loaded[count.id] = self._load(count)
        return self._loaded[count.id]


def _reviewed(found: Measured) -> float:
    """Share of an area that was reviewed."""
    if found.area_px <= 0:
        return 0.0
    return float(np.clip(1 - found.open_px / found.area_px, 0.0, 1.0))


def _blank(shape: tuple[int, int]) -> Prediction:
    """Stand in for the prediction of an image that was not counted: areas without cells."""
    nothing = np.zeros((1, 1, 1), dtype=np.float32)
    grid = Grid((1, 1), step=(float(shape[0]), float(shape[1])))
    return Prediction(nothing, nothing, grid, shape, 1.0, "", "")

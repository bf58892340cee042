"""Working out the figures of an image: from its counts, its dots and its regions.

Nothing is remembered here; see ``remembering``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from celltally.density.inside import inside_any
from celltally.density.stacks import MERGE_DISTANCE, merge_planes
from celltally.intervals import Measured, measure
from celltally.project import schema
from celltally.project.counts import StoredCount, in_force, latest_counts, load_prediction
from celltally.project.figures import NOT_COUNTED, NOT_OVER_Z, Figures
from celltally.project.images import ImageEntry, image
from celltally.project.store import Store
from celltally.project.work import load_dots, load_regions
from celltally.types import DOT_STATES, Dots, Grid, Interval, Prediction, Region

__all__ = ["figures_of", "work_out"]

#: What a part is, in ``measure``'s words: groups of polygons, in all of which it lies.
_Within = tuple[tuple[NDArray[np.float64], ...], ...]


def work_out(store: Store, image_id: int, level: float) -> tuple[Figures, ...]:
    """Figures of an image as it is now: those of its planes, each followed by its regions'.

    Parameters
    ----------
    level
        Nominal coverage of the intervals.

    Raises
    ------
    UserError
        When there is no such image, or the project cannot be read.
    """
    entry = image(store, image_id)
    counts = latest_counts(store, [image_id])
    regions = [r for r in load_regions(store, image_id) if len(r.polygon) >= 3]
    placed = regions or any(count.z_method == "merged" for count in counts)
    dots = load_dots(store, image_id) if placed else _unplaced(store, image_id)

    def load(count: StoredCount) -> Prediction | None:
        loaded = load_prediction(store, count)
        return None if loaded is None else loaded[0]

    return figures_of(entry, counts, dots, regions, load, level)


def figures_of(
    entry: ImageEntry,
    counts: Sequence[StoredCount],
    dots: Dots,
    regions: Sequence[Region],
    load: Callable[[StoredCount], Prediction | None],
    level: float,
) -> tuple[Figures, ...]:
    """Figures of an image from its counts, dots and regions, wherever these come from.

    Parameters
    ----------
    entry
        The image.
    counts
        Its counts; those that others took the place of are left aside.
    dots, regions
        All of the image; regions with an area.
    load
        Gives the maps of a count; None where there are none any more.
    level
        Nominal coverage of the intervals.
    """
    found: list[Figures] = []
    for counted in _counted(counts, dots, regions):
        here = counted.holds(dots.t, dots.z)
        own = [r for r in regions if counted.holds(r.t, r.z)]
        parts = [None, *(r for r in own if r.kind == "count")]
        measured = _Measured(counted, dots[here], own, entry.shape, load, level)
        found += [replace(measured.figures(part), image_id=entry.id) for part in parts]
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


# ---- what has figures ----


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


# ---- a plane and its regions ----


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

"""The counts of an image over time, as they are corrected: what a curve shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from celltally._napari.correcting import Correcting
from celltally._napari.curve import Point
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.plane_figures import (
    Cells,
    Figures,
    corrections_at,
    figures_of,
    live_dots,
    merge_token,
    merged_cells,
)
from celltally._napari.planes import Plane
from celltally._napari.results import NOT_KEPT, Known, Results
from celltally._napari.saving import Saving
from celltally.project.edits import Work
from celltally.types import Dots, Interval, Prediction, Progress, Region

if TYPE_CHECKING:
    from celltally.project.store import Store

__all__ = ["OverTime", "loaded_prediction"]

#: Dots of all planes of a time point that are merged at once; more might hold the window up.
MOST_AT_ONCE = 3_000


def loaded_prediction(known: Known, store: Store | None) -> Prediction | None:
    """Return the prediction of a plane, from memory or from the project; None where it is gone."""
    if known.result is not None:
        return known.result.counted.prediction
    if known.stored is None or known.stored.id == NOT_KEPT or store is None:
        return None
    from celltally.project.counts import load_prediction

    found = load_prediction(store, known.stored)
    return None if found is None else found[0]


@dataclass
class _Image:
    """What was worked out of an image, by the time point: from what, and what came of it."""

    figures: dict[int, tuple[Hashable, Figures | None]]
    cells: dict[int, tuple[bytes, Cells]]


@dataclass(eq=False)
class _Tokens:
    """What merged cells are made from, as long as dots and regions of an image are the same."""

    key: str
    dots: Dots
    regions: tuple[Region, ...]
    tokens: dict[Hashable, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Left:
    """A plane whose corrected count is to be worked out, and from what."""

    known: Known
    token: Hashable
    dots: Dots
    regions: Sequence[Region]


class OverTime(QObject):
    """Works out counts over time, those that take long beside the window.

    Parameters
    ----------
    jobs, results, correcting, saving
        Those of the widget.
    parent
        Ends it.
    """

    #: Something that took long was worked out.
    changed = Signal()

    def __init__(
        self,
        jobs: Jobs,
        results: Results,
        correcting: Correcting,
        saving: Saving,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._jobs, self._results = jobs, results
        self._correcting, self._saving = correcting, saving
        self._images: dict[str, _Image] = {}
        self._tokens: _Tokens | None = None
        self._job: Job | None = None
        #: Why something could not be worked out; "" where it could.
        self.trouble = ""

    @property
    def running(self) -> bool:
        """Whether something is worked out."""
        return self._job is not None

    def forget(self, key: str) -> None:
        """Forget an image."""
        self._images.pop(key, None)
        self._tokens = None

    def points(self, key: str, plane: Plane, level: float) -> list[Point]:
        """Return the counts at the z in view, or of all z, in the order of time.

        What is not worked out yet is as the model counted it, without an interval where that
        would be of another level; ``changed`` tells when it is.
        """
        known = self._results.over_time(key, plane)
        if known and known[0].plane.z_method == "merged":
            cells = self._cells_of(key, [one.plane for one in known], level)
            return [
                Point(
                    one.plane.index("T"), float(found.count), found.interval, found.count,
                    "" if found.planes == found.depth else found.words,
                )
                for one, found in zip(known, cells, strict=True)
                if found is not None
            ]  # fmt: skip
        work, image = self._correcting.work(key), self._image(key)
        n_dots = _dots_by_time(work, plane, known)
        found_points, left = [], []
        for one in known:
            t = one.plane.index("T")
            regions = corrections_at(work, one.plane)
            figures = None if regions else _as_kept(one, level)
            if figures is None:
                dots = live_dots(work, one.plane) if regions else Dots.new()
                token = _token(one, dots, regions, level)
                before = image.figures.get(t)
                if before is None or before[0] != token:
                    left.append(_Left(one, token, dots, regions))
                else:
                    figures = before[1]
            figures = figures or _as_counted(one, level)
            if figures is not None:
                n = figures.n_dots if figures.correction else n_dots.get(t, 0)
                found_points.append(
                    Point(t, figures.count, figures.interval, n, figures.correction)
                )
        if left:
            self._work_out(image, left, level)
        return found_points

    def cells(self, key: str, plane: Plane, level: float) -> Cells | None:
        """Return the cells of a time point's merged planes; None while they are worked out."""
        return self._cells_of(key, [plane], level)[0]

    # ---- planes ----

    def _image(self, key: str) -> _Image:
        return self._images.setdefault(key, _Image({}, {}))

    def _work_out(self, image: _Image, left: Sequence[_Left], level: float) -> None:
        """Work out corrected counts beside the window, one plane in memory at a time."""
        store = self._saving.store

        def work_out() -> Generator[Progress, None, dict[int, tuple[Hashable, Figures | None]]]:
            found: dict[int, tuple[Hashable, Figures | None]] = {}
            for done, one in enumerate(left):
                yield Progress(done, len(left), "Working out the curve")
                prediction = loaded_prediction(one.known, store)
                figures = None
                if prediction is not None:
                    figures = figures_of(prediction, one.dots, one.regions, level)
                found[one.known.plane.index("T")] = (one.token, figures)
            return found

        self._start(work_out, image.figures.update)

    # ---- merged planes ----

    def _cells_of(self, key: str, planes: Sequence[Plane], level: float) -> list[Cells | None]:
        work, image = self._correcting.work(key), self._image(key)
        found: list[Cells | None] = []
        left: list[tuple[int, bytes, Callable[[], Cells]]] = []
        if work is None:
            return [None] * len(planes)
        frozen = Work(work.dots, work.regions)
        budget = MOST_AT_ONCE
        for plane in planes:
            t = plane.index("T")
            counts = self._results.over_z(key, t)
            z = [count.z for count in counts]
            diameter = max((count.diameter_px for count in counts), default=0.0)
            if not z or diameter <= 0:
                found.append(None)
                continue
            token = self._merge_token(key, work, t, z, level)
            before = image.cells.get(t)
            if before is not None and before[0] == token:
                found.append(before[1])
                continue

            def make(plane: Plane = plane, z: list[int] = z, diameter: float = diameter) -> Cells:
                return merged_cells(frozen, plane, z, diameter, level)

            budget -= int((work.dots.t == t).sum())
            if budget >= 0:
                image.cells[t] = (token, make())
                found.append(image.cells[t][1])
            else:  # what was known is shown until it is worked out
                found.append(None if before is None else before[1])
                left.append((t, token, make))
        if left:
            self._merge(image, left)
        return found

    def _merge_token(self, key: str, work: Work, t: int, z: list[int], level: float) -> bytes:
        """Return ``merge_token``, at once where nothing has happened since it was made."""
        of = self._tokens
        if (
            of is None
            or of.key != key
            or of.dots is not work.dots
            or of.regions is not work.regions
        ):
            of = self._tokens = _Tokens(key, work.dots, work.regions)
        how = (t, tuple(z), level)
        if how not in of.tokens:
            of.tokens[how] = merge_token(work, t, z, level)
        return of.tokens[how]

    def _merge(self, image: _Image, left: Sequence[tuple[int, bytes, Callable[[], Cells]]]) -> None:
        def merge() -> Generator[Progress, None, dict[int, tuple[bytes, Cells]]]:
            found = {}
            for done, (t, token, make) in enumerate(left):
                yield Progress(done, len(left), "Merging")
                found[t] = (token, make())
            return found

        self._start(merge, image.cells.update)

    # ---- jobs ----

    def _start(self, make: Any, keep: Callable[[Any], Any]) -> None:
        """Start a job, unless one is under way: whoever asks again after it starts the next."""
        if self._job is not None:
            return

        def done(found: Any) -> None:
            self._job = None
            keep(found)
            self.trouble = ""
            self.changed.emit()

        def failed(error: Exception) -> None:
            self._job = None
            self.trouble = sentence(error)

        self._job = self._jobs.start(make, on_done=done, on_failed=failed)


def _token(known: Known, dots: Dots, regions: Sequence[Region], level: float) -> Hashable:
    """Return what the figures of a plane are made from."""
    stored, result = known.stored, known.result
    number = NOT_KEPT if stored is None else stored.id
    unkept = id(result.counted) if number == NOT_KEPT and result is not None else 0
    shapes = tuple((r.kind, r.polygon.tobytes()) for r in regions)
    return number, unkept, known.plane.position, level, shapes, dots.yx.tobytes()


def _as_kept(known: Known, level: float) -> Figures | None:
    """Return the figures that are kept of a count; None where the interval is of another level."""
    stored = known.stored
    if stored is None or stored.interval.level != level:
        return None
    return Figures(stored.count, stored.interval, 0)


def _as_counted(known: Known, level: float) -> Figures | None:
    """Return the count without an interval."""
    if known.stored is None:
        return None
    nothing = Interval(math.nan, math.nan, level, "not calibrated")
    return Figures(known.stored.count, nothing, 0)


def _dots_by_time(work: Work | None, plane: Plane, known: Sequence[Known]) -> dict[int, int]:
    """Return how many dots there are that were not removed, by time point."""
    if work is None or not known:
        return {}
    dots = work.dots
    there = dots.state != "removed"
    if known[0].plane.z_method == "plane":
        there &= dots.z == plane.index("Z")
    times, numbers = np.unique(dots.t[there], return_counts=True)
    return dict(zip(times.tolist(), numbers.tolist(), strict=True))

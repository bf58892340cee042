"""Shows the count of the plane in view in the sections of a Tally widget, as it is corrected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from celltally._napari.correcting import Correcting
from celltally._napari.counting import PlaneCount
from celltally._napari.curve import Point, curve_note
from celltally._napari.in_view import InView
from celltally._napari.keeping import Keeping
from celltally._napari.layers import density_layer, keep, kept, show_density
from celltally._napari.over_time import OverTime
from celltally._napari.plane_figures import Cells
from celltally._napari.planes import Plane, go_to, key_of
from celltally._napari.result_section import NOTHING, ResultSection
from celltally._napari.results import Result, Results
from celltally._napari.texts import number
from celltally.project.edits import Work

if TYPE_CHECKING:
    from celltally._napari.audit_region import RegionAudit
    from celltally._napari.checking import Checking
    from celltally._napari.correct_section import CorrectSection
    from celltally._napari.regions_section import RegionsSection
    from celltally._napari.uncertainty_section import UncertaintyBox

__all__ = ["Display"]

#: Milliseconds after which a threshold has come to rest, and the curve follows a change.
AT_REST, CURVE_AFTER = 300, 150


class Display(QObject):
    """Shows one result: density, count, interval, dots, and the curve over time.

    Parameters
    ----------
    viewer
        The napari viewer.
    in_view, results, keeping, correcting, over_time
        Those of the widget.
    busy
        Whether a count is under way.
    result, correct, regions, uncertainty, checking, audit
        The sections in which it is shown.
    parent
        Ends it.
    """

    def __init__(
        self,
        viewer: Any,
        in_view: InView,
        results: Results,
        keeping: Keeping,
        correcting: Correcting,
        over_time: OverTime,
        busy: Callable[[], bool],
        *,
        result: ResultSection,
        correct: CorrectSection,
        regions: RegionsSection,
        uncertainty: UncertaintyBox,
        checking: Checking,
        audit: RegionAudit,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._in_view, self._results = viewer, in_view, results
        self._keeping, self._correcting, self._over_time = keeping, correcting, over_time
        self._busy = busy
        self._result, self._correct, self._regions = result, correct, regions
        self._followers, self._audit = (regions, uncertainty, checking), audit
        self._threshold_moved = self._timer(AT_REST, self._keep_threshold)
        self._curve_soon = self._timer(CURVE_AFTER, self.show_curve)
        result.threshold_changed.connect(self._threshold_changed)
        result.level_changed.connect(self._level_changed)
        result.time_chosen.connect(self._go_to)
        regions.corrected.connect(self._corrected)
        regions.measured.connect(self._show_reviewed)
        correcting.changed.connect(self._dots_changed)
        over_time.changed.connect(self._worked_out)

    def _timer(self, milliseconds: int, do: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(do)
        return timer

    def leave(self) -> None:
        """Do nothing more."""
        self._threshold_moved.stop()
        self._curve_soon.stop()

    @property
    def settled(self) -> bool:
        """Whether the curve has followed."""
        return not self._curve_soon.isActive() and not self._over_time.running

    # ---- all of it ----

    def show(self) -> None:
        """Show the result of the plane in view, if it was counted."""
        layer, plane, result = self._in_view.layer, self._in_view.plane, self._in_view.result
        key = self._in_view.key
        words = NOTHING
        if result is None and layer is not None and plane is not None:
            words = self._missing(layer, plane)
        if key is not None and plane is not None:
            self._results.look(key, plane)
            self._correcting.look_at(key, plane if result is None else result.counted.plane)
        for section in self._followers:
            section.show_image(layer, result.counted if result else None)
        self._correct.show_image(key)
        self._audit.show_ready(result is not None)
        if layer is None or key is None or result is None:
            self._result.clear(words)
            self.show_curve()
            return
        counted = result.counted
        density = density_layer(self._viewer.layers, key)
        if density is None or kept(density, "counted") is not counted:
            self.show_density(layer, counted)
        if not self._busy():
            self._propose_missing(key, result)
        self._result.show_counted(counted, result.threshold)
        merged = counted.plane.z_method == "merged"  # the model's count is of single planes
        self._correct.show_model(math.nan if merged else counted.prediction.count)
        self._show_interval()
        self._show_dots(key)
        self.show_curve()

    def _missing(self, layer: Any, plane: Plane) -> str:
        """Load the count of the plane in view, if there is one; say what is to be waited for."""
        key = key_of(layer)
        if self._keeping.load(layer, plane):
            return "The count is being loaded."
        if self._results.stored(key, plane) is None:
            others = self._results.counted(key) and plane.text
            return f"{plane.text} is not counted." if others else NOTHING
        if self._keeping.read_only:
            return "Counted, but not kept: the project is open for reading only."
        return "Counted; it is shown as soon as it is saved."

    def show_density(self, layer: Any, counted: PlaneCount) -> None:
        """Show the density of a count."""
        shown = show_density(self._viewer, layer, counted.plane, counted.prediction)
        keep(shown, counted=counted)

    def plane_counted(self, key: str, counted: PlaneCount | None) -> None:
        """Show what there is of a count that goes on; the rest follows when it is over."""
        layer = self._in_view.layer_of(key)
        if counted is not None and layer is not None:
            self.show_density(layer, counted)
        elif key == self._in_view.key and not self._busy() and self._in_view.result is None:
            self.show()
        self._curve_soon.start()

    # ---- count and interval ----

    def _cells(self) -> Cells | None:
        """Return the cells of the time point in view, where planes are merged."""
        key, result = self._in_view.key, self._in_view.result
        if key is None or result is None or result.counted.plane.z_method != "merged":
            return None
        return self._over_time.cells(key, result.counted.plane, self._result.level)

    def _show_interval(self) -> None:
        from celltally import intervals

        result = self._in_view.result
        if result is None:
            return
        prediction, level = result.counted.prediction, self._result.level
        if result.counted.plane.z_method == "merged":
            cells = self._cells()
            if cells is None:
                self._result.show_count(math.nan, "The dots are being merged.")
                return
            self._result.show_count(cells.count, cells.words)
            self._result.show_interval(cells.interval)
        elif self._regions.correction is None:
            self._result.show_count(prediction.count)
            self._result.show_interval(intervals.of(prediction, level=level))
        else:
            found, words = self._regions.correction
            self._result.show_count(found.count, words)
            self._result.show_interval(found.interval(prediction, level))

    def _level_changed(self) -> None:
        self._show_interval()
        self._regions.show_level(self._result.level)
        self.show_curve()

    def _corrected(self) -> None:
        self._show_interval()
        self._show_dots(self._in_view.key or "")
        self._curve_soon.start()

    def _show_reviewed(self) -> None:
        cells = self._cells()
        share = self._regions.reviewed_share if cells is None else cells.reviewed
        self._correct.show_reviewed(share)

    # ---- over time ----

    def show_curve(self) -> None:
        """Show the counts over time, where there are several."""
        key, plane = self._in_view.key, self._in_view.plane
        if key is None or plane is None or plane.length("T") < 2:
            self._result.show_curve((), 0, None)
            return
        now, level, length = plane.index("T"), self._result.level, plane.length("T")
        points = self._over_time.points(key, plane, level)
        result, interval = self._in_view.result, self._result.interval
        if result is not None and interval is not None and math.isfinite(self._result.count):
            merged = result.counted.plane.z_method == "merged"
            words = "" if merged else self._result.correction_label.text()
            live = Point(now, self._result.count, interval, self._result.n_dots, words)
            points = [live if point.t == now else point for point in points]
        note = curve_note(points, length, level, trouble=self._over_time.trouble)
        self._result.show_curve(points, length, now, note)

    def _go_to(self, t: int) -> None:
        """Move the slider to a time point."""
        layer, plane = self._in_view.layer, self._in_view.plane
        if layer is not None and plane is not None:
            go_to(layer, self._viewer.dims, plane.moved(t=t))

    def _worked_out(self) -> None:
        """Show what was worked out beside the window."""
        self._show_merged(self._in_view.key or "")
        self.show_curve()

    # ---- dots ----

    def _dots_changed(self, key: str) -> None:
        if key == self._in_view.key:
            self._show_dots(key)

    def _show_dots(self, key: str) -> None:
        result = self._in_view.result
        if self._correcting.subject(key) is None or result is None:
            return
        self._regions.dots_changed()
        self._curve_soon.start()
        if self._show_merged(key):
            return
        n_dots, corrected = self._correcting.figures(key).n_dots, self._regions.correction
        n_dots = n_dots if corrected is None else corrected[0].n_dots
        self._result.show_dots(n_dots, self._note(key, result.counted.plane))

    def _note(self, key: str, counted: Plane) -> str:
        """Say which of the dots are seen, where these are not all."""
        subject, plane = self._correcting.subject(key), self._in_view.plane
        if subject is None or plane is None:
            return ""
        if subject.many:
            shown = self._correcting.shown.n_shown(key)
            return f"The {number(shown)} in view are shown" if shown else "Zoom in to see them"
        if counted.z_method == "projection" and plane.depth > 1:
            dots = self._correcting.in_plane(key)
            here = (dots.z == plane.index("Z")) & (dots.state != "removed")
            return f"{number(int(here.sum()))} of them lie in the z plane in view."
        return ""

    def _show_merged(self, key: str) -> bool:
        """Show the cells of merged planes; False where planes are not merged."""
        result = self._in_view.result
        if result is None or result.counted.plane.z_method != "merged":
            return False
        self._show_interval()
        cells, plane = self._cells(), result.counted.plane
        if cells is not None:
            here = int(np.count_nonzero(cells.dots.z == plane.index("Z")))
            many = self._note(key, plane)
            self._result.show_cells(cells.count, here, many)
            self._show_reviewed()
        return True

    def dot_positions(self) -> NDArray[np.float64]:
        """Where the dots are that were counted together and not removed."""
        key = self._in_view.key
        if key is None or self._correcting.work(key) is None:
            return np.empty((0, 2))
        dots = self._correcting.in_plane(key)
        return dots.yx[dots.state != "removed"]

    def _propose_missing(self, key: str, result: Result) -> None:
        """Propose the dots of a count that was kept when the program was ended before it did."""
        counted, work = result.counted, self._correcting.work(key)
        t, z = counted.plane.place
        here = 0
        if work is not None:
            there = work.dots.t == t
            here = np.count_nonzero(there if z is None else there & (work.dots.z == z))
        if not here and result.n_dots:
            self._propose(key, counted, result.threshold)

    def _propose(self, key: str, counted: PlaneCount, threshold: float) -> None:
        """Propose the dots above a threshold; what a human has touched stays."""
        diameter = counted.prediction.diameter_px
        if self._correcting.work(key) is None:
            self._correcting.set_work(key, Work(), counted.plane, diameter)
        self._correcting.propose(key, counted.dots(threshold), [counted.plane.place], diameter)

    def _threshold_changed(self, threshold: float) -> None:
        key, result = self._in_view.key, self._in_view.result
        if key is not None and result is not None:
            self._results.set_threshold(key, result, threshold)
            self._propose(key, result.counted, threshold)
            self._show_dots(key)
            self._threshold_moved.start()

    def _keep_threshold(self) -> None:
        layer, result = self._in_view.layer, self._in_view.result
        if layer is not None and result is not None:
            self._keeping.keep_threshold(layer, result.counted.plane, result.threshold)

"""*Audit a region…*: a random region of the plane in view, counted blind, becomes one edit."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QPushButton

from celltally._napari.blind_section import BlindSection
from celltally._napari.blind_tool import take_in_hand, undo_dot
from celltally._napari.compat import camera
from celltally._napari.controls import hint, wrapped
from celltally._napari.correcting import Correcting
from celltally._napari.counting import PlaneCount
from celltally._napari.docked import Docked
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers import AuditLayers, own_role
from celltally.density.random_region import Box, CutOut, corners_of, cut_out, draw_apart
from celltally.density.regions import region_sums
from celltally.errors import UserError
from celltally.project.audits import audit_edit, audit_name, new_seed, random_of, words
from celltally.types import Progress, Region

__all__ = ["Drawn", "RegionAudit", "draw_job"]

_TIP = (
    "A random region of this plane is shown alone, without the model's count and dots, and you "
    "count it. So you see how far the model is off where nobody chose the place."
)
#: Kinds of regions that a new one is not to overlap.
AVOID = ("reviewed", "audit", "exclude")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A region that is to be counted blind.

    Attributes
    ----------
    key
        Of the image.
    region
        Where it is; its id is the seed that it was drawn with.
    shown
        Its pixels.
    predicted
        Integral of the density over it.
    diameter_px
        Cell diameter that was counted with.
    every_z
        Whether a projection over z was counted.
    """

    key: str
    region: Region
    shown: CutOut
    predicted: float
    diameter_px: float
    every_z: bool = False


def draw_job(
    key: str, counted: PlaneCount, regions: tuple[Region, ...], seed: str
) -> Generator[Progress, None, Drawn]:
    """Draw a region of the plane that was counted, beside the window.

    Parameters
    ----------
    key
        Of the image.
    counted
        The count.
    regions
        All of the image.
    seed
        Of the random numbers, see ``project.audits.new_seed``.
    """
    yield Progress(0, 0, "Drawing a region")
    plane, prediction = counted.plane, counted.prediction
    t, z, every_z = plane.index("T"), plane.index("Z"), plane.z_method == "projection"
    there = [r for r in regions if r.t == t and (every_z or r.z == z)]
    sums, diameter = region_sums(prediction), prediction.diameter_px
    avoid = [r.polygon for r in there if r.kind in AVOID]
    tissue = [r.polygon for r in there if r.kind == "tissue"]  # all else does not count
    box: Box = draw_apart(sums, prediction.image_shape, diameter, random_of(seed), avoid, tissue)
    corners = corners_of(box)
    yield Progress(0, 0, "Reading its pixels")
    shown = cut_out((yield from plane.iter_read()), box, diameter)
    region = Region(np.array(corners), "audit", audit_name(regions), id=seed, t=t, z=z)
    predicted = max(float(sums.over(corners)[0]), 0.0)
    return Drawn(key, region, shown, predicted, diameter, every_z)


class RegionAudit(QObject):
    """Draws a region, has it counted blind, and makes an edit of the answer.

    Parameters
    ----------
    viewer
        The napari viewer.
    jobs
        Those of the widget, which end with it.
    correcting
        Takes the edit.
    counted
        Gives the key of the image and the count of the plane in view, or None.
    host
        The widget, in whose place the person's count is asked for.
    """

    #: Key of an image that was audited.
    audited = Signal(str)

    def __init__(
        self,
        viewer: Any,
        jobs: Jobs,
        correcting: Correcting,
        counted: Callable[[], tuple[str, PlaneCount] | None],
        host: Docked,
    ) -> None:
        super().__init__(host)
        self.viewer, self._jobs, self._correcting = viewer, jobs, correcting
        self._counted, self._host = counted, host
        self.layers = AuditLayers(viewer)
        self.drawn: Drawn | None = None
        self._job: Job | None = None
        self._before: tuple[Any, Any, Any] | None = None
        self.button = QPushButton("Audit a region…")
        self.button.setToolTip(_TIP)
        self.button.setStyleSheet("padding: 3px 5px;")
        self.button.clicked.connect(self.start)
        self.outcome = wrapped(name="audit_outcome")
        self.section = BlindSection()
        self.section.setParent(host)
        self.section.hide()
        self.section.answered.connect(self.finish)
        self.section.cancelled.connect(self.cancel)
        self.section.undone.connect(self.undo)
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(30)  # a paste reports each dot
        self._follow.timeout.connect(self._count_dots)

    def show_ready(self, ready: bool) -> None:
        """Allow an audit, of a plane that was counted."""
        self.button.setEnabled(ready and self._job is None)

    def forget_outcome(self) -> None:
        """Say nothing more of the last one: another image is shown."""
        hint(self.outcome, "")

    # ---- a region ----

    @property
    def running(self) -> bool:
        """Whether a region is drawn or counted."""
        return self._job is not None or self.drawn is not None

    def start(self) -> None:
        """Draw a region of the plane in view, and show it."""
        found = self._counted()
        if self.running or found is None:
            return
        if any(own_role(layer) == "audit image" for layer in self.viewer.layers):
            hint(self.outcome, "Another audit is under way; end that first.")
            return
        key, counted = found
        work = self._correcting.work(key)
        if work is None or not self._correcting.catch(key):
            return
        hint(self.outcome, "")
        self.button.setEnabled(False)
        regions, seed = work.regions, new_seed()
        self._job = self._jobs.start(
            lambda: draw_job(key, counted, regions, seed),
            on_done=self._show,
            on_failed=self._failed,
            on_cancelled=self._not_drawn,
        )

    def _not_drawn(self) -> None:
        self._job = None
        self.button.setEnabled(True)

    def _failed(self, error: Exception) -> None:
        self._not_drawn()
        hint(self.outcome, sentence(error))

    def _show(self, drawn: Drawn) -> None:
        """Show the region, and nothing that could sway the answer."""
        self._not_drawn()
        if self._correcting.work(drawn.key) is None:  # closed meanwhile
            return
        self.drawn = drawn
        view, layers = camera(self.viewer), self.viewer.layers
        self._before = (view.center, view.zoom, layers.selection.active)
        points = self.layers.show(drawn.shown)
        take_in_hand(self.viewer, points)
        points.events.data.connect(self._dots_changed)
        layers.events.inserted.connect(self._inserted)
        self.section.begin()
        self._host.show_instead(self.section)
        self.viewer.bind_key("Enter", lambda _: self.finish(), overwrite=True)
        self.viewer.bind_key("Escape", lambda _: self.cancel(), overwrite=True)

    def _inserted(self, event: Any) -> None:
        """Keep hidden what a count or another widget shows meanwhile."""
        self.layers.cover(event.value)

    def _dots_changed(self, event: Any = None) -> None:
        self._follow.start()

    def _count_dots(self) -> None:
        """Follow the dots, unless a number was typed."""
        dots = self.layers.dots
        if dots is not None and not self.section.typed:
            inside = len(self.layers.positions())
            self.section.show_dots(inside, len(dots.data) - inside)

    def undo(self) -> None:
        """Take the last dot away."""
        if self.layers.dots is not None:
            undo_dot(self.layers.dots)

    # ---- the answer ----

    def finish(self) -> None:
        """Make an edit of the answer, and say how it compares with the model's."""
        drawn, correcting = self.drawn, self._correcting
        if drawn is None:
            return
        self._count_dots()  # a paste tells nobody
        number, yx = self.section.number, self.layers.positions()
        if number is None:
            self.section.say("Click the cells first, or type 0 if there is none.")
            return
        work = correcting.work(drawn.key)
        if work is None:
            self._end("The image was closed while you counted; nothing was kept.")
            return
        if not correcting.catch(drawn.key):
            return
        try:
            edit, found = audit_edit(
                drawn.region,
                work.dots,
                yx,
                counted=number if self.section.typed else None,
                predicted=drawn.predicted,
                diameter_px=drawn.diameter_px,
                author=correcting.author,
                label=correcting.current_class,
                every_z=drawn.every_z,
            )
        except UserError as error:
            self.section.say(sentence(error))
            return
        self._end(words(found))
        correcting.do(drawn.key, edit)
        self.audited.emit(drawn.key)

    def cancel(self) -> None:
        """Go back to what was shown before; nothing is changed."""
        if self.drawn is not None:
            self._end("Cancelled: nothing was changed.")

    def leave(self) -> None:
        """Do nothing more, and show what was hidden."""
        self._follow.stop()
        if self.drawn is not None:
            self._end("")

    def _end(self, message: str) -> None:
        self.drawn = None
        self.viewer.layers.events.inserted.disconnect(self._inserted)
        for key in ("Enter", "Escape"):
            self.viewer.bind_key(key, None, overwrite=True)
        self.layers.end()
        if self._before is not None:
            center, zoom, active = self._before
            view = camera(self.viewer)
            view.center, view.zoom = center, zoom
            if active is not None and active in self.viewer.layers:
                self.viewer.layers.selection.active = active
        self._host.show_instead(None)
        hint(self.outcome, message)

"""The *Explain* widget: why a count is what it is. It joins its sections, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QMenu

from celltally._napari.boxes_section import BoxesSection
from celltally._napari.clicks import Clicks
from celltally._napari.collecting import spare
from celltally._napari.compat import guard_drawing
from celltally._napari.contributions_section import ContributionsSection
from celltally._napari.controls import line
from celltally._napari.docked import Docked
from celltally._napari.explainer import Explainer
from celltally._napari.gallery_section import GallerySection
from celltally._napari.jobs import Jobs
from celltally._napari.layers import dots_layer
from celltally._napari.layers.pointed import place_in, pointed_dot
from celltally._napari.planes import key_of
from celltally._napari.saliency_section import SaliencySection
from celltally._napari.similarity_section import SimilaritySection
from celltally._napari.subject_section import SubjectSection

if TYPE_CHECKING:
    import napari

__all__ = ["ExplainWidget"]

#: Modes of a layer in which a click does not draw, add or remove something.
QUIET = ("pan_zoom", "select")


class ExplainWidget(Docked):
    """Explains the count of the image that is looked at.

    Parameters
    ----------
    napari_viewer
        The viewer whose counts are explained.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        guard_drawing(napari_viewer)
        spare(napari_viewer)
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self.explainer = Explainer(self.jobs)
        self.subject = SubjectSection(napari_viewer)
        self.gallery = GallerySection(self.explainer)
        self.contributions = ContributionsSection(napari_viewer, self.explainer)
        self.boxes = BoxesSection(napari_viewer, self.explainer)
        self.similarity = SimilaritySection(napari_viewer, self.explainer)
        self.saliency = SaliencySection(napari_viewer, self.jobs)
        self._line, self._last_line = line(), line()
        self._parts = (self.boxes, self.contributions, self.similarity)
        self.lay_out(
            *(self.subject, self._line, self.gallery, self.boxes, self.contributions),
            *(self.similarity, self._last_line, self.saliency),
        )
        self.subject.changed.connect(self._show)
        self.saliency.ended.connect(self._show)
        self.explainer.changed.connect(self._show_known)
        self.gallery.chosen.connect(self._chosen)
        self.contributions.chosen.connect(self.gallery.choose)
        self._scroll = QTimer(self)
        self._scroll.setSingleShot(True)  # later, for new bars have no place yet
        self._scroll.timeout.connect(lambda: self.bring_into_view(self.contributions.bars))
        self.contributions.shown.connect(lambda: self._scroll.start(0))
        self._menu: QMenu | None = None
        self.clicks = Clicks(napari_viewer, left=self._left, right=self._right, key=self._asked)
        self._show()
        self._hook_viewer()

    def _hook_viewer(self) -> None:
        """Follow the viewer for as long as the widget is there."""
        jobs, subject, boxes, clicks = self.jobs, self.subject, self.boxes, self.clicks

        def unhook(*_: object) -> None:
            jobs.stop()
            subject.disconnect_viewer()
            boxes.disconnect_viewer()
            clicks.disconnect_viewer()

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """Hear nothing more of the viewer, and end what runs."""
        self._unhook()

    def _show(self) -> None:
        """Show every section the count that is explained, or none where there is nothing."""
        subject = self.subject.subject
        for part in (self._line, self.gallery, self._last_line, self.saliency):
            part.setVisible(subject is not None or (part is self.saliency and part.running))
        self.saliency.show_subject(subject)
        self.explainer.show_subject(subject)

    def _show_known(self) -> None:
        """Show what is known by now of the count that is explained."""
        prototypes = self.explainer.known.prototypes
        there = prototypes is not None and bool(prototypes.kinds)
        for part in self._parts:
            part.setVisible(there)
        for part in (self.gallery, *self._parts):
            part.refresh()

    def _chosen(self) -> None:
        numbers = self.gallery.numbers
        if numbers and self.explainer.known.overview is None:
            self.explainer.explain()
        self.boxes.show_numbers(numbers)
        self.similarity.show_numbers(numbers)

    # ---- clicks ----

    def _ready(self) -> bool:
        """Whether there is something that a click could ask about."""
        prototypes = self.explainer.known.prototypes
        there = prototypes is not None and bool(prototypes.kinds)
        return there and self.isVisible()

    def _left(self, position: Sequence[float]) -> None:
        subject = self.explainer.subject
        active = self.viewer.layers.selection.active
        quiet = active is None or str(getattr(active, "mode", "pan_zoom")) in QUIET
        if not self._ready() or subject is None or not quiet:
            return
        place = place_in(subject.layer, subject.counted.plane, position)
        if place is not None:
            self.contributions.show_place(place)

    def _dot(self, position: Sequence[float]) -> tuple[float, float] | None:
        subject = self.explainer.subject
        if subject is None:
            return None
        dots = dots_layer(self.viewer.layers, key_of(subject.layer))
        reach = 0.5 * subject.counted.prediction.diameter_px
        return pointed_dot(dots, subject.layer, subject.counted.plane, position, reach)

    def _right(self, position: Sequence[float]) -> None:
        dot = self._dot(position) if self._ready() else None
        if dot is None:
            return
        self._menu = QMenu(self)
        action = self._menu.addAction("Why this dot?")
        action.triggered.connect(lambda: self.contributions.show_place(dot, dot=True))
        self._menu.popup(QCursor.pos())

    def _asked(self, position: Sequence[float]) -> None:
        subject = self.explainer.subject
        if not self._ready() or subject is None:
            return
        dot = self._dot(position)
        place = dot or place_in(subject.layer, subject.counted.plane, position)
        if place is not None:
            self.contributions.show_place(place, dot=dot is not None)

"""*Regions*: draw them, and read what is in them while they are drawn and moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox

from celltally._napari import region_report
from celltally._napari.controls import hint, wrapped
from celltally._napari.counting import PlaneCount
from celltally._napari.folding import FoldingSection
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.layers import (
    region_layer,
    regions_of,
    rename_region,
    set_region_kind,
    show_regions,
    state_count,
    tidy_regions,
)
from celltally._napari.measuring import Measuring, Row, uncounted
from celltally._napari.planes import Plane, key_of
from celltally._napari.region_export import RegionExport
from celltally._napari.region_summing import RegionSums
from celltally._napari.region_table import RegionTable
from celltally._napari.region_tools import TOOLS, RegionTools
from celltally.errors import UserError
from celltally.intervals import Measured
from celltally.types import Region

__all__ = ["RegionsSection"]

#: Milliseconds from a change until the figures follow, and how long they may take at once.
FOLLOW_AFTER, AT_ONCE = 25, 25
#: Milliseconds without a change until sums that take longer are begun, beside the window.
SETTLED = 300


class RegionsSection(FoldingSection):
    """Draws and measures the regions of the chosen image.

    Parameters
    ----------
    viewer
        The napari viewer.
    jobs
        Those of the widget, which end with it.
    plane
        Gives the plane in view; raises ``UserError`` where there is none.
    dots
        Gives the positions of the dots of the chosen image that were not removed.
    """

    #: What counts in the image has changed.
    corrected = Signal()
    #: Everything was summed anew.
    measured = Signal()

    def __init__(
        self,
        viewer: Any,
        jobs: Jobs,
        plane: Callable[[], Plane],
        dots: Callable[[], NDArray[np.float64]],
    ) -> None:
        super().__init__("Regions")
        self.viewer, self._plane_in_view, self._dots = viewer, plane, dots
        self._image: Image | None = None
        self._counted: PlaneCount | None = None
        self._layer: Shapes | None = None
        self._plane: Plane | None = None
        self._measuring: Measuring | None = None
        self._told: tuple[Measured, str] | None = None
        self._sums = RegionSums(jobs)
        self._sums.ready.connect(self._soon)
        self._sums.failed.connect(lambda words: hint(self.note_label, words))
        self._drawing = self._dots_moved = self._untidy = False
        self._level, self._pixel_um = 0.95, None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._follow)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLED)
        self._settled.timeout.connect(lambda: self._sums.add_up(self._measuring))
        self._build()
        self._show_rows()
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)

    def _build(self) -> None:
        self.toolbar = RegionTools()
        self.toolbar.taken.connect(lambda tool: self.use(tool or None))
        self.toolbar.kind_changed.connect(lambda: self._tidy())
        self.toolbar.delete_pressed.connect(lambda: self.delete())
        self.table = RegionTable()
        self.table.renamed.connect(self._renamed)
        self.table.kind_chosen.connect(self._kind_chosen)
        self.table.stated.connect(self._stated)
        self.table.chosen.connect(self._chosen)
        self.table.delete_pressed.connect(self.delete)
        self.sums_label = wrapped(name="region_sums")
        self.note_label = wrapped(name="region_note")
        self.frame_box = QCheckBox("Counting frame for dots")
        self.frame_box.setToolTip(
            "Count dots as in an unbiased counting frame: a cell on the upper or left side of a "
            "rectangle (or of the image) is in, one on the lower or right side is out. A cell is "
            "taken to be as wide as the cell diameter. Other shapes take a cell where its dot is. "
            "Counts by density do not change."
        )
        self.frame_box.toggled.connect(self._frame_toggled)
        self.out = RegionExport(self._records, self._outlines, self.note_label)
        self.copy_button, self.save_button = self.out.copy_button, self.out.save_button
        for part in (
            self.toolbar,
            self.table,
            self.sums_label,
            self.note_label,
            self.frame_box,
            self.out,
        ):
            self.body.addWidget(part)

    # ---- what it shows ----

    def show_image(self, image: Image | None, counted: PlaneCount | None) -> None:
        """Show the regions of an image; ``counted`` is None before it was counted."""
        self._image, self._counted = image, counted
        self.out.stem = Path(image.name).stem if image is not None else "image"
        self._sums.hold(None if counted is None else counted.prediction)
        self._measuring = self._told = None
        self._dots_moved = True
        self._layers_changed()
        if self._layer is not None and len(self._layer.data):
            self.unfold()

    def show_level(self, level: float) -> None:
        """Show intervals at another level."""
        self._level = level
        self._follow()

    def show_pixel_size(self, pixel_um: float | None) -> None:
        """Show areas with another pixel size."""
        if pixel_um != self._pixel_um:
            self._pixel_um = pixel_um
            self._show_rows()

    def dots_changed(self) -> None:
        """Count dots anew, soon."""
        self._dots_moved = True
        if self._layer is not None:
            self._soon()

    @property
    def correction(self) -> tuple[Measured, str] | None:
        """What counts in the image, and how that is said; None where nothing was corrected.

        While it is summed anew, what was told last.
        """
        measuring = self._measuring
        if measuring is None or not measuring.counted:
            return None
        found = measuring.image()
        if found is None:
            return self._told
        words = region_report.corrections(
            measuring.n_regions("exclude"),
            measuring.n_regions("reviewed", "audit"),
            measuring.n_stated,
        )
        return (found, words) if words else None

    @property
    def reviewed_share(self) -> float:
        """Share of the image, or of the tissue in it, that a human has reviewed."""
        found = self.sums()[0].measured if self.sums() else None
        if found is None or found.area_px <= 0:
            return 0.0
        return min(max(1 - found.open_px / found.area_px, 0.0), 1.0)

    def leave(self) -> None:
        """Do nothing more."""
        self._timer.stop()
        self._settled.stop()
        self.disconnect_viewer()

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer and the layer."""
        self.viewer.layers.events.inserted.disconnect(self._layers_changed)
        self.viewer.layers.events.removed.disconnect(self._layers_changed)
        self._hear(None)

    # ---- the layer ----

    def _layers_changed(self, event: Any = None) -> None:
        image = self._image
        layer = None if image is None else region_layer(self.viewer.layers, key_of(image))
        if layer is not self._layer:
            self._watch(layer)
        self.toolbar.show_usable(image=image is not None, layer=self._layer is not None)
        self._soon()

    def _watch(self, layer: Shapes | None) -> None:
        """Follow this layer, and no other."""
        self._hear(layer)
        self._drawing = False
        self._mode_changed()

    def _hear(self, layer: Shapes | None) -> None:
        """Hear of every change of this layer, and of no other."""
        for old, connect in ((self._layer, False), (layer, True)):
            if old is None:
                continue
            heard = (
                (old.events.set_data, self._changed),
                (old.events.features, self._features_changed),
                (old.events.data, self._edited),
                (old.events.mode, self._mode_changed),
            )
            for event, callback in heard:
                if connect:
                    event.connect(callback)
                else:
                    event.disconnect(callback)
        self._layer = layer

    def _changed(self, event: Any = None) -> None:
        self._soon()

    def _features_changed(self, event: Any = None) -> None:
        self._untidy = True
        self._soon()

    def _edited(self, event: Any) -> None:
        # Between these two the user draws, and napari would not have its shapes changed.
        action = getattr(event.action, "value", event.action)
        self._drawing, self._untidy = action in ("adding", "removing"), True
        self._soon()

    def _mode_changed(self, event: Any = None) -> None:
        self.toolbar.show_mode(None if self._layer is None else str(self._layer.mode))
        self._untidy = True
        self._soon()

    def use(self, tool: str | None) -> None:
        """Take a tool in hand, one of ``TOOLS``; None puts it away."""
        if self._image is None:
            return
        try:
            plane = self._plane_in_view()
        except UserError as error:
            hint(self.note_label, str(error))
            self._mode_changed()
            return
        layer = show_regions(self.viewer, self._image, plane)
        if layer is not self._layer:
            self._watch(layer)
        self.toolbar.show_usable(image=True, layer=True)
        self._tidy()
        self.viewer.layers.selection.active = layer
        layer.mode = "pan_zoom" if tool is None else TOOLS[tool]

    def _tidy(self) -> None:
        if self._layer is not None and not self._drawing:
            tidy_regions(self._layer, self.toolbar.kind)
            self._untidy = False

    def delete(self) -> None:
        """Delete the regions that are chosen."""
        if self._layer is not None and not self._drawing:
            self._layer.remove_selected()

    def _renamed(self, index: int, name: str) -> None:
        if self._layer is not None and not self._drawing:
            rename_region(self._layer, index, name)

    def _kind_chosen(self, index: int, kind: str) -> None:
        if self._layer is not None and not self._drawing:
            set_region_kind(self._layer, index, kind)

    def _stated(self, index: int, stated: float) -> None:
        if self._layer is not None and not self._drawing:
            state_count(self._layer, index, None if stated < 0 else stated)

    def _chosen(self, indices: list[int]) -> None:
        layer = self._layer
        if layer is None or self._drawing or set(indices) == set(layer.selected_data):
            return
        self.viewer.layers.selection.active = layer
        layer.mode = "select"
        layer.selected_data = set(indices)

    # ---- figures ----

    def _soon(self) -> None:
        """Follow soon; what happens in between is followed at once."""
        if not self._timer.isActive():
            self._timer.start(FOLLOW_AFTER)

    def _follow(self) -> None:
        started = time.perf_counter()
        try:
            done = self._measure()
        except Exception as error:  # Qt would end the program
            hint(self.note_label, sentence(error))
            return
        if not done:  # the window is painted in between
            self._timer.start(round(1e3 * (time.perf_counter() - started)) // 2)

    def _measure(self) -> bool:
        """Bring figures up to date; whether that is done."""
        layer, measuring = self._layer, self._ready_measuring()
        if layer is None or measuring is None or self._plane is None:
            if layer is None:
                self._measuring = None
            self._show_rows()
            self._tell_image()
            self.measured.emit()
            return True
        if self._untidy:
            self._tidy()
        measuring.set_regions(regions_of(layer, self._plane))
        measuring.frame = self.frame_box.isChecked()
        if self._dots_moved:
            measuring.set_dots(self._dots() if measuring.counted else ())
            self._dots_moved = False
        waits = measuring.counted and not self._sums.has(measuring.prediction)
        if waits and len(layer.data):
            self._sums.prepare(measuring.prediction)
            self._show_rows()
            return True
        done = measuring.measure(self._level, AT_ONCE / 1e3)
        self._show_rows()
        if done:
            self._tell_image()
            self.measured.emit()
            if measuring.left() is not None:
                self._settled.start()
        return done

    @property
    def settled(self) -> bool:
        """Whether all figures have followed."""
        timers = self._timer.isActive() or self._settled.isActive()
        return not timers and not self._sums.busy

    def _ready_measuring(self) -> Measuring | None:
        """Return what sums up the plane that was counted, or else the one in view."""
        if self._counted is not None:
            if self._measuring is None:
                self._plane = self._counted.plane
                self._measuring = Measuring(self._counted.prediction)
                self._dots_moved = True
            return self._measuring
        try:
            self._plane = None if self._image is None else self._plane_in_view()
        except UserError:
            self._plane = None
        shape = None if self._plane is None else self._plane.shape
        if shape is None:
            self._measuring = None
        elif self._measuring is None or self._measuring.prediction.image_shape != shape:
            self._measuring = Measuring(uncounted(shape), counted=False)
        return self._measuring

    def _tell_image(self) -> None:
        """Say that what counts in the image has changed, where it has."""
        correction = self.correction
        if correction != self._told:
            self._told = correction
            self.corrected.emit()

    def rows(self) -> list[Row]:
        """Return what the table shows."""
        return [] if self._measuring is None else self._measuring.rows(self._level)

    def sums(self) -> list[Row]:
        """Return what is said below the table."""
        return [] if self._measuring is None else self._measuring.sums(self._level)

    def _show_rows(self) -> None:
        rows = self.rows() if self._layer is not None else []
        there = bool(rows)
        for part in (self.table, self.frame_box, self.out):
            part.setVisible(there)
        for button in (self.copy_button, self.save_button):
            button.setEnabled(self._counted is not None)
        sums = self.sums() if there else []
        if not self.table.editing:
            self.table.show_rows(rows, self._level, self._pixel_um)
            if self._layer is not None:
                self.table.choose([int(i) for i in self._layer.selected_data])
        words = [region_report.sentence_of(row, self._level, self._pixel_um) for row in sums]
        hint(self.sums_label, "\n".join(line for line in words if line))
        n = 0 if self._layer is None else len(self._layer.data)
        notes = region_report.notes(rows, sums, self._counted, self._plane, n)
        hint(self.note_label, "\n".join(notes))

    def _frame_toggled(self, on: bool) -> None:
        self._soon()

    # ---- out of napari ----

    def _records(self) -> list[dict[str, str]]:
        return region_report.records(
            [*self.rows(), *self.sums()],
            self._counted,
            self._level,
            self._pixel_um,
            frame=self.frame_box.isChecked(),
        )

    def _outlines(self) -> list[Region]:
        if self._layer is None or self._plane is None:
            return []
        return [region for _, region in regions_of(self._layer, self._plane)]

"""*Image*: which layer, channel and plane; pixel size; cell diameter and its ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QPushButton

from celltally._napari import checks
from celltally._napari.controls import Section, hint, spread, text, wrapped
from celltally._napari.counting import Looked, look_job
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.layers import own_role, ring_layer, show_ring
from celltally._napari.planes import (
    Plane,
    channel_choices,
    key_of,
    pixel_size_um,
    plane_at,
    plane_in_view,
)
from celltally._napari.scope import IN_VIEW, Choice, Scope, choices
from celltally._napari.texts import short
from celltally.errors import UserError

__all__ = ["ImageSection"]

#: Letters of a layer's name that its field has room for.
NAME_LENGTH = 24


@dataclass
class _Choice:
    """What the user chose (or we guessed) for one image."""

    channel: str | int | None = None
    channel_chosen: bool = False
    scope: Scope = IN_VIEW
    pixel_um: float | None = None
    diameter_px: float | None = None
    typed: bool = False
    looked: bool = False
    looking: Plane | None = None  # what is being looked at
    seen: Looked | None = None  # what the last look gave


class ImageSection(Section):
    """Chooses what is counted.

    ``image_changed`` is emitted for another layer, ``changed`` for anything.
    """

    image_changed = Signal()
    changed = Signal()

    def __init__(self, viewer: Any, jobs: Jobs) -> None:
        super().__init__("Image")
        self._viewer = viewer
        self._jobs = jobs
        self._choices: dict[str, _Choice] = {}
        self._shown: str | None = None
        self._build()
        viewer.layers.events.inserted.connect(self.refresh)
        viewer.layers.events.removed.connect(self.refresh)
        viewer.dims.events.current_step.connect(self._view_moved)
        viewer.dims.events.ndisplay.connect(self._view_moved)
        viewer.dims.events.order.connect(self._view_moved)
        self.refresh()

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer and its layers."""
        self._viewer.layers.events.inserted.disconnect(self.refresh)
        self._viewer.layers.events.removed.disconnect(self.refresh)
        self._viewer.dims.events.current_step.disconnect(self._view_moved)
        self._viewer.dims.events.ndisplay.disconnect(self._view_moved)
        self._viewer.dims.events.order.disconnect(self._view_moved)
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self._renamed)

    def _build(self) -> None:
        self.layer_box = QComboBox()
        self.layer_box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.layer_box.setMinimumContentsLength(12)
        self.layer_box.currentIndexChanged.connect(self._layer_chosen)
        self.channel_box = QComboBox()
        self.channel_box.setToolTip("Which colour or channel of the image is counted.")
        self.channel_box.currentIndexChanged.connect(self._channel_chosen)
        self.plane_label = text()
        self.plane_label.setToolTip("The plane in view; move the sliders to change it.")
        self.planes_box = QComboBox()
        self.planes_box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.planes_box.setMinimumContentsLength(12)
        self.planes_box.currentIndexChanged.connect(self._scope_chosen)
        self.pixel_edit = _spin("µm", 4, 1e5, 0.01, unset="not known")
        self.pixel_edit.setToolTip(
            "Width of one pixel in micrometres. Only needed to read and type sizes in µm."
        )
        self.pixel_edit.valueChanged.connect(self._pixel_typed)
        self.diameter_edit = _spin("px", 1, 1e5, 1.0, unset="not set")
        self.diameter_edit.setToolTip(
            "Typical width of one cell in pixels. It is estimated from the image; "
            "compare it with the ring and correct it."
        )
        self.diameter_edit.valueChanged.connect(self._diameter_typed)
        self.micron_edit = _spin("µm", 2, 1e6, 1.0, unset="–")
        self.micron_edit.setToolTip("The same width in micrometres.")
        self.micron_edit.valueChanged.connect(self._microns_typed)
        self.estimate_button = QPushButton("Estimate")
        self.estimate_button.setToolTip("Estimate the cell diameter from the plane in view.")
        self.estimate_button.clicked.connect(self.estimate)
        self.ring_box = QCheckBox("Show as a ring")
        self.ring_box.setToolTip(
            "Draw a ring of this width in the middle of the view, to compare it with a cell."
        )
        self.ring_box.toggled.connect(self._ring_toggled)
        self.note = wrapped(name="image_note")
        self.add_row("Layer", self.layer_box)
        self.channel_row = self.add_row("Channel", self.channel_box)
        self.plane_row = self.add_row("In view", self.plane_label)
        self.planes_row = self.add_row("Planes", self.planes_box)
        self.add_row("Pixel size", self.pixel_edit)
        self.add_row("Cell diameter", spread(self.diameter_edit, self.micron_edit))
        self.add_row("", spread(self.ring_box, self.estimate_button, stretch=0))
        self.column.addWidget(self.note)

    # ---- what is chosen ----

    @property
    def layer(self) -> Image | None:
        """The chosen image layer, if it is still there."""
        key = self.layer_box.currentData()
        for layer in self._viewer.layers:
            if key_of(layer) == key:
                return layer
        return None

    @property
    def diameter_px(self) -> float | None:
        """Cell diameter in image pixels, None where nothing is set."""
        return self.diameter_edit.value() or None

    @property
    def scope(self) -> Scope:
        """Which planes of the image are counted."""
        return self._choice.scope if self._choice is not None else IN_VIEW

    @property
    def seen(self) -> Looked | None:
        """What looking at the image gave, None where that is not known (any more)."""
        return self._choice.seen if self._choice is not None else None

    @property
    def pixel_um(self) -> float | None:
        """Pixel size in micrometres, None where not known."""
        return self.pixel_edit.value() or None

    @property
    def says_why(self) -> bool:
        """Whether the section itself says why nothing can be counted."""
        return self.layer is None or (self.diameter_px is None and bool(self.note.text()))

    @property
    def busy(self) -> bool:
        """Whether the diameter is still being estimated."""
        choice = self._choice
        return choice is not None and not choice.looked

    def restore_diameter(self, key: str, diameter_px: float) -> None:
        """Take the diameter over that an image was counted with before."""
        choice = self._choices.get(key)
        if choice is not None and not choice.typed:
            choice.diameter_px, choice.typed = diameter_px, True
            if key == self._shown:
                self._show_diameter()
                self._diameter_known()

    def plane(self) -> Plane:
        """Return the plane to count.

        Raises
        ------
        UserError
            When there is none.
        """
        layer = self.layer
        if layer is None:
            raise UserError("Open an image first: there is no image layer to count.")
        return plane_in_view(layer, self._viewer.dims, self._choices[key_of(layer)].channel)

    def problem(self) -> str | None:
        """Say what keeps this from being counted, or None."""
        try:
            plane = self.plane()
        except UserError as error:
            return str(error)
        if self.busy and self.diameter_px is None:
            return "Please wait: the cell diameter is being estimated."
        return checks.diameter_problem(self.diameter_px, plane.shape)

    @property
    def _choice(self) -> _Choice | None:
        return self._choices.get(self._shown) if self._shown is not None else None

    # ---- the viewer changed ----

    def refresh(self, event: Any = None) -> None:
        """List the image layers that are there; a new one is chosen."""
        images = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and own_role(layer) is None
        ]
        keys = [key_of(layer) for layer in images]
        known = [self.layer_box.itemData(i) for i in range(self.layer_box.count())]
        fresh = [key for key in keys if key not in known]
        chosen = self.layer_box.currentData()
        with QSignalBlocker(self.layer_box):
            self.layer_box.clear()
            for layer, key in zip(images, keys, strict=True):
                self.layer_box.addItem(short(layer.name, NAME_LENGTH), key)
                layer.events.name.disconnect(self._renamed)
                layer.events.name.connect(self._renamed)
            if not images:
                self.layer_box.addItem("no image is open", None)
            wanted = fresh[-1] if fresh else chosen
            self.layer_box.setCurrentIndex(keys.index(wanted) if wanted in keys else 0)
        self.layer_box.setEnabled(bool(images))
        if self.layer_box.currentData() != self._shown or not images:
            self._layer_chosen()

    def _renamed(self, event: Any = None) -> None:
        for layer in self._viewer.layers:
            row = self.layer_box.findData(key_of(layer))
            if row >= 0:
                self.layer_box.setItemText(row, short(layer.name, NAME_LENGTH))

    def _view_moved(self, event: Any = None) -> None:
        self._show_plane()
        if self.ring_box.isChecked():
            self._draw_ring()
        self.changed.emit()

    # ---- another layer ----

    def _layer_chosen(self, index: int = 0) -> None:
        self._remove_ring()
        layer = self.layer
        self._shown = None if layer is None else key_of(layer)
        if layer is not None and self._shown not in self._choices:
            self._choices[self._shown] = _Choice(pixel_um=pixel_size_um(layer))
        self._show_choice()
        self._show_plane()
        if self.ring_box.isChecked():
            self._draw_ring()
        choice = self._choice
        if choice is not None and not choice.looked:
            self.estimate()
        self.image_changed.emit()
        self.changed.emit()

    def _show_choice(self) -> None:
        layer, choice = self.layer, self._choice
        self._show_channel()
        self._show_scope()
        with QSignalBlocker(self.pixel_edit):
            self.pixel_edit.setValue((choice and choice.pixel_um) or 0)
        self._show_diameter()
        for part in (self.pixel_edit, self.diameter_edit, self.ring_box):
            part.setEnabled(layer is not None)
        self._show_looking()
        hint(
            self.note,
            ""
            if layer is not None
            else "Open an image (drag a file into the window), or take "
            "one from File → Open Sample → Cell Tally.",
        )

    def _show_channel(self) -> None:
        layer, choice = self.layer, self._choice
        options = channel_choices(layer) if layer is not None else []
        with QSignalBlocker(self.channel_box):
            self.channel_box.clear()
            for text, value in options:
                self.channel_box.addItem(text, value)
            if choice is not None and options:
                values = [value for _, value in options]
                self.channel_box.setCurrentIndex(
                    values.index(choice.channel) if choice.channel in values else 0
                )
        self.channel_row.setVisible(bool(options))

    def _show_scope(self) -> None:
        options = self._scopes()
        with QSignalBlocker(self.planes_box):
            self.planes_box.clear()
            for option in options:
                self.planes_box.addItem(option.words, option.scope)
                self.planes_box.setItemData(self.planes_box.count() - 1, option.tip, 3)
            scopes = [option.scope for option in options]
            self.planes_box.setCurrentIndex(scopes.index(self.scope) if self.scope in scopes else 0)
        self.planes_row.setVisible(len(options) > 1)
        self._explain_scope(options)

    def _scopes(self) -> list[Choice]:
        layer = self.layer
        if layer is None or layer.ndim <= 2:
            return []
        plane = plane_at(layer, (0,) * (layer.ndim - 2))
        return choices(plane.axes, plane.data.shape)

    def _explain_scope(self, options: list[Choice]) -> None:
        tip = next((option.tip for option in options if option.scope == self.scope), "")
        self.planes_box.setToolTip(f"Which planes are counted, and how. {tip}".strip())

    def _scope_chosen(self, index: int) -> None:
        scope = self.planes_box.itemData(index)
        if self._choice is not None and isinstance(scope, Scope):
            self._choice.scope = scope
            self._explain_scope(self._scopes())
            self.changed.emit()

    def _show_plane(self) -> None:
        try:
            words = self.plane().text
        except UserError:
            words = "–"
        self.plane_label.setText(words)
        self.plane_row.setVisible(bool(words) and self.layer is not None)

    def _channel_chosen(self, index: int) -> None:
        if self._choice is None:
            return
        self._choice.channel = self.channel_box.itemData(index)
        self._choice.channel_chosen, self._choice.seen = True, None
        self._look(keep=True)
        self.changed.emit()

    # ---- diameter ----

    def estimate(self, *_: object) -> None:
        """Estimate the diameter beside the window."""
        self._look(keep=False)

    def _look(self, *, keep: bool) -> None:
        """Look at the image beside the window; a typed diameter may be kept."""
        key, choice = self._shown, self._choice
        if key is None or choice is None:
            return
        try:
            plane = self.plane()
        except UserError as error:
            choice.looked = True
            hint(self.note, str(error))
            return
        choice.looked, choice.looking, choice.seen = False, plane, None
        choice.typed = choice.typed and keep
        guess = plane.rgb and not choice.channel_chosen
        self._show_looking()

        def done(looked: Looked) -> None:
            if choice.looking is not plane:
                return  # another channel or plane is being looked at by now
            choice.looked, choice.looking, choice.seen = True, None, looked
            if looked.diameter_px is not None and not choice.typed:
                choice.diameter_px = looked.diameter_px
            if guess and not choice.channel_chosen:
                choice.channel = looked.channel
            self._looked(
                key,
                ""
                if choice.diameter_px is not None
                else "The cell diameter could not be estimated: measure one cell and type it in.",
            )

        def failed(error: Exception) -> None:
            if choice.looking is not plane:
                return
            choice.looked, choice.looking = True, None
            self._looked(key, sentence(error))

        self._jobs.start(lambda: look_job(plane, guess=guess), on_done=done, on_failed=failed)

    def _looked(self, key: str, sentence: str) -> None:
        if key != self._shown:
            return
        self._show_looking()
        hint(self.note, sentence)
        self._show_channel()
        self._show_diameter()
        self._draw_ring_if_wanted()
        self.changed.emit()

    def _show_looking(self) -> None:
        looking = self._choice is not None and self._choice.looking is not None
        self.estimate_button.setText("Estimating…" if looking else "Estimate")
        self.estimate_button.setEnabled(self.layer is not None and not looking)

    def _show_diameter(self) -> None:
        choice = self._choice
        diameter = choice.diameter_px if choice else None
        pixel = choice.pixel_um if choice else None
        with QSignalBlocker(self.diameter_edit), QSignalBlocker(self.micron_edit):
            self.diameter_edit.setValue(diameter or 0)
            self.micron_edit.setValue(diameter * pixel if diameter and pixel else 0)
        self.micron_edit.setEnabled(bool(pixel))

    def _pixel_typed(self, value: float) -> None:
        if self._choice is not None:
            self._choice.pixel_um = value or None
            self._show_diameter()
            self.changed.emit()

    def _diameter_typed(self, value: float) -> None:
        if self._choice is not None:
            self._choice.diameter_px, self._choice.typed = value or None, True
            self._show_diameter()
            self._diameter_known()

    def _microns_typed(self, value: float) -> None:
        choice = self._choice
        if choice is not None and choice.pixel_um:
            choice.diameter_px, choice.typed = value / choice.pixel_um or None, True
            with QSignalBlocker(self.diameter_edit):
                self.diameter_edit.setValue(choice.diameter_px or 0)
            self._diameter_known()

    def _diameter_known(self) -> None:
        hint(self.note, "")  # it may have asked for a diameter
        self._draw_ring_if_wanted()
        self.changed.emit()

    # ---- ring ----

    def _ring_toggled(self, on: bool) -> None:
        if on:
            self._draw_ring()
        else:
            self._remove_ring()

    def _draw_ring_if_wanted(self) -> None:
        if self.ring_box.isChecked():
            self._draw_ring()

    def _draw_ring(self) -> None:
        layer, diameter = self.layer, self.diameter_px
        if layer is None or diameter is None:
            return
        try:
            plane = self.plane()
        except UserError:
            return
        show_ring(self._viewer, layer, plane, diameter)

    def _remove_ring(self) -> None:
        if self._shown is None:
            return
        ring = ring_layer(self._viewer.layers, self._shown)
        if ring is not None:
            self._viewer.layers.remove(ring)


def _spin(unit: str, decimals: int, most: float, step: float, *, unset: str) -> QDoubleSpinBox:
    """Return a field for a size above zero; 0 reads as ``unset``."""
    field = QDoubleSpinBox()
    field.setDecimals(decimals)
    field.setRange(0.0, most)
    field.setSingleStep(step)
    field.setSuffix(f" {unit}")
    field.setSpecialValueText(unset)
    field.setKeyboardTracking(False)
    field.setMinimumWidth(70)
    field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
    return field

"""*Images*: which ones regions are drawn from, and how these are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFileDialog, QLineEdit, QPushButton

from celltally._napari.controls import Section, spread, text
from celltally._napari.export import image_name
from celltally._napari.layers import own_role
from celltally._napari.planes import Plane, plane_in_view
from celltally._napari.texts import short
from celltally.errors import UserError

__all__ = ["AuditSetupSection"]

#: Letters of a folder's name that its field has room for.
NAME_LENGTH = 26


class AuditSetupSection(Section):
    """Chooses the images; ``changed`` is emitted for any other choice.

    Parameters
    ----------
    viewer
        Whose layers may be audited.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("Images")
        self._viewer = viewer
        self.folder = ""
        self.source_box = QComboBox()
        self.source_box.addItem("of a folder", "folder")
        self.source_box.addItem("that are open", "layers")
        self.source_box.setToolTip(
            "All images of a folder, or the planes in view of all image layers. The more of "
            "your microscope they show, the better: regions are drawn from all of them."
        )
        self.folder_button = QPushButton("Choose…")
        self.folder_button.clicked.connect(self._ask)
        self.folder_label = text("no folder yet", name="audit_folder")
        self.units_box = QComboBox()
        self.units_box.addItem("every image", "images")
        self.units_box.addItem("the well in its name", "wells")
        self.units_box.setToolTip(
            "Images of one well are alike, and one more of them tells little. Where names have "
            "wells in them, such as B07, take these: 19 wells are then needed."
        )
        self.channel_edit = QLineEdit()
        self.channel_edit.setPlaceholderText("guessed")
        self.channel_edit.setToolTip("Name or number (from 0) of the channel that is counted.")
        self.diameter_edit = QDoubleSpinBox()
        self.diameter_edit.setRange(0.0, 1e5)
        self.diameter_edit.setDecimals(1)
        self.diameter_edit.setSuffix(" px")
        self.diameter_edit.setSpecialValueText("estimated")
        self.diameter_edit.setToolTip(
            "Cell diameter in pixels. Leave it estimated if you count with estimates, and type "
            "it if you will type the same one when you count."
        )
        self.add_row("Images", self.source_box)
        self.folder_row = self.add_row(
            "Folder", spread(self.folder_label, self.folder_button, stretch=0)
        )
        self.add_row("Independent is", self.units_box)
        self.channel_row = self.add_row("Channel", self.channel_edit)
        self.add_row("Cell diameter", self.diameter_edit)
        self.source_box.currentIndexChanged.connect(self._source_chosen)
        for signal in (
            self.units_box.currentIndexChanged,
            self.channel_edit.textChanged,
            self.diameter_edit.valueChanged,
        ):
            signal.connect(lambda *_: self.changed.emit())
        viewer.layers.events.inserted.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layers_changed)

    def disconnect_viewer(self) -> None:
        """Hear nothing more of the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._layers_changed)
        self._viewer.layers.events.removed.disconnect(self._layers_changed)

    @property
    def of_folder(self) -> bool:
        """Whether the images are those of a folder."""
        return bool(self.source_box.currentData() == "folder")

    @property
    def units(self) -> str:
        """What is independent: ``images`` or ``wells``."""
        return str(self.units_box.currentData())

    @property
    def channel(self) -> str | None:
        """Channel as typed; None to guess it."""
        return (self.channel_edit.text().strip() or None) if self.of_folder else None

    @property
    def diameter_px(self) -> float | None:
        """Cell diameter; None to estimate it."""
        return self.diameter_edit.value() or None

    def choose_folder(self, folder: str) -> None:
        """Take the images of a folder from now on."""
        self.folder = folder
        self.folder_label.setText(short(Path(folder).name, NAME_LENGTH) or "no folder yet")
        self.folder_label.setToolTip(folder)
        self.changed.emit()

    def planes(self) -> list[tuple[str, Plane]]:
        """Planes in view of the open images, each with a name of its own.

        Raises
        ------
        UserError
            When the viewer shows something else than planes.
        """
        planes: dict[str, Plane] = {}
        for layer in self._images():
            plane = plane_in_view(layer, self._viewer.dims)
            name = f"{image_name(layer)}{f' {plane.text}' if plane.text else ''}"
            again = sum(other.split(" #")[0] == name for other in planes)
            planes[f"{name} #{again + 1}" if again else name] = plane
        return list(planes.items())

    @property
    def source(self) -> str:
        """Where the images are, in words that stay the same."""
        if self.of_folder:
            return str(Path(self.folder).resolve())
        return "open images: " + ", ".join(name for name, _ in self.planes())

    def problem(self) -> str | None:
        """Say what keeps these from being audited, or None."""
        if self.of_folder:
            return None if self.folder else "Choose a folder with images of your microscope."
        if not self._images():
            return "Open images of your microscope first, or choose a folder of them."
        try:
            self.planes()
        except UserError as error:
            return str(error)
        return None

    def _images(self) -> list[Image]:
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and own_role(layer) is None
        ]

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Images of your microscope", self.folder)
        if folder:
            self.choose_folder(folder)

    def _source_chosen(self, index: int) -> None:
        self.folder_row.setVisible(self.of_folder)
        self.channel_row.setVisible(self.of_folder)
        self.changed.emit()

    def _layers_changed(self, event: Any = None) -> None:
        if not self.of_folder:
            self.changed.emit()

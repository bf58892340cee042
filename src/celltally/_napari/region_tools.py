"""The tools that regions are drawn with, and for what the next one is."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from celltally._napari.controls import LABEL_WIDTH, spread, text
from celltally.types import RegionKind

__all__ = ["TOOLS", "RegionTools"]

#: What the buttons say, and the mode of the layer that they begin.
TOOLS = {
    "Rectangle": "add_rectangle",
    "Ellipse": "add_ellipse",
    "Polygon": "add_polygon",
    "Freehand": "add_polygon_lasso",
    "Move": "select",
}
_TIPS = {
    "Rectangle": "Drag from corner to corner. Intervals are calibrated on rectangles.",
    "Ellipse": "Drag from corner to corner of the box around it.",
    "Polygon": "Click corner by corner; double-click ends it.",
    "Freehand": "Drag round it, or click, move round it, and click again.",
    "Move": "Drag a region to move it, its handles to change it; the Delete key deletes it. "
    "Napari's tools for single corners are in the layer's controls.",
}
KINDS: dict[str, RegionKind] = {
    "count": "count",
    "exclude": "exclude",
    "tissue": "tissue",
    "reviewed": "reviewed",
}
_KIND_TIPS = (
    "Cells in it are counted, beside those of the whole image.",
    "Nothing in it counts: artefacts, folds, edges.",
    "Areas, and cells per mm², are those of the tissue.",
    "You looked at all of it and its dots are right: they count there instead of the density.",
)


class RegionTools(QWidget):
    """Buttons for drawing regions.

    ``taken`` tells which of ``TOOLS`` is taken in hand, "" for none; ``kind_changed`` that the
    next region is for something else; ``delete_pressed`` that those chosen are to go.
    """

    taken = Signal(str)
    kind_changed = Signal()
    delete_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.kind_box = QComboBox()
        for (name, kind), tip in zip(KINDS.items(), _KIND_TIPS, strict=True):
            self.kind_box.addItem(name, kind)
            self.kind_box.setItemData(self.kind_box.count() - 1, tip, 3)  # its tooltip
        self.kind_box.setToolTip("What the next region is for.")
        self.kind_box.currentIndexChanged.connect(lambda _: self.kind_changed.emit())
        label = text("Kind of region")
        label.setFixedWidth(LABEL_WIDTH)
        self.buttons = {name: QPushButton(name) for name in TOOLS}
        for name, button in self.buttons.items():
            button.setCheckable(True)
            button.setToolTip(_TIPS[name])
            button.setStyleSheet("padding: 3px 5px;")
            button.clicked.connect(lambda on, name=name: self.taken.emit(name if on else ""))
        self.delete_button = QPushButton("Delete")
        self.delete_button.setToolTip("Delete the regions that are chosen.")
        self.delete_button.clicked.connect(lambda: self.delete_pressed.emit())
        buttons = [*self.buttons.values(), self.delete_button]
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        for row in (
            spread(label, self.kind_box, stretch=1), spread(*buttons[:3]), spread(*buttons[3:]),
        ):  # fmt: skip
            column.addWidget(row)

    @property
    def kind(self) -> RegionKind:
        """What the next region is for."""
        kind: RegionKind = self.kind_box.currentData()
        return kind

    def show_usable(self, *, image: bool, layer: bool) -> None:
        """Know whether there is an image to draw in, and a layer to delete from."""
        for button in self.buttons.values():
            button.setEnabled(image)
        self.delete_button.setEnabled(layer)

    def show_mode(self, mode: str | None) -> None:
        """Show which tool is in hand: that of a layer's mode."""
        for name, button in self.buttons.items():
            with QSignalBlocker(button):
                button.setChecked(TOOLS[name] == mode)

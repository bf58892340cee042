"""*Count this region* of a single audit: *Done* and *Cancel*."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton

from celltally._napari.controls import spread
from celltally._napari.count_section import PRIMARY
from celltally._napari.region_count import RegionCount

__all__ = ["BlindSection"]

_HINTS = (
    "A right click on a dot takes it away, as the Delete key does; Ctrl-Z takes the last one away. "
    "What the model found is shown when you are done."
)


class BlindSection(RegionCount):
    """Takes a person's count of one region, while all else is hidden."""

    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__(_HINTS)
        self.done_button = QPushButton("Done (Enter)")
        self.done_button.setStyleSheet(PRIMARY)
        self.done_button.setToolTip("Keep the count, and compare it with the model's.")
        self.done_button.clicked.connect(lambda: self.answered.emit())
        self.cancel_button = QPushButton("Cancel (Esc)")
        self.cancel_button.setToolTip("Go back; nothing is changed.")
        self.cancel_button.clicked.connect(lambda: self.cancelled.emit())
        self.column.addWidget(spread(self.done_button, self.cancel_button, stretch=0))
        self.column.addStretch(1)
        self.add_key(Qt.Key.Key_Escape, self.cancelled)
        self.column.setContentsMargins(8, 8, 8, 8)

    def begin(self) -> None:
        """Be ready for another region."""
        self.show_number(None)
        self.say("")

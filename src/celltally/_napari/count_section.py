"""The *Count* button with its progress bar and *Cancel*."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton

from celltally._napari.run_section import RunSection

__all__ = ["CountSection"]


#: The one button that everything leads to.
PRIMARY = (
    "QPushButton { font-weight: bold; padding: 7px; background: #3565c9; color: white; }"
    "QPushButton:hover { background: #4676da; }"
    "QPushButton:disabled { background: rgba(128, 128, 128, 60); color: gray; }"
)


class CountSection(RunSection):
    """Starts and ends a count."""

    def __init__(self) -> None:
        super().__init__("Count", "Count the cells of the plane in view.", "Counting")
        self.button.setStyleSheet(PRIMARY)

    @property
    def count_button(self) -> QPushButton:
        """The button."""
        return self.button

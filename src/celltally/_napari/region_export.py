"""Regions on their way out of napari: the table copied or saved, and the outlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from celltally._napari import region_report
from celltally._napari.controls import hint
from celltally._napari.jobs import sentence
from celltally.io import write_regions
from celltally.types import Region

__all__ = ["RegionExport"]


class RegionExport(QWidget):
    """Buttons that copy and save what the table of regions shows.

    Parameters
    ----------
    records
        Gives the rows of the table as plain figures.
    outlines
        Gives the regions.
    note
        Says what went wrong.
    """

    def __init__(
        self,
        records: Callable[[], list[dict[str, str]]],
        outlines: Callable[[], list[Region]],
        note: QLabel,
    ) -> None:
        super().__init__()
        self._records, self._outlines, self._note = records, outlines, note
        #: What the names of files begin with.
        self.stem = "image"
        self.copy_button = QPushButton("Copy")
        self.copy_button.setToolTip("Copy the table, for a spreadsheet.")
        self.copy_button.clicked.connect(self.copy)
        self.save_button = QPushButton("Save table…")
        self.save_button.setToolTip("Save the table as a CSV file.")
        self.save_button.clicked.connect(lambda: self._ask("region counts", "csv", self.save))
        self.shapes_button = QPushButton("Save shapes…")
        self.shapes_button.setToolTip("Save the outlines as a GeoJSON file, in image pixels.")
        self.shapes_button.clicked.connect(
            lambda: self._ask("regions", "geojson", self.save_shapes)
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(5)
        for button in (self.copy_button, self.save_button, self.shapes_button):
            button.setStyleSheet("padding: 3px 5px;")
            row.addWidget(button)

    def copied(self) -> str:
        """Return what *Copy* puts on the clipboard: the table that is saved, between tabs."""
        return region_report.write_table(self._records())

    def copy(self, *_: object) -> None:
        """Put the table on the clipboard."""
        clipboard: Any = QApplication.clipboard()
        clipboard.setText(self.copied())

    def save(self, path: str) -> None:
        """Write the table as CSV."""
        region_report.write_table(self._records(), path)

    def save_shapes(self, path: str) -> None:
        """Write the regions of the plane as GeoJSON."""
        write_regions(path, self._outlines())

    def _ask(self, what: str, suffix: str, save: Callable[[str], None]) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            f"Save {what}",
            f"{self.stem} {what}.{suffix}",
            f"{suffix.upper()} files (*.{suffix})",
        )
        if not path:
            return
        try:
            save(path)
        except Exception as error:  # whatever it is, the window must go on
            hint(self._note, sentence(error))

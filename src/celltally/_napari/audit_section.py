"""*Count this region* of an audit of many: *Next*, *Back*, *Skip*, how many are still needed."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QPushButton

from celltally._napari.controls import hint, spread, text, wrapped
from celltally._napari.count_section import PRIMARY
from celltally._napari.region_count import RegionCount

__all__ = ["REASONS", "AuditSection"]

#: Why a region may be left out.
REASONS = (
    "cells cannot be told apart",
    "out of focus",
    "damaged or dirty",
    "not what is to be counted",
)


class AuditSection(RegionCount):
    """Takes a person's count of the region that is shown, and goes from one to the next."""

    skipped = Signal(str)
    went_back = Signal()
    finished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.next_button = QPushButton("Next (Enter)")
        self.next_button.setStyleSheet(PRIMARY)
        self.next_button.setToolTip("Save the count and show the next region.")
        self.next_button.clicked.connect(lambda: self.answered.emit())
        self.back_button = QPushButton("Back")
        self.back_button.setToolTip("Show the region before, to change its count.")
        self.back_button.clicked.connect(lambda: self.went_back.emit())
        self.reason_box = QComboBox()
        for reason in REASONS:
            self.reason_box.addItem(reason)
        self.skip_button = QPushButton("Skip")
        self.skip_button.setToolTip(
            "Leave this region out for the reason beside it. What is left out is not judged by "
            "the new interval, so skip only what you could not count by any means."
        )
        self.skip_button.clicked.connect(lambda: self.skipped.emit(self.reason_box.currentText()))
        self.finish_button = QPushButton("Finish")
        self.finish_button.setToolTip(
            "End or interrupt the audit. What you answered with Next is saved, and can be gone on "
            "with later."
        )
        self.finish_button.clicked.connect(lambda: self.finished.emit())
        self.progress = wrapped(name="audit_progress")
        self.saved = text(name="audit_saved")
        self.column.addWidget(spread(self.next_button, self.back_button, stretch=0))
        self.column.addWidget(spread(self.reason_box, self.skip_button, stretch=0))
        self.column.addWidget(self.progress)
        self.column.addWidget(spread(self.saved, self.finish_button, stretch=0))

    def show_progress(self, words: str, saved: str) -> None:
        """Say how many are still needed, and what is saved."""
        hint(self.progress, words)
        self.saved.setText(saved)

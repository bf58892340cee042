"""*Lock for this study*: what every image is to be counted with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import Row, spread, wrapped

if TYPE_CHECKING:
    from celltally.project.study import StudyRow
    from celltally.project.study_lock import Lock

__all__ = ["LockDialog"]


class LockDialog(QDialog):
    """Shows what would be locked, and lets it be changed.

    Parameters
    ----------
    suggested
        What most images were counted with.
    rows
        Those of the study: the models that counted them may be chosen.
    parent
        The widget that it belongs to.
    """

    def __init__(
        self, suggested: Lock, rows: Sequence[StudyRow], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Lock for this study")
        self._suggested = suggested
        self._models = self._counted_with(rows)
        self.model_box = QComboBox()
        for name, sha256, _ in self._models:
            self.model_box.addItem(f"{name} ({sha256[:8]})")
        self.diameter_box = QCheckBox("the same for all:")
        self.diameter_edit = QDoubleSpinBox()
        self.diameter_edit.setRange(1, 10_000)
        self.diameter_edit.setSuffix(" px")
        self.threshold_box = QComboBox()
        self.threshold_box.addItem("as counted, image by image (dots ≈ count)")
        self.threshold_box.addItem("the same for all:")
        self.threshold_edit = QDoubleSpinBox()
        self.threshold_edit.setDecimals(4)
        self.threshold_edit.setRange(0, 1_000)
        self.threshold_edit.setSingleStep(0.01)
        self.level_edit = QDoubleSpinBox()
        self.level_edit.setRange(50, 99.9)
        self.level_edit.setDecimals(1)
        self.level_edit.setSuffix(" %")
        self._fill(suggested, rows)
        buttons = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(buttons.Ok | buttons.Cancel)
        self.ok_button = self.buttons.button(buttons.Ok)
        self.ok_button.setText("Lock")
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        words = wrapped(
            "Every image of this study is to be counted alike. Rows that were counted otherwise "
            "are marked; nothing is counted again or changed."
        )
        column.addWidget(words)
        column.addWidget(Row("Model", self.model_box))
        column.addWidget(Row("Cell diameter", spread(self.diameter_box, self.diameter_edit)))
        column.addWidget(Row("Threshold", spread(self.threshold_box, self.threshold_edit)))
        column.addWidget(Row("Intervals", self.level_edit))
        column.addStretch(1)
        column.addWidget(self.buttons)
        self.setMinimumWidth(460)

    def _counted_with(self, rows: Sequence[StudyRow]) -> list[tuple[str, str, str]]:
        """Models that counted rows, the suggested one first."""
        first = self._suggested
        found = {(first.model, first.model_sha256, first.calibration_sha256): None}
        for row in rows:
            c = row.counted
            if c is not None:
                found[c.model, c.model_sha256, c.calibration_sha256] = None
        return list(found)

    def _fill(self, suggested: Lock, rows: Sequence[StudyRow]) -> None:
        sizes = sorted(row.counted.diameter_px for row in rows if row.counted is not None)
        middle = sizes[len(sizes) // 2] if sizes else 10.0
        self.diameter_box.setChecked(suggested.diameter_px is not None)
        self.diameter_edit.setValue(suggested.diameter_px or middle)
        self.diameter_edit.setEnabled(suggested.diameter_px is not None)
        self.diameter_box.toggled.connect(self.diameter_edit.setEnabled)
        one = suggested.threshold is not None
        self.threshold_box.setCurrentIndex(int(one))
        self.threshold_edit.setValue(suggested.threshold or 0.1)
        self.threshold_edit.setEnabled(one)
        self.threshold_box.currentIndexChanged.connect(
            lambda index: self.threshold_edit.setEnabled(index == 1)
        )
        self.level_edit.setValue(100 * suggested.level)

    @property
    def wanted(self) -> Lock:
        """What is to be locked."""
        from celltally.project.study_lock import Lock

        model, sha256, calibration = self._models[self.model_box.currentIndex()]
        suggested = self._suggested.diameter_px
        diameter = self.diameter_edit.value()
        if suggested is not None and abs(diameter - suggested) < 0.01:  # as typed, it is rounded
            diameter = suggested
        threshold = self.threshold_edit.value()
        return Lock(
            model=model,
            model_sha256=sha256,
            calibration_sha256=calibration,
            diameter_px=diameter if self.diameter_box.isChecked() else None,
            threshold=threshold if self.threshold_box.currentIndex() == 1 else None,
            level=round(self.level_edit.value() / 100, 6),
        )

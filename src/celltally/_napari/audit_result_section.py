"""*What the audits say*: before and after, and the calibrated copy."""

from __future__ import annotations

import math

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit

from celltally._napari import texts
from celltally._napari.controls import Section, wrapped
from celltally._napari.run_section import RunSection
from celltally.intervals import AuditSummary, still_needed

__all__ = ["AuditResultSection", "summary_words"]


class AuditResultSection(Section):
    """Shows what the audits say and offers to save a copy; ``saved`` tells under which name."""

    saved = Signal(str)

    def __init__(self) -> None:
        super().__init__("What the audits say")
        self.words = wrapped(name="audit_summary")
        self.name_edit = QLineEdit()
        self.name_edit.setToolTip("Name of the copy in the list of models.")
        self.run = RunSection(
            "Save calibrated copy",
            "Save a copy of the model with intervals for your microscope. It counts the same; "
            "the model itself is not changed.",
            "Calibrating a copy",
        )
        self.run.started.connect(lambda: self.saved.emit(self.name_edit.text()))
        self.name_edit.returnPressed.connect(lambda: self.saved.emit(self.name_edit.text()))
        self.column.addWidget(self.words)
        self.add_row("Name", self.name_edit)
        self.column.addWidget(self.run)

    def show_summary(self, summary: AuditSummary, units: str, name: str) -> None:
        """Show what audits say of a model, and offer a copy of that name."""
        self.words.setText(summary_words(summary, units))
        self.words.setVisible(True)
        if not self.name_edit.text():
            self.name_edit.setText(name)
        self.run.show_ready(None)


def summary_words(summary: AuditSummary, units: str) -> str:
    """Say in a few lines what audits tell of a model."""
    n, of = summary.regions, f"of {summary.regions} regions"
    lines = [
        f"You counted {texts.cells(summary.counted)} in {n} region{'s' * (n != 1)} of "
        f"{summary.groups} {units if summary.groups != 1 else units[:-1]}, the model "
        f"{texts.number(summary.predicted)}{_bias(summary.bias)}.",
        f"95{texts.SPACE}% interval before: right in {summary.before} {of}.",
    ]
    if summary.after is not None:
        lines.append(
            f"After: right in {summary.after} {of}, each judged by an interval made without "
            f"its {units[:-1]}."
        )
    alike = 0.95 < summary.factor < 1.05
    times = f"{summary.factor:.2g} times as wide as before"
    lines.append(f"Intervals of regions become {'about as wide as before' if alike else times}.")
    lines.append(f"{still_needed(summary.groups, units)}.")
    return "\n".join(lines)


def _bias(bias: float) -> str:
    if not math.isfinite(bias):
        return ""
    if abs(bias) < 0.005:
        return " (no difference worth naming)"
    return f" ({abs(bias) * 100:.0f}{texts.SPACE}% too {'many' if bias > 0 else 'few'})"

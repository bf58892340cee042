"""*Learn*: the buttons, and how far it is, with the curves of what is being learned."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from celltally._napari.controls import hint, wrapped
from celltally._napari.count_section import PRIMARY
from celltally._napari.learn_curve import LossCurve
from celltally._napari.learn_trace import Curves
from celltally._napari.learn_words import left_words
from celltally._napari.run_section import RunSection
from celltally.types import Progress

__all__ = ["LearnCurves", "LearnRunSection"]

_STAYS = "The model in use stays as it is: go on counting with it."


class LearnRunSection(QWidget):
    """Starts and ends a learning.

    ``started`` and ``new_asked`` tell which of the buttons was pressed, ``cancelled`` that it is
    to end.
    """

    started = Signal()
    new_asked = Signal()
    cancelled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.run = RunSection(
            "Learn from corrections",
            "Make a new version of the model from what you reviewed. The model in use stays as "
            "it is.",
            "Learning",
        )
        self.run.button.setStyleSheet(PRIMARY)
        self.left = wrapped(name="learn_left")
        self.new_button = QPushButton("Train a new model from my dots…")
        self.run.started.connect(self.started.emit)
        self.run.cancelled.connect(self.cancelled.emit)
        self.new_button.clicked.connect(lambda: self.new_asked.emit())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        for part in (self.run, self.left, self.new_button):
            column.addWidget(part)

    def show_ready(self, problem: str | None, problem_of_new: str | None, said: str = "") -> None:
        """Offer to start, or say what keeps from it.

        Parameters
        ----------
        problem, problem_of_new
            What keeps from learning, and from training from nothing; None where nothing does.
        said
            How the last one ended.
        """
        self.run.show_ready(problem, said)
        hint(self.left, "")
        self.new_button.setVisible(True)
        self.new_button.setEnabled(problem_of_new is None)
        tip = "For a kind of cell that no model knows: it learns from nothing but your dots."
        self.new_button.setToolTip(problem_of_new or tip)

    def show_running(self) -> None:
        """Show that it has started."""
        self.run.show_running()
        self.new_button.setVisible(False)
        hint(self.left, _STAYS)

    def show_progress(self, message: str, share: float, seconds_left: float | None) -> None:
        """Show how far it is.

        Parameters
        ----------
        message
            What is being done.
        share
            Of the whole that is done, from 0 to 1.
        seconds_left
            How long the whole still takes; None where that is not known.
        """
        total = 1000 if share > 0 else 0
        self.run.show_progress(Progress(int(1000 * share), total, message))
        words = left_words(seconds_left)
        hint(self.left, f"{words}. {_STAYS}" if words else _STAYS)

    def show_cancelling(self) -> None:
        """Show that it ends as soon as it can."""
        self.run.show_cancelling()
        hint(self.left, "")


class LearnCurves(QWidget):
    """The loss while learning, and how well kept-back regions are counted meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = LossCurve("Loss")
        self.validation = LossCurve("Kept-back regions", "model in use")
        self.loss.setToolTip("How wrong the model is on what it is shown, step by step.")
        self.validation.setToolTip(
            "How wrong it is on regions that it is not shown: below the dashed line it is better "
            "than the model in use."
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.loss)
        column.addWidget(self.validation)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.loss.show_points((), 1.0)
        self.validation.show_points((), 1.0)
        self.setVisible(False)

    def show_curves(self, curves: Curves) -> None:
        """Show what is known by now."""
        if not curves.loss:
            return
        self.loss.show_points(curves.loss, curves.steps)
        self.validation.show_points(curves.validation, curves.steps, curves.parent)
        self.validation.setVisible(bool(curves.validation) or curves.parent is not None)
        self.setVisible(True)

"""*Before and after*: whether it helped, where the count changed, and *Keep* or *Discard*."""

from __future__ import annotations

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QLineEdit, QPushButton

from celltally._napari.controls import ATTENTION, Section, evenly, hint, wrapped
from celltally._napari.count_section import PRIMARY
from celltally._napari.learn_examples import Examples
from celltally._napari.learn_words import bullets
from celltally._napari.learning import Learnt

__all__ = ["OutcomeSection"]

#: Of the bar beside the first sentence: helped, did not help, not known.
_BARS = {True: "#2e9e6b", False: "#d9920a", None: "#8a8f98"}
_KEPT_NOT = (
    "Not kept yet: until you press Keep it is in no list of models, and closing Learn or napari "
    "loses it."
)


class OutcomeSection(Section):
    """Shows what came of learning.

    ``kept`` tells under which name it is to be saved, ``discarded`` that it is not wanted.
    """

    kept = Signal(str)
    discarded = Signal()

    def __init__(self) -> None:
        super().__init__("Before and after")
        self.verdict = wrapped(name="learn_verdict")
        self.sentences = wrapped(name="learn_sentences")
        self.missing = wrapped(name="learn_missing", style=ATTENTION)
        self.undecided = wrapped(name="learn_undecided")
        self.name_edit = QLineEdit()
        self.name_edit.setToolTip("What the new version is called in the list of models.")
        self.keep_button, self.discard_button = QPushButton("Keep"), QPushButton("Discard")
        self.keep_button.setStyleSheet(PRIMARY)
        self.keep_button.setToolTip("Save the new version among your models, and use it in Tally.")
        self.discard_button.setToolTip("Drop the new version; nothing was changed.")
        self.keep_button.clicked.connect(self._keep)
        self.name_edit.returnPressed.connect(self._keep)
        self.discard_button.clicked.connect(lambda: self.discarded.emit())
        self.problem = wrapped(name="learn_keep_problem", style=ATTENTION)
        self.examples = Examples()
        self.examples.setVisible(False)
        self._waiting: Learnt | None = None
        # Pictures follow the words a turn later: together they would hold the window up.
        self._pictures = QTimer(self)
        self._pictures.setSingleShot(True)
        self._pictures.timeout.connect(self._show_pictures)
        for part in (self.verdict, self.sentences, self.missing, self.undecided):
            self.column.addWidget(part)
        self.add_row("New version", self.name_edit)
        self.column.addWidget(evenly(self.keep_button, self.discard_button))
        self.column.addWidget(self.problem)
        self.column.addWidget(self.examples)
        self.setVisible(False)

    def show_learnt(self, learnt: Learnt) -> None:
        """Show a new version that is to be decided on."""
        tuned = learnt.tuned
        self.verdict.setStyleSheet(
            f"font-weight: bold; border-left: 4px solid {_BARS[tuned.helped]}; padding-left: 6px;"
        )
        first, *rest = tuned.sentences or ("",)
        hint(self.verdict, _ended(first))
        first_one = learnt.from_nothing
        self.title.setText("How well it counts" if first_one else "Before and after")
        # A line for each kind of region that judges, and then what would help.
        hint(self.sentences, bullets([_ended(said) for said in rest]))
        hint(self.missing, "\n".join(f"Left out: {said.rstrip('.')}." for said in learnt.missing))
        hint(self.undecided, _KEPT_NOT)
        self.name_edit.setText(learnt.name)
        self.name_edit.setCursorPosition(0)
        self.show_ready()
        self.examples.show_examples(())
        self.setVisible(True)
        self._waiting = learnt
        self._pictures.start(0)

    def _show_pictures(self) -> None:
        learnt, self._waiting = self._waiting, None
        if learnt is not None:
            self.examples.show_examples(learnt.tuned.examples, from_nothing=learnt.from_nothing)

    def show_ready(self, problem: str = "") -> None:
        """Let the user decide; or say why it could not be kept."""
        for part in (self.keep_button, self.discard_button, self.name_edit):
            part.setEnabled(True)
        hint(self.problem, _ended(problem) if problem else "")

    def show_saving(self) -> None:
        """Show that it is being saved."""
        for part in (self.keep_button, self.discard_button, self.name_edit):
            part.setEnabled(False)
        hint(self.problem, "")

    def clear(self) -> None:
        """Show nothing, and hold no pictures."""
        self._pictures.stop()
        self._waiting = None
        self.examples.show_examples(())
        self.setVisible(False)

    def _keep(self) -> None:
        if self.keep_button.isEnabled():
            self.kept.emit(self.name_edit.text())


def _ended(said: str) -> str:
    said = f"{said[:1].upper()}{said[1:]}"
    return said if said.endswith((".", "!", "?")) else f"{said}."

"""*What there is to learn from*: what was reviewed, which model learns, and the child's name."""

from __future__ import annotations

from collections.abc import Collection

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QPushButton, QSizePolicy

from celltally._napari import texts
from celltally._napari.controls import ATTENTION, Section, hint, text, wrapped
from celltally._napari.learn_words import (
    material_words,
    name_problem,
    proposed_name,
    without_file_words,
)
from celltally._napari.learning import Material
from celltally.record import ModelRecord

__all__ = ["MaterialSection"]

#: Letters of a name that a row has room for.
NAME_LENGTH = 24
NO_TALLY = "Open Tally: the model that is chosen there learns."


class MaterialSection(Section):
    """Shows what there is, and asks for a name.

    ``changed`` tells of another name, ``tally_asked`` that Tally is to be opened.
    """

    changed = Signal()
    tally_asked = Signal()

    def __init__(self) -> None:
        super().__init__("What there is to learn from")
        self.words = wrapped("…", name="learn_material")
        self.without_file = wrapped(name="learn_without_file", style=ATTENTION)
        self.project, self.model = text(name="learn_project"), text(name="learn_parent")
        for name in (self.project, self.model):
            # However wide its letters are, it does not push the others out of sight.
            name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.model.setToolTip("The model that is chosen in Tally. It stays as it is.")
        self.name_edit = QLineEdit()
        self.name_edit.setObjectName("learn_name")
        self.name_edit.setToolTip("What the new version is to be called.")
        self.name_edit.textChanged.connect(lambda _: self.changed.emit())
        self.name_edit.textEdited.connect(self._typed)
        self.tally_button = QPushButton("Open Tally")
        self.tally_button.clicked.connect(lambda: self.tally_asked.emit())
        self.add_row("Project", self.project)
        self.column.addWidget(self.words)
        self.column.addWidget(self.without_file)
        self._model_row = self.add_row("Model in use", self.model)
        self.column.addWidget(self.tally_button)
        self._name_row = self.add_row("New version", self.name_edit)
        self.material: Material | None = None
        self.parent_record: ModelRecord | None = None
        self._project, self._taken = "", frozenset[str]()
        self._own_name = False

    @property
    def name(self) -> str:
        """Name of the new version."""
        return str(self.name_edit.text()).strip()

    def show_material(self, material: Material | None, project: str) -> None:
        """Show what was reviewed in a project; None while that is not known."""
        self.material, self._project = material, project
        self.project.setText(texts.short(project, NAME_LENGTH))
        self.project.setToolTip(project)
        found = None if material is None else material.teaching
        hint(self.words, "The project is being read." if found is None else material_words(found))
        hint(self.without_file, "" if found is None else without_file_words(found))
        self._propose()

    def show_model(self, record: ModelRecord | None, *, tally: bool) -> None:
        """Show which model learns.

        Parameters
        ----------
        record
            The one in use; None where there is none, or it is not known yet.
        tally
            Whether the widget Tally is open.
        """
        self.parent_record = record
        self._model_row.setVisible(tally)
        self._name_row.setVisible(tally)
        self.tally_button.setVisible(not tally)
        self.model.setText("…" if record is None else texts.short(record.name, NAME_LENGTH))
        self._propose()

    def show_taken(self, names: Collection[str]) -> None:
        """Know which names are taken."""
        self._taken = frozenset(names)
        self._propose()
        self.changed.emit()

    def problem(self) -> str | None:
        """Say what keeps from learning, or None."""
        if self.material is None:
            return "Please wait: the project is being read."
        if not self.material.teaching.lessons:
            return "Review a region in Tally first."
        if self.parent_record is None:
            return NO_TALLY if self._model_row.isHidden() else "Choose a model in Tally."
        return name_problem(self.name, self._taken)

    def problem_of_new(self) -> str | None:
        """Say what keeps from training a model from nothing, or None."""
        if self.material is None:
            return "Please wait: the project is being read."
        if not self.material.teaching.lessons:
            return "Review a region in Tally first."
        return None

    def show_running(self, running: bool) -> None:
        """Know whether a model learns: then it has a name."""
        self.name_edit.setEnabled(not running)

    def forget_name(self) -> None:
        """Propose a name again."""
        self._own_name = False
        self._propose()

    def _typed(self) -> None:
        self._own_name = bool(self.name)

    def _propose(self) -> None:
        """Propose a name, unless the user has typed one."""
        if self._own_name or self.parent_record is None:
            return
        name = proposed_name(self.parent_record.name, self._project, self._taken)
        if name != self.name_edit.text():
            self.name_edit.setText(name)
            self.name_edit.setCursorPosition(0)  # long ones are read from their beginning

"""Which project counts and edits are kept in, and whether the last of them is on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QMessageBox, QToolButton, QWidget

from celltally._napari.controls import ATTENTION, hint, text, wrapped
from celltally._napari.saving import Saving
from celltally._napari.texts import short
from celltally._napari.unnamed import projects_dir

__all__ = ["ProjectBar"]

#: Letters of a project's name that its button has room for.
NAME_LENGTH = 22


class ProjectBar(QWidget):
    """Shows the open project and opens others; ``trouble``, which lies elsewhere, what is wrong.

    Parameters
    ----------
    saving
        That of the window.
    """

    def __init__(self, saving: Saving) -> None:
        super().__init__()
        self._saving = saving
        self.button = QToolButton()
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.button)
        self.new_action = self.menu.addAction("New project…")
        self.open_action = self.menu.addAction("Open project…")
        self.unnamed_action = self.menu.addAction("My counts")
        self.new_action.triggered.connect(lambda: self._ask_new())
        self.open_action.triggered.connect(lambda: self._ask_open())
        self.unnamed_action.triggered.connect(lambda: self.open(None))
        self.button.setMenu(self.menu)
        # The style's own arrow lies below the words; one among them is where it is looked for.
        self.button.setStyleSheet(
            "QToolButton { padding: 2px 6px; } QToolButton::menu-indicator { image: none; }"
        )
        self.mark = text(name="saved_mark")
        self.mark.setToolTip("Every count and every edit is written to the project at once.")
        self.trouble = wrapped(name="saving_trouble", style=ATTENTION)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.mark)
        row.addWidget(self.button)
        saving.marked.connect(self.show_saving)
        saving.opened.connect(self.show_saving)
        self.show_saving()

    def show_saving(self) -> None:
        """Show which project is open, and what was saved last."""
        saving = self._saving
        name = saving.name or "My counts"
        self.button.setText(f"{short(name, NAME_LENGTH)}{' (reading)' * saving.read_only} ▾")
        place = saving.store.path if saving.store is not None else projects_dir()
        self.button.setToolTip(f"Images, counts, dots, regions and every edit are kept in {place}")
        self.mark.setText("" if saving.trouble else saving.mark)
        hint(self.trouble, saving.trouble)

    def open(self, path: Path | None) -> None:
        """Open a project, or make one; where another program has it open, offer to read it."""
        self._saving.open(path, on_failed=lambda error: self._not_opened(path, error))

    def _not_opened(self, path: Path | None, error: Exception) -> None:
        from celltally.project.store import ProjectInUseError

        if isinstance(error, ProjectInUseError) and path is not None:
            if self._asked_to_read(str(error)):
                self._saving.open(path, read_only=True, on_failed=self._tell)
            return
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        from napari.utils.notifications import show_error

        from celltally._napari.jobs import sentence

        show_error(sentence(error))

    def _asked_to_read(self, words: str) -> bool:
        """Ask whether a project that is open elsewhere is to be opened for reading."""
        buttons = QMessageBox.StandardButton
        chosen = QMessageBox.question(
            self, "Project in use", f"{words[:1].upper()}{words[1:]}.\n\nOpen it for reading?",
            buttons.Yes | buttons.No,
        )  # fmt: skip
        return bool(chosen == buttons.Yes)

    def _ask_new(self) -> None:
        path = self._dialog(QFileDialog.getSaveFileName, "New project")
        if path is not None:
            self.open(path if path.suffix else path.with_suffix(".celltally"))

    def _ask_open(self) -> None:
        path = self._dialog(QFileDialog.getOpenFileName, "Open project")
        if path is not None:
            self.open(path)

    def _dialog(self, ask: Any, title: str) -> Path | None:
        start = self._saving.store.path.parent if self._saving.store is not None else Path.home()
        options = QFileDialog.Option.DontConfirmOverwrite
        path, _ = ask(self, title, str(start), "Projects (*.celltally)", options=options)
        return Path(path) if path else None

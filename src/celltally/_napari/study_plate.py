"""*Plate map*: what an experiment says of its images, seen before it is set."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, QTimer, Signal
from qtpy.QtGui import QFont
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import ATTENTION, Row, hint, spread, wrapped
from celltally._napari.jobs import Job, Jobs, sentence
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.plate_map import Preview
    from celltally.project.store import Store

__all__ = ["EXAMPLE", "PlateDialog"]

EXAMPLE = "{plate}_{well}_s{site}"
#: Milliseconds after the last letter until a pattern is tried.
_TYPED = 250
_Roles = Qt.ItemDataRole


def preview_job(
    store: Store, table: Path | None, pattern: str
) -> Generator[Progress, None, Preview]:
    """Say what a plate map, or else a file name pattern, would set."""
    yield Progress(0, 0, "reading")
    from celltally.project.plate_map import from_names, from_plate_map, read_plate_map

    if table is not None:
        return from_plate_map(store, read_plate_map(table))
    return from_names(store, pattern)


class PlateDialog(QDialog):
    """Takes a CSV, or a pattern, and shows what would be set; ``apply`` asks for it to be set.

    Parameters
    ----------
    store
        The project.
    jobs
        Of the widget.
    parent
        The widget that it belongs to.
    """

    #: The preview that is to be set.
    applied = Signal(object)

    def __init__(self, store: Store, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Plate map")
        self._store, self._jobs = store, jobs
        self._job: Job | None = None
        self._table: Path | None = None
        self.preview: Preview | None = None
        self.file_button = QPushButton("Choose a table…")
        self.file_button.setToolTip("A CSV whose rows name images (column image), or wells (well).")
        self.file_button.clicked.connect(lambda: self._ask())
        self.pattern_edit = QLineEdit()
        self.pattern_edit.setPlaceholderText(EXAMPLE)
        self.pattern_edit.setToolTip(
            "Each part in braces is a column: {plate}, {well}, {site}, {condition}, {replicate} or "
            "one of your own; * is any text."
        )
        self.words = wrapped(
            "Choose a CSV whose rows name images or wells, or type how file names are made. "
            f"For example {EXAMPLE} reads P1_B03_s2.tif.",
            name="plate_words",
        )
        self.problem = wrapped(name="plate_problem", style=ATTENTION)
        self.model = _PreviewModel()
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.view.verticalHeader().setVisible(False)
        self.view.verticalHeader().setDefaultSectionSize(22)
        self.view.setWordWrap(False)
        buttons = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(buttons.Apply | buttons.Cancel)
        self.apply_button = self.buttons.button(buttons.Apply)
        self.apply_button.setEnabled(False)
        self.apply_button.clicked.connect(lambda: self._apply())
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(Row("Table", spread(self.file_button, QWidget(), stretch=1)))
        column.addWidget(Row("or file names", self.pattern_edit))
        column.addWidget(self.words)
        column.addWidget(self.problem)
        column.addWidget(self.view, 1)
        column.addWidget(self.buttons)
        self.resize(680, 460)
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPED)
        self._typed.timeout.connect(self._look)
        self.pattern_edit.textEdited.connect(self._pattern_typed)

    @property
    def busy(self) -> bool:
        """Whether it is being looked what would be set."""
        return self._typed.isActive() or (self._job is not None and self._job.running)

    def _ask(self) -> None:
        filters = "Tables (*.csv *.tsv *.txt);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Plate map", str(Path.home()), filters)
        if path:
            self.take_table(Path(path))

    def take_table(self, path: Path) -> None:
        """Show what a table would set."""
        self._table = path
        self.file_button.setText(path.name)
        self.pattern_edit.clear()
        self._look()

    def _pattern_typed(self, _: str) -> None:
        self._table = None
        self.file_button.setText("Choose a table…")
        self._typed.start()

    def _look(self) -> None:
        table, pattern = self._table, self.pattern_edit.text().strip()
        if self._job is not None:
            self._job.abandon()
        if table is None and not pattern:
            self._show(None)
            return
        store = self._store
        self._job = self._jobs.start(
            lambda: preview_job(store, table, pattern),
            on_done=self._show,
            on_failed=self._failed,
        )

    def _show(self, preview: Preview | None) -> None:
        self.preview = preview
        self.model.show_preview(preview)
        self.view.resizeColumnsToContents()
        n = 0 if preview is None else preview.changed
        self.apply_button.setEnabled(n > 0)
        self.apply_button.setText(f"Apply to {n} image{'s' * (n != 1)}" if n else "Apply")
        hint(self.problem, "")
        if preview is not None:
            hint(self.words, " ".join(preview.sentences))

    def _failed(self, error: Exception) -> None:
        self._show(None)
        hint(self.problem, f"{sentence(error)}.")

    def _apply(self) -> None:
        if self.preview is not None:
            self.applied.emit(self.preview)
            self.accept()


class _PreviewModel(QAbstractTableModel):
    """A row an image: what it would be; what becomes different is bold, with what it was."""

    def __init__(self) -> None:
        super().__init__()
        self._preview: Preview | None = None

    def show_preview(self, preview: Preview | None) -> None:
        self.beginResetModel()
        self._preview = preview
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802  (Qt's name)
        return 0 if self._preview is None else len(self._preview.assignments)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        return 0 if self._preview is None else 1 + len(self._preview.columns)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802
        if orientation != Qt.Orientation.Horizontal or role != _Roles.DisplayRole:
            return None
        columns = () if self._preview is None else self._preview.columns
        return "Image" if section == 0 else columns[section - 1]

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if self._preview is None:
            return None
        one = self._preview.assignments[index.row()]
        if index.column() == 0:
            return one.entry.name if role == _Roles.DisplayRole else None
        name = self._preview.columns[index.column() - 1]
        changes = name in one.changes
        if role == _Roles.DisplayRole:
            before = getattr(one.entry, name, None) or one.entry.further.get(name, "")
            now = one.values.get(name, "")
            return f"{now}  (was {before})" if changes and before else now
        if role == _Roles.FontRole and changes:
            font = QFont()
            font.setBold(True)
            return font
        return None

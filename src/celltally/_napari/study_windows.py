"""Windows of the *Study* widget: plots, agreement, the paragraph for the methods section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celltally._napari.controls import ATTENTION, hint, spread, text, wrapped
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.picture_view import PictureView
from celltally._napari.pictures import Ink
from celltally._napari.study_compare import (
    KINDS,
    Compared,
    compare_job,
    figures_of,
    paint_agreement,
    save_agreement,
)
from celltally._napari.study_plots import KINDS as PLOTS
from celltally._napari.study_plots import VALUES, Plot, draw

if TYPE_CHECKING:
    from celltally.project.store import Store
    from celltally.project.study import StudyRow

__all__ = ["AgreementWindow", "MethodsWindow", "PlotWindow"]

#: Columns that images may be grouped by, beside those of the plate map's own.
_GROUPED_BY = ("condition", "replicate", "plate", "well", "site")


class PlotWindow(QDialog):
    """Plots of the study; they follow its table.

    Parameters
    ----------
    jobs
        Of the widget.
    ink
        Gives the colours to draw with.
    parent
        The widget that it belongs to.
    """

    def __init__(self, jobs: Jobs, ink: Callable[[], Ink], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Plots of the study")
        self._rows: tuple[StudyRow, ...] = ()
        self.kind_box, self.value_box, self.by_box = QComboBox(), QComboBox(), QComboBox()
        for kind, words in PLOTS.items():
            self.kind_box.addItem(words, kind)
        for value, words in VALUES.items():
            self.value_box.addItem(words, value)
        self.view = PictureView(jobs, ink)
        self.save_button = QPushButton("Save…")
        self.save_button.setToolTip("PNG, SVG or PDF, on white.")
        self.save_button.clicked.connect(lambda: self.view.ask_save(self.plot.kind))
        self._by_label = QLabel("by")
        column = QVBoxLayout(self)
        column.addWidget(
            spread(
                self.kind_box, QLabel("of"), self.value_box, self._by_label, self.by_box,
                QWidget(), self.save_button, stretch=5,
            )
        )  # fmt: skip
        column.addWidget(self.view, 1)
        for box in (self.kind_box, self.value_box, self.by_box):
            box.currentIndexChanged.connect(lambda _: self._show())
        self.view.drawn.connect(lambda: self.save_button.setEnabled(self.view.picture is not None))
        self.resize(680, 500)

    @property
    def plot(self) -> Plot:
        """What is chosen."""
        by = self.by_box.currentData()
        return Plot(self.kind_box.currentData(), self.value_box.currentData(), (by,) if by else ())

    def show_rows(self, rows: Sequence[StudyRow]) -> None:
        """Draw other rows."""
        self._rows = tuple(rows)
        further = {name: None for row in rows for name in row.entry.further}
        names = [
            name
            for name in (*_GROUPED_BY, *further)
            if name == "condition" or any(row.column(name) for row in rows)
        ]
        if [self.by_box.itemData(i) for i in range(self.by_box.count())] != ["", *names]:
            chosen = self.by_box.currentData() if self.by_box.count() else "condition"
            blocked = self.by_box.blockSignals(True)
            self.by_box.clear()
            self.by_box.addItem("all images", "")
            for name in names:
                self.by_box.addItem(name.replace("_", " "), name)
            self.by_box.setCurrentIndex(max(self.by_box.findData(chosen), 0))
            self.by_box.blockSignals(blocked)
        self._show()

    def _show(self) -> None:
        plot, rows = self.plot, self._rows
        for part in (self.by_box, self._by_label):
            part.setVisible(plot.kind != "histogram")
        self.view.show_plot(lambda figure, ink: draw(figure, rows, plot, ink))


class AgreementWindow(QDialog):
    """Compares a person with the model, or with another person's project.

    Parameters
    ----------
    store
        The project.
    jobs, ink, parent
        As of ``PlotWindow``.
    """

    #: What was found; None where a comparison failed.
    compared = Signal(object)
    told = Signal(str)

    def __init__(
        self, store: Store, jobs: Jobs, ink: Callable[[], Ink], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Agreement")
        self._store, self._jobs = store, jobs
        self._job: Job | None = None
        self.result: Compared | None = None
        self.kind_box = QComboBox()
        self.kind_box.addItems(list(KINDS))
        self.model_button = QPushButton("Compare with the model")
        self.model_button.clicked.connect(lambda: self.compare(None))
        self.other_button = QPushButton("Compare with another project…")
        self.other_button.setToolTip("One in which another person reviewed the same images.")
        self.other_button.clicked.connect(lambda: self._ask_other())
        self.problem = wrapped(name="agreement_problem", style=ATTENTION)
        self.grid = QGridLayout()
        self.grid.setHorizontalSpacing(14)
        self.grid.setVerticalSpacing(3)
        figures = QWidget()
        inner = QVBoxLayout(figures)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(self.grid)
        inner.addStretch(1)
        self.view = PictureView(jobs, ink)
        self.table_button = QPushButton("Save table…")
        self.table_button.clicked.connect(lambda: self._ask_table())
        self.plot_button = QPushButton("Save plot…")
        self.plot_button.clicked.connect(lambda: self.view.ask_save("bland_altman"))
        self.view.told.connect(self.told.emit)
        self._found = spread(figures, self.view, stretch=1)
        self._save = spread(QWidget(), self.table_button, self.plot_button, stretch=0)
        column = QVBoxLayout(self)
        column.addWidget(
            spread(
                QLabel("In"), self.kind_box, self.model_button, self.other_button, QWidget(),
                stretch=4,
            )
        )  # fmt: skip
        column.addWidget(self.problem)
        column.addWidget(self._found, 1)
        column.addWidget(self._save)
        self._found.setVisible(False)
        self._save.setVisible(False)
        column.addStretch(0)
        self.resize(820, 460)

    @property
    def busy(self) -> bool:
        """Whether something is being compared."""
        return self._job is not None and self._job.running

    def compare(self, other: Path | None) -> None:
        """Compare with another project; None: with the model."""
        if self._job is not None:
            self._job.abandon()
        store, kinds = self._store, KINDS[self.kind_box.currentText()]
        hint(self.problem, "")
        self._job = self._jobs.start(
            lambda: compare_job(store, kinds, other),
            on_done=self._show,
            on_failed=self._failed,
        )

    def _ask_other(self) -> None:
        place, filters = str(self._store.path.parent), "Projects (*.celltally)"
        path, _ = QFileDialog.getOpenFileName(self, "Another person's project", place, filters)
        if path:
            self.compare(Path(path))

    def _show(self, result: Compared) -> None:
        self.result = result
        while self.grid.count():
            self.grid.takeAt(0).widget().deleteLater()
        for row, (name, value) in enumerate(figures_of(result)):
            self.grid.addWidget(QLabel(name), row, 0)
            self.grid.addWidget(text(value, style="font-weight: bold;"), row, 1)
        self._found.setVisible(True)
        self._save.setVisible(True)
        self.view.show_plot(lambda figure, ink: paint_agreement(figure, ink, result))
        self.compared.emit(result)

    def _failed(self, error: Exception) -> None:
        self.result = None
        self._found.setVisible(False)
        self._save.setVisible(False)
        hint(self.problem, f"{sentence(error)}.")
        self.compared.emit(None)

    def _ask_table(self) -> None:
        place = str(self._store.path.with_name("agreement.csv"))
        path, _ = QFileDialog.getSaveFileName(self, "Save table", place, "Tables (*.csv)")
        result = self.result
        if path and result is not None:
            self._jobs.start(
                lambda: save_agreement(result, Path(path)),
                on_done=self.told.emit,
                on_failed=lambda error: self.told.emit(f"{sentence(error)}."),
            )


class MethodsWindow(QDialog):
    """Shows the paragraph for the methods section, to be copied."""

    def __init__(self, words: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Methods")
        self.edit = QPlainTextEdit(words)
        self.edit.setReadOnly(True)
        self.copy_button = QPushButton("Copy")
        self.copy_button.clicked.connect(lambda: self.copy())
        self.message = text()
        column = QVBoxLayout(self)
        column.addWidget(wrapped("Read it before you use it: it says what the project holds."))
        column.addWidget(self.edit, 1)
        column.addWidget(spread(self.message, self.copy_button, stretch=0))
        self.resize(620, 300)

    def copy(self) -> None:
        """Put it into the clipboard."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.edit.toPlainText())
            self.message.setText("Copied.")

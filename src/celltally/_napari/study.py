"""The *Study* widget: images and regions of a project as a table. It joins its parts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QDialog,
    QDockWidget,
    QMainWindow,
    QStackedWidget,
    QVBoxLayout,
)

from celltally._napari import study_work as work
from celltally._napari.collecting import spare
from celltally._napari.compat import guard_drawing
from celltally._napari.controls import wrapped
from celltally._napari.docked import WIDTH, Docked
from celltally._napari.jobs import Jobs
from celltally._napari.picture_view import ink_of
from celltally._napari.recount_window import RecountWindow
from celltally._napari.savings import saving_of
from celltally._napari.study_asking import ask_folder, ask_images, ask_new_folder, ask_table
from celltally._napari.study_bar import StudyBar, StudyStatus
from celltally._napari.study_compare import Compared
from celltally._napari.study_follow import Following
from celltally._napari.study_lines import Line, tell_apart
from celltally._napari.study_lock import LockDialog
from celltally._napari.study_opening import Opening
from celltally._napari.study_plate import PlateDialog
from celltally._napari.study_table import StudyTable
from celltally._napari.study_tasks import Tasks
from celltally._napari.study_windows import AgreementWindow, MethodsWindow, PlotWindow
from celltally.types import Progress

if TYPE_CHECKING:
    import napari

    from celltally.project.plate_map import Preview
    from celltally.project.store import Store
    from celltally.project.study import StudyRow
    from celltally.project.study_lock import Lock

__all__ = ["StudyWidget"]

#: Pixels that it is high where it is docked first.
HEIGHT = 270
#: Pixels that the side is wide that it leaves: enough for our other widgets.
SIDE = 350
_NO_IMAGES = (
    "There are no images in this project yet. Count one in the Tally widget, and it comes in by "
    "itself; or press “Images” to add files or a folder."
)
_NO_ROWS = "No row has these words. Clear the filter to see all."


class StudyWidget(Docked):
    """Shows the project that the window saves into, and opens its images.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        guard_drawing(napari_viewer)
        spare(napari_viewer)
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self.saving = saving_of(napari_viewer, self)
        self.follow = Following(self.saving, self.jobs)
        self.opening = Opening(napari_viewer, self.jobs, self.saving)
        self.bar, self.table, self.status = StudyBar(), StudyTable(), StudyStatus()
        self.empty = wrapped("…", name="study_empty")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.table)
        self.stack.addWidget(self.empty)
        self.tasks = Tasks(self.saving, self.jobs, self.follow, self.status)
        self._agreed: Compared | None = None
        self.plots: PlotWindow | None = None
        self.dialog: QDialog | None = None
        self._placed = _was_placed()
        self.setMinimumWidth(WIDTH)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(4)
        column.addWidget(self.bar)
        column.addWidget(self.stack, 1)
        column.addWidget(self.status)
        self._connect()
        self._show()
        if self.saving.store is not None:
            self.follow.read(look_for_files=True)
        elif not self.saving.busy:
            self.saving.open()

    def _connect(self) -> None:
        bar, follow = self.bar, self.follow
        bar.add_files.triggered.connect(lambda: self._ask_images())
        bar.add_folder.triggered.connect(lambda: self._ask_folder())
        bar.find_moved.triggered.connect(lambda: self._ask_moved())
        bar.plate_button.clicked.connect(lambda: self.show_plate_map())
        bar.lock_button.clicked.connect(lambda: self._lock_or_unlock())
        bar.recount_button.clicked.connect(lambda: self.recount_all())
        bar.plots_button.clicked.connect(lambda: self.show_plots())
        bar.export_csv.triggered.connect(lambda: self._ask_export(".csv"))
        bar.export_excel.triggered.connect(lambda: self._ask_export(".xlsx"))
        bar.export_methods.triggered.connect(lambda: self.write_methods())
        bar.export_training.triggered.connect(lambda: self._ask_training())
        bar.agreement.triggered.connect(lambda: self.show_agreement())
        bar.filtered.connect(self._filter)
        self.table.opened.connect(self.open)
        self.opening.opened.connect(self._opened)
        self.opening.failed.connect(self.status.say)
        follow.changed.connect(self._show)
        jobs = self.jobs

        def unhook(*_: object) -> None:
            follow.leave()
            jobs.stop()

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """Hear nothing more of the project, and end what runs."""
        self._unhook()

    # ---- where it lies ----

    def sizeHint(self) -> QSize:  # noqa: N802  (Qt's name)
        """Return a size that is low; no wider, as the side where napari puts it first keeps it."""
        return QSize(SIDE, HEIGHT)

    def _join_others(self) -> None:
        """Lie below the canvas where nobody has put it elsewhere; napari's own is on the right."""
        dock = self.parentWidget()
        window = dock.parentWidget() if isinstance(dock, QDockWidget) else None
        if isinstance(window, QMainWindow) and not self._placed and not dock.isFloating():
            self._placed = True
            # The side keeps the width that it has now for what is docked there next.
            window.resizeDocks([dock], [SIDE], Qt.Orientation.Horizontal)
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
            window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)
        super()._join_others()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802  (Qt's name)
        """Read what has changed while nobody saw it."""
        super().showEvent(event)
        self.follow.sleep(False)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802  (Qt's name)
        """Read nothing while nobody sees it, such as behind another tab."""
        super().hideEvent(event)
        self.follow.sleep(True)

    # ---- what is shown ----

    @property
    def rows(self) -> tuple[StudyRow, ...]:
        """Rows of the study, as they are known."""
        loaded = self.follow.loaded
        return () if loaded is None else loaded.rows

    @property
    def busy(self) -> bool:
        """Whether something is read, worked out or done."""
        return self.follow.busy or self.tasks.busy or self.opening.busy

    def _show(self) -> None:
        """Show the table as it is known by now."""
        loaded, saving = self.follow.loaded, self.saving
        lock = None if loaded is None else loaded.lock
        if loaded is not None:
            self.table.show_lines(loaded.lines, loaded.columns)
        else:  # another project
            self._agreed = None
            if self.dialog is not None:
                self.dialog.close()
        self.bar.show_lock(lock)
        there = saving.store is not None and loaded is not None
        self.bar.show_ready(
            there=there,
            writable=there and not saving.read_only,
            rows=bool(self.rows),
            counted=lock is not None or (loaded is not None and loaded.suggested is not None),
        )
        self._show_empty()
        self.status.summary.setText(_summary(self.rows, lock))
        self.status.summary.setToolTip("" if lock is None else f"Locked to {lock.text}.")
        if self.plots is not None and self.plots.isVisible():
            self.plots.show_rows(self.rows)

    def _show_empty(self) -> None:
        """Say what to do where there is nothing to show."""
        if self.follow.loaded is None:
            self.empty.setText("The project is being opened.")
        else:
            self.empty.setText(_NO_ROWS if self.rows else _NO_IMAGES)
        self.empty.setVisible(True)
        there = self.rows and self.table.lines.rowCount() > 0
        self.stack.setCurrentWidget(self.table if there else self.empty)

    def _filter(self, words: str, only_flagged: bool) -> None:
        self.table.lines.narrow(words, only_flagged=only_flagged)
        self._show_empty()

    # ---- open ----

    def open(self, line: Line) -> None:
        """Bring the image of a line into view."""
        self.status.say(f"Opening {line.row.label}.")
        self.opening.open(line.row)

    def _opened(self, row: StudyRow) -> None:
        self.status.say(f"{row.label} is in view. N: next, P: previous.")

    # ---- images ----

    def _ask_images(self) -> None:
        if paths := ask_images(self, self._place()):
            self.add_images(paths)

    def _ask_folder(self) -> None:
        if folder := ask_folder(self, "Add folder", self._place()):
            self.add_images([folder])

    def _ask_moved(self) -> None:
        if folder := ask_folder(self, "Where the files are now", self._place()):
            self.find_moved(folder)

    def _place(self) -> Path:
        """Where dialogs begin: beside the last image that is there."""
        loaded = self.follow.loaded
        for row in reversed(self.rows):
            if row.entry.path is not None and loaded and row.entry.id not in loaded.missing:
                return row.entry.path.parent
        return Path.home()

    def add_images(self, paths: Sequence[Path]) -> None:
        """Take files, and images in folders and below, into the project."""
        self.tasks.start(
            lambda store: work.add_images_job(store, paths),
            lambda added: self.status.say(added.sentence),
            read=True,
        )

    def find_moved(self, folder: Path) -> None:
        """Look for images whose files are gone."""
        self.tasks.start(
            lambda store: work.find_moved_job(store, folder), self.status.say, read=True
        )

    def show_plate_map(self) -> None:
        """Ask what the images are."""
        store = self.saving.store
        if store is not None:
            dialog = PlateDialog(store, self.jobs, self)
            dialog.applied.connect(self.apply_plate_map)
            self._open_dialog(dialog)

    def apply_plate_map(self, preview: Preview) -> None:
        """Set what a plate map says."""

        def keep(store: Store) -> None:
            from celltally.project.plate_map import apply

            apply(store, preview)

        n = preview.changed
        self.tasks.keep(keep, f"{preview.source}: {n} image{'s' * (n != 1)} changed.")

    # ---- lock ----

    def _lock_or_unlock(self) -> None:
        loaded = self.follow.loaded
        if loaded is None:
            return
        if loaded.lock is not None:
            self._keep_lock(_unlock, "The study is not locked any more.")
        elif loaded.suggested is not None:
            dialog = LockDialog(loaded.suggested, loaded.rows, self)
            dialog.accepted.connect(lambda: self.lock(dialog.wanted))
            self._open_dialog(dialog)

    def lock(self, wanted: Lock) -> None:
        """Hold model, diameter, threshold and level for all images."""

        def keep(store: Store) -> None:
            from celltally.project.study_lock import lock

            lock(store, wanted)

        self._keep_lock(keep, f"Locked to {wanted.text}.")

    def _keep_lock(self, work: Callable[[Store], None], words: str) -> None:
        """Change what the study is locked to; the other widgets know it then."""

        def keep(store: Store) -> None:
            work(store)
            self.saving.read_lock()

        self.tasks.keep(keep, words)

    # ---- recount ----

    def recount_all(self) -> None:
        """Open the window that counts all images with another model."""
        if self.saving.store is not None:
            window = RecountWindow(self.saving, self.jobs, self)
            window.used.connect(self._recounted)
            self._open_dialog(window)

    def _recounted(self, words: str) -> None:
        self.status.say(words)
        self.follow.read(look_for_files=True)

    # ---- windows and files ----

    def _open_dialog(self, dialog: QDialog) -> None:
        """Show a dialog; the window can be used meanwhile."""
        if self.dialog is not None:
            self.dialog.close()
        self.dialog = dialog
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.destroyed.connect(lambda *_: self._closed(dialog))
        dialog.show()

    def _closed(self, dialog: QDialog) -> None:
        if self.dialog is dialog:
            self.dialog = None

    def show_plots(self) -> None:
        """Show plots of the study."""
        if self.plots is None:
            self.plots = PlotWindow(self.jobs, lambda: ink_of(self.viewer), self)
            self.plots.view.told.connect(self.status.say)
        self.plots.show()
        self.plots.raise_()
        self.plots.show_rows(self.rows)

    def show_agreement(self) -> None:
        """Compare a person with the model, or with another person."""
        store = self.saving.store
        if store is not None:
            window = AgreementWindow(store, self.jobs, lambda: ink_of(self.viewer), self)
            window.compared.connect(self._compared)
            window.told.connect(self.status.say)
            self._open_dialog(window)

    def _compared(self, compared: Compared | None) -> None:
        self._agreed = compared

    def write_methods(self) -> None:
        """Write the paragraph for the methods section, and show it."""
        agreed = self._agreement()
        self.tasks.start(
            lambda store: work.methods_job(store, agreed),
            lambda words: self._open_dialog(MethodsWindow(words, self)),
            read=True,
        )

    def _agreement(self) -> Any:
        """Return the agreement that was found last, as the methods take it."""
        return None if self._agreed is None else self._agreed.agreed

    def _ask_export(self, suffix: str) -> None:
        if path := ask_table(self, self._place() / f"{self.saving.name}{suffix}"):
            self.export(path)

    def export(self, path: Path) -> None:
        """Write the table: an Excel file where its name says so, else one tidy CSV."""
        by, agreed = self._grouped_by(), self._agreement()

        def make(store: Store) -> Generator[Progress, None, str]:
            if path.suffix.lower() == ".xlsx":
                return work.excel_job(store, path, by, agreed)
            return work.sheet_job(store, path)

        self.tasks.start(make, self.status.say, read=True)

    def _grouped_by(self) -> tuple[str, ...]:
        return ("condition",) if self.plots is None else self.plots.plot.by

    def _ask_training(self) -> None:
        suggested = self._place() / f"{self.saving.name} data"
        if folder := ask_new_folder(self, "Folder of the data set", suggested):
            self.export_training(folder)

    def export_training(self, folder: Path) -> None:
        """Write what was reviewed as a data set folder."""
        self.tasks.start(lambda store: work.training_job(store, folder), self.status.say)


def _unlock(store: Store) -> None:
    from celltally.project.study_lock import unlock

    unlock(store)


def _was_placed() -> bool:
    """Whether napari remembers where the user put it."""
    from napari.settings import get_settings

    places = getattr(get_settings().application, "plugin_widget_positions", None) or {}
    return any(name.startswith("Study (") for name in places)


def _summary(rows: Sequence[StudyRow], lock: Lock | None) -> str:
    """How much there is, and how much of it is marked."""
    if not rows:
        return ""
    images = len({row.entry.id for row in rows})
    regions = sum(row.is_region for row in rows)
    parts = [f"{images} image{'s' * (images != 1)}"]
    parts += [f"{regions} region{'s' * (regions != 1)}"] if regions else []
    missing = len({row.entry.id for row in rows if row.missing})
    parts += [f"{missing} missing file{'s' * (missing != 1)}"] if missing else []
    if lock is not None:
        otherwise = sum(bool(tell_apart(row)) for row in rows if not row.is_region)
        parts.append(f"locked, {otherwise} counted otherwise" if otherwise else "locked")
    return " · ".join(parts)

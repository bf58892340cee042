"""The table of a study follows its project: read, and worked out, when it has changed."""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.saving import Saving
from celltally._napari.study_loading import Loaded, Partial, load_job, refresh_job
from celltally.types import Progress

__all__ = ["Following"]

#: Milliseconds without another change until the project is read: reading shares Python's
#: lock with the window, so it waits until the user pauses; and the longest that it waits.
QUIET, LONGEST = 900, 8_000


class Following(QObject):
    """Reads the project when it has changed, and works out what is stale.

    Parameters
    ----------
    saving
        That of the window.
    jobs
        Of the widget.
    """

    #: There is another table, or a part of it is worked out.
    changed = Signal()
    #: How far working out is; None: it has ended.
    progressed = Signal(object)
    #: What is to be told, in a sentence.
    told = Signal(str)

    def __init__(self, saving: Saving, jobs: Jobs) -> None:
        super().__init__()
        self._saving, self._jobs = saving, jobs
        self.loaded: Loaded | None = None
        self._reading: Job | None = None
        self._working: Job | None = None
        self._again = False
        self._asleep = self._left = False
        self._partial = Partial()
        self._quiet, self._longest = QTimer(self), QTimer(self)
        for timer, interval in ((self._quiet, QUIET), (self._longest, LONGEST)):
            timer.setSingleShot(True)
            timer.setInterval(interval)
            timer.timeout.connect(self.read)
        saving.opened.connect(self.start_over)
        saving.marked.connect(self._marked)

    @property
    def busy(self) -> bool:
        """Whether the project is being read or worked out, or soon will be."""
        waits = self._quiet.isActive() or self._longest.isActive()
        return waits or self._reading is not None or self._working is not None

    @property
    def working(self) -> bool:
        """Whether figures are being worked out."""
        return self._working is not None

    def start_over(self) -> None:
        """Read another project."""
        self.stop()
        self.loaded = None
        self.changed.emit()
        self.read(look_for_files=True)

    def stop(self) -> None:
        """Leave what runs."""
        self._quiet.stop()
        self._longest.stop()
        for job in (self._reading, self._working):
            if job is not None:
                job.abandon()
        if self._working is not None:
            self.progressed.emit(None)
        self._reading = self._working = None
        self._again = False

    def leave(self) -> None:
        """Hear nothing more of the project, and tell nobody."""
        if self._left:
            return
        self._left = True
        self._saving.opened.disconnect(self.start_over)
        self._saving.marked.disconnect(self._marked)
        self.blockSignals(True)
        self.stop()

    def sleep(self, asleep: bool) -> None:
        """Read nothing while nobody sees the table."""
        self._asleep = asleep
        if not asleep and self._again:
            self.read()

    def _marked(self) -> None:
        """Something was saved, or will be."""
        if self._saving.line.idle and self._saving.store is not None:
            self._quiet.start()
            if not self._longest.isActive():
                self._longest.start()

    # ---- read ----

    def read(self, *, look_for_files: bool = False) -> None:
        """Read the table anew; once more afterwards, if it is being read."""
        self._quiet.stop()
        self._longest.stop()
        store = self._saving.store
        if store is None:
            return
        if self._reading is not None or self._asleep:
            self._again = True
            return
        self._again = False
        known = None if look_for_files or self.loaded is None else self.loaded.missing
        self._reading = self._jobs.start(
            lambda: load_job(store, known),
            on_done=self._read,
            on_failed=self._not_read,
        )

    def _read(self, loaded: Loaded) -> None:
        self._reading = None
        self._show(loaded)
        if self._again:
            self.read()
        elif loaded.stale and self._working is None:
            self._work()

    def _not_read(self, error: Exception) -> None:
        self._reading = None
        self.told.emit(f"{sentence(error)}.")

    def _show(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.changed.emit()

    # ---- work out ----

    def _work(self) -> None:
        store, loaded, self._partial = self._saving.store, self.loaded, Partial()
        if store is None or loaded is None:
            return
        missing, partial = loaded.missing, self._partial
        self._working = self._jobs.start(
            lambda: refresh_job(store, missing, partial),
            on_done=self._worked,
            on_failed=self._not_worked,
            on_cancelled=self._stopped,
            on_progress=self._progress,
        )

    def _progress(self, step: Progress) -> None:
        self.progressed.emit(step)
        if (loaded := self._partial.take()) is not None:
            self._show(loaded)

    def _worked(self, loaded: Loaded) -> None:
        self._working = None
        self.progressed.emit(None)
        self._show(loaded)
        if self._again:
            self.read()

    def _not_worked(self, error: Exception) -> None:
        self._working = None
        self.progressed.emit(None)
        self.told.emit(f"{sentence(error)}.")

    def _stopped(self) -> None:
        self._working = None
        self.progressed.emit(None)
        self.told.emit("Stopped: rows with a ring show figures of before the last change.")

    def cancel(self) -> None:
        """Stop working out; what is worked out by then is kept."""
        if self._working is not None:
            self._working.cancel()

"""What the user asks of a study is done one thing at a time, shown, and told how it ended."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.saving import Saving
from celltally._napari.study_bar import StudyStatus
from celltally._napari.study_follow import Following
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.store import Store

__all__ = ["Tasks"]


class Tasks(QObject):
    """Runs a job at a time, and writes to the project behind what is being saved.

    Parameters
    ----------
    saving
        That of the window.
    jobs
        Of the widget.
    follow
        Reads the project once something was done to it.
    status
        Shows how far it is, and how it ended.
    """

    def __init__(self, saving: Saving, jobs: Jobs, follow: Following, status: StudyStatus) -> None:
        super().__init__()
        self._saving, self._jobs, self._follow, self._status = saving, jobs, follow, status
        self._job: Job | None = None
        follow.progressed.connect(self._progress)
        follow.told.connect(status.say)
        status.cancelled.connect(self.cancel)

    @property
    def busy(self) -> bool:
        """Whether something that was asked for is under way."""
        return self._job is not None

    def start(
        self,
        make: Callable[[Store], Generator[Progress, None, Any]],
        on_done: Callable[[Any], None],
        *,
        read: bool = False,
    ) -> None:
        """Run a job on the open project; where another runs, say so instead.

        Parameters
        ----------
        make
            Makes the job.
        on_done
            Gets its result.
        read
            Whether the project is to be read afterwards, however it ended.
        """
        store = self._saving.store
        if store is None:
            return
        if self._job is not None:
            self._status.say("Wait until the last one is done, or cancel it.")
            return

        def ended(words: str) -> None:
            self._job = None
            self._status.show_idle()
            self._status.say(words)
            if read:
                self._follow.read(look_for_files=True)

        def done(result: Any) -> None:
            ended("")
            on_done(result)

        def failed(error: Exception) -> None:
            ended("")
            self._failed(error)

        self._status.show_progress(Progress(0, 0, "starting"))
        self._job = self._jobs.start(
            lambda: make(store),
            on_done=done,
            on_failed=failed,
            on_cancelled=lambda: ended("Cancelled."),
            on_progress=self._status.show_progress,
        )

    def keep(self, work: Callable[[Store], Any], words: str) -> None:
        """Write something to the project, behind what is being saved.

        It is given up where it fails, as the user is told of it and can ask once more.

        Parameters
        ----------
        work
            Writes it.
        words
            What to say once it is written.
        """
        store = self._saving.store
        if store is None:
            return

        def done(_: object) -> None:
            self._status.say(words)
            self._follow.read()

        self._saving.line.do(lambda: work(store), on_done=done, on_failed=self._failed)

    def cancel(self) -> None:
        """End what was asked for, else working out, as soon as it can be."""
        self._status.show_cancelling()
        if self._job is not None:
            self._job.cancel()
        else:
            self._follow.cancel()

    def _failed(self, error: Exception) -> None:
        from napari.utils.notifications import show_error

        words = sentence(error)
        words = words if words.endswith(".") else f"{words}."
        self._status.say(words)
        show_error(words)

    def _progress(self, step: Progress | None) -> None:
        """Show how far working out is, where nothing else runs."""
        if self._job is None and step is not None:
            self._status.show_progress(step)
        elif self._job is None:
            self._status.show_idle()

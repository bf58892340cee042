"""What is known of why a count is what it is, and the jobs that find it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal

from celltally._napari import explaining
from celltally._napari.counting import PlaneCount
from celltally._napari.explaining import Held, Prototypes
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.subject_section import Subject

if TYPE_CHECKING:
    from celltally.explain.overview import Overview
    from celltally.explain.similarity import Similarities, Window

__all__ = ["Explainer", "Known"]


@dataclass(eq=False)
class Known:
    """What is known of one count.

    Attributes
    ----------
    prototypes
        Those of its model; None until they are read.
    overview
        All that they say of the image; None until it was asked for.
    found
        Similarities of the image, or of the window that was looked at last.
    problem
        Why its model's prototypes cannot be shown; "" where they can.
    """

    prototypes: Prototypes | None = None
    overview: Overview | None = None
    found: Similarities | None = None
    problem: str = ""
    held: Held = field(default_factory=Held)


class Explainer(QObject):
    """Runs a job at a time, and remembers for every count what was found.

    ``changed`` is emitted when there is something new to show, ``started``, ``progressed``
    and ``ended`` (with words for the user) around a job that the user waits for.

    Parameters
    ----------
    jobs
        The widget's.
    """

    changed = Signal()
    started = Signal()
    progressed = Signal(object)
    ended = Signal(str)

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._job: Job | None = None
        self._asked: PlaneCount | None = None
        self._known: WeakKeyDictionary[PlaneCount, Known] = WeakKeyDictionary()
        self._next: tuple[Window | None, Callable[[], None]] | None = None
        self.subject: Subject | None = None

    @property
    def running(self) -> bool:
        """Whether something is being computed."""
        return self._job is not None

    @property
    def known(self) -> Known:
        """What is known of the count that is explained."""
        if self.subject is None:
            return Known()
        return self._known.setdefault(self.subject.counted, Known())

    def show_subject(self, subject: Subject | None) -> None:
        """Explain another count from now on; what runs for an earlier one is cancelled."""
        before, self.subject = self.subject, subject
        counted = None if subject is None else subject.counted
        if self.running and self._asked is not counted:
            self.cancel()
        known = self.known
        new = counted is not None and (before is None or before.counted is not counted)
        if new and known.prototypes is None and not known.problem:
            self._read(counted, known)
        self.changed.emit()

    def _read(self, counted: PlaneCount, known: Known) -> None:
        """Read the model's prototypes, beside whatever runs."""

        def done(prototypes: Prototypes) -> None:
            known.prototypes = prototypes
            self.changed.emit()

        def failed(error: Exception) -> None:
            known.problem = sentence(error)
            self.changed.emit()

        self._jobs.start(lambda: explaining.prototypes_job(counted), on_done=done, on_failed=failed)

    def explain(self) -> None:
        """Start to find out all that the prototypes say of the count."""
        if self.subject is None or self.running:
            return
        counted, known = self.subject.counted, self.known

        def done(overview: Overview) -> None:
            known.overview = overview
            if overview.found is not None:
                self._keep(known, overview.found)
            self._ended(counted, " ".join(overview.notes))

        self._start(counted, lambda: explaining.overview_job(counted, known.held), done)

    def compare(self, window: Window | None, then: Callable[[], None]) -> None:
        """Start to compare a window with the prototypes; ``then`` is called when that is done.

        While something else is computed it waits; of two that wait the later one is done.
        """
        if self.subject is None:
            return
        if self.running:
            self._next = (window, then)
            return
        counted, known = self.subject.counted, self.known

        def done(found: Similarities) -> None:
            self._keep(known, found)
            self._ended(counted)
            if self.subject is not None and self.subject.counted is counted:
                then()

        self._start(counted, lambda: explaining.window_job(counted, known.held, window), done)

    def cancel(self) -> None:
        """End what runs as soon as it can be."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _start(self, counted: PlaneCount, make: Any, done: Callable[[Any], None]) -> None:
        self._asked = counted
        self._job = self._jobs.start(
            make,
            on_done=done,
            on_failed=lambda error: self._failed(counted, error),
            on_cancelled=lambda: self._ended(counted, "Cancelled: nothing was changed."),
            on_progress=self.progressed.emit,
        )
        self.started.emit()

    def _keep(self, known: Known, found: Similarities) -> None:
        """Keep similarities for clicks, of one image at a time: they are large."""
        for other in self._known.values():
            if other is not known:
                other.found = None
                other.held.scaled = None
        known.found = found

    def _failed(self, counted: PlaneCount, error: Exception) -> None:
        text = sentence(error)
        self._ended(counted, text)
        show_error(text)

    def _ended(self, counted: PlaneCount, words: str = "") -> None:
        self._job = self._asked = None
        mine = self.subject is not None and self.subject.counted is counted
        self.ended.emit(words if mine else "")
        self.changed.emit()
        if self._next is not None:
            (window, then), self._next = self._next, None
            if mine and self.known.found is not None and window is None:
                then()
            else:
                self.compare(window, then)

"""Runs a count: of a plane or of many, with progress and cancel, and keeps what is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from celltally._napari import export
from celltally._napari.correcting import Correcting
from celltally._napari.counting import PlaneCount
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.keeping import Keeping
from celltally._napari.planes import Plane, key_of
from celltally._napari.results import Results
from celltally._napari.scope import Scope
from celltally._napari.series import CountedPlane, iter_series
from celltally._napari.stored import stored_count
from celltally.density.stacks import join_dots
from celltally.errors import TryAgainError
from celltally.project.edits import Work
from celltally.project.propose import PlaneOf
from celltally.record import ModelRecord
from celltally.types import Dots, Progress

__all__ = ["CountRunner"]

#: Planes with their maps that may wait to be saved: counting waits for them.
MOST_WAITING = 2
#: Milliseconds from a plane's count until its dots are proposed, together with others'.
PROPOSE_AFTER = 300
#: Dots that are proposed at once: of more the window would have to wait.
PROPOSE_AT_ONCE = 1_000
#: Milliseconds in which the window is painted between two steps.
PAINT = 30


@dataclass(frozen=True, eq=False)
class _Arrived:
    """A plane as it arrives on the window's thread; with its maps only if it is in view."""

    run: _Run
    plane: Plane
    figures: Any
    dots: Dots
    counted: PlaneCount | None


@dataclass(eq=False)
class _Run:
    """A count that is under way, or was."""

    key: str
    planes: Sequence[Plane]
    scope: Scope
    diameter_px: float
    in_view: Plane
    by_hand: int
    counted: int = 0
    pending: list[tuple[PlaneOf, Dots]] = field(default_factory=list)
    #: Number of dots newly proposed, gone, left out beside edits, and where it was reviewed.
    told: list[int] = field(default_factory=lambda: [0, 0, 0, 0])


class CountRunner(QObject):
    """Counts planes of an image; one count is under way at a time.

    Parameters
    ----------
    jobs
        Those of the widget.
    results, correcting, keeping
        Those of the widget: they are told of each plane as it is counted.
    layer_of
        Gives the layer of a key; None where it was closed.
    parent
        Ends it.
    """

    progressed = Signal(object)
    #: Key of an image of which a plane was counted, and that plane's count if it is in view.
    counted = Signal(str, object)
    #: The count is over, with words for the user.
    ended = Signal(str)
    failed = Signal(str)
    _arrived = Signal(object)

    def __init__(
        self,
        jobs: Jobs,
        results: Results,
        correcting: Correcting,
        keeping: Keeping,
        layer_of: Callable[[str], Image | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._jobs, self._results, self._layer_of = jobs, results, layer_of
        self._correcting, self._keeping = correcting, keeping
        self._run: _Run | None = None
        self._gone = False
        self._job: Job | None = None
        self._step: Callable[[], None] = lambda: None
        self._soon = self._timer(PAINT, lambda: self._step())
        self._propose_soon = self._timer(PROPOSE_AFTER, self._propose_some)
        self._arrived.connect(self._take)

    def _timer(self, milliseconds: int, do: Callable[[], None]) -> QTimer:
        def done() -> None:
            try:
                do()
            except Exception as error:  # Qt would end the program
                self._fail(error)

        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(done)
        return timer

    @property
    def running(self) -> bool:
        """Whether a count is under way."""
        return self._run is not None

    def leave(self) -> None:
        """Do nothing more."""
        self._soon.stop()
        self._propose_soon.stop()
        self._run = self._job = None
        self._gone = True

    # ---- from the button to the thread ----

    def start(
        self, layer: Image, in_view: Plane, scope: Scope, record: ModelRecord, diameter_px: float
    ) -> None:
        """Begin to count an image.

        Parameters
        ----------
        layer
            The image.
        in_view
            The plane in view, of which the count stays loaded.
        scope
            Which planes.
        record
            Of the model to count with.
        diameter_px
            Cell diameter, of all planes.
        """
        key, name = key_of(layer), export.image_name(layer)
        planes = scope.planes(in_view)
        work = self._correcting.work(key)
        by_hand = 0 if work is None else int(np.count_nonzero(work.dots.state != "proposed"))
        run = self._run = _Run(key, planes, scope, diameter_px, in_view, by_hand)
        # Counted in another way before: all that was proposed at the time point goes.
        times = dict.fromkeys(plane.index("T") for plane in planes)
        before = {t: self._results.method(key, t) for t in times}
        run.pending = [
            ((t, None), Dots.new())
            for t, method in before.items()
            if method not in (None, scope.z_method)
        ]
        take = self._taking(run, layer)
        self._job = self._jobs.start(
            lambda: iter_series(
                planes, record, diameter_px, name,
                take=take, words=lambda i: scope.place(i, in_view),
            ),
            on_done=lambda problems: self._done(run, problems),
            on_failed=lambda error: self._job_failed(run, error),
            on_cancelled=lambda: self._cancelled(run),
            on_progress=self.progressed.emit,
        )  # fmt: skip

    def cancel(self) -> None:
        """End the count as soon as it can be; what is counted is kept."""
        if self._job is not None:
            self._job.cancel()

    def _taking(
        self, run: _Run, layer: Image
    ) -> Callable[[CountedPlane], Generator[Progress, None, None]]:
        """Return what takes a plane on the thread of the job: into the line of what is saved."""
        keep = self._keeping.keeper(layer)
        room = threading.Semaphore(MOST_WAITING)

        def take(found: CountedPlane) -> Generator[Progress, None, None]:
            counted, plane = found.counted, found.counted.plane
            while keep is not None and not room.acquire(timeout=0.05):
                yield Progress(0, 0, "Waiting until the project is saved")
            figures = stored_count(counted, found.interval, unlike=found.unlike)
            shown = counted if self._is_in_view(run, plane) else None
            dots = counted.dots(counted.threshold)
            self._arrived.emit(_Arrived(run, plane, figures, dots, shown))
            if keep is None:
                return

            def kept(stored: Any) -> None:
                room.release()
                if self._gone or self._layer_of(run.key) is None:
                    return
                self._results.add_stored(run.key, stored, plane)
                self.counted.emit(run.key, None)

            def failed(error: Exception) -> None:
                if not isinstance(error, TryAgainError):
                    room.release()

            keep(counted, found.interval, unlike=found.unlike, on_kept=kept, on_failed=failed)

        return take

    def _is_in_view(self, run: _Run, plane: Plane) -> bool:
        z = plane.z_method == "projection" or plane.index("Z") == run.in_view.index("Z")
        return z and plane.index("T") == run.in_view.index("T")

    # ---- back on the window's thread ----

    def _take(self, arrived: _Arrived) -> None:
        run, plane = arrived.run, arrived.plane
        if run is not self._run:
            return
        if self._layer_of(run.key) is None:
            self.cancel()
            return
        run.counted += 1
        if arrived.counted is not None:
            self._results.put(run.key, arrived.counted)
        self._results.add_stored(run.key, arrived.figures, plane)
        run.pending.append((plane.place, arrived.dots))
        if len(run.planes) > 1 and not self._propose_soon.isActive():
            self._propose_soon.start()
        self.counted.emit(run.key, arrived.counted)

    def _propose_some(self) -> None:
        """Propose dots of planes that were counted, a few planes at a time."""
        if self._propose_pending(PROPOSE_AT_ONCE):
            self._propose_soon.start()

    def _propose_pending(self, most: int) -> bool:
        """Propose the dots of some planes that were counted; whether others are left."""
        run = self._run
        if run is None or not run.pending or self._layer_of(run.key) is None:
            return False
        key, n, dots_of_some = run.key, 0, 0
        while n < len(run.pending) and dots_of_some <= most:
            dots_of_some += len(run.pending[n][1])
            n += 1
        pending, run.pending = run.pending[:n], run.pending[n:]
        if self._correcting.work(key) is None:
            self._correcting.set_work(key, Work(), run.in_view, run.diameter_px)
        every = [place for place, dots in pending if place[1] is None and not len(dots)]
        rest = [(place, dots) for place, dots in pending if place not in every]
        for planes, found in ((every, []), ([p for p, _ in rest], [d for _, d in rest])):
            if planes:
                proposal = self._correcting.propose(key, join_dots(found), planes, run.diameter_px)
                numbers = (proposal.new, proposal.gone, proposal.beside, proposal.reviewed)
                run.told = [a + b for a, b in zip(run.told, numbers, strict=True)]
        return bool(run.pending)

    def _done(self, run: _Run, problems: dict[int, Exception]) -> None:
        """Propose what is left when the window has drawn what there is."""
        if run is not self._run:
            return
        if self._layer_of(run.key) is None:
            self._end("The image was closed while it was counted.")
            return

        def finish() -> None:
            if self._propose_pending(PROPOSE_AT_ONCE):
                self._soon.start()  # when the window is painted
                return
            words = [self._said(run)]
            if problems:
                first = min(problems)
                place = run.scope.place(first, run.in_view)
                words.append(
                    f"{run.scope.amount(len(problems))} could not be counted; "
                    f"{place}: {sentence(problems[first])}"
                )
            self._end("\n".join(part for part in words if part))

        self._propose_soon.stop()
        self._step = finish
        self._soon.start()

    def _said(self, run: _Run) -> str:
        """Say what counting again has changed, where a human had edited."""
        if not run.by_hand:
            return ""
        from celltally.project.edits import Edit
        from celltally.project.propose import Proposal

        text = Proposal(Edit("propose", (), "system"), *run.told).text
        return f"Dots: {text}. The {run.by_hand} dots that you edited are as they were."

    def _cancelled(self, run: _Run) -> None:
        if run is not self._run:
            return
        if self._layer_of(run.key) is None:
            self._end("The image was closed while it was counted.")
            return

        def finish() -> None:
            if self._propose_pending(PROPOSE_AT_ONCE):
                self._soon.start()
                return
            self._end(self._cancelled_words(run))

        self._propose_soon.stop()
        self._step = finish
        finish()

    def _cancelled_words(self, run: _Run) -> str:
        several = len(run.planes) > 1
        return (
            f"Cancelled: {run.scope.amount(run.counted)} of {len(run.planes)} "
            f"{'is' if run.counted == 1 else 'are'} counted, and kept."
            if several and run.counted
            else "Cancelled: nothing was changed."
        )

    def _end(self, words: str) -> None:
        self._propose_soon.stop()
        self._run = self._job = None
        self.ended.emit(words)

    def _job_failed(self, run: _Run, error: Exception) -> None:
        if run is self._run:
            while self._propose_pending(PROPOSE_AT_ONCE):
                pass
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        text = sentence(error)
        self._end(text)
        self.failed.emit(text)

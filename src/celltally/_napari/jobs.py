"""Long work beside the window: the only place with worker, progress and cancel.

A job is a generator that yields ``Progress`` and returns its result. It runs on
a thread; whatever it reports arrives on the window's thread. What must happen one after the
other, such as saving, is done ``InOrder``.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from celltally.errors import TryAgainError, UserError
from celltally.types import Progress

__all__ = ["InOrder", "Job", "Jobs", "sentence"]

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

#: Seconds between two reports. More often, repainting costs more than the work.
REPORT_EVERY = 0.25
#: Seconds after which Python lets another thread go on, while there are jobs. By default it is
#: 5 ms; painting asks for Python's lock a hundred times, and waits that long each time.
SWITCH_AFTER = 0.0005


def sentence(error: Exception) -> str:
    """One sentence for the user; what was not their mistake goes to the log in full."""
    if isinstance(error, UserError):
        text = str(error)
        return text[:1].upper() + text[1:]
    logger.error("a job failed", exc_info=error)
    return f"Something went wrong ({type(error).__name__}); see the log for details."


@dataclass(frozen=True)
class _Failed:
    """How a job ended that raised."""

    error: Exception


def _ignore(*_: Any) -> None:
    """Do nothing with what is reported."""


class Job:
    """One running generator, with its callbacks.

    Exactly one of ``on_done``, ``on_failed`` and ``on_cancelled`` is called.
    """

    def __init__(
        self,
        make: Callable[[], Generator[Progress, None, Result]],
        *,
        on_done: Callable[[Result], None],
        on_failed: Callable[[Exception], None] = _ignore,
        on_cancelled: Callable[[], None] = _ignore,
        on_progress: Callable[[Progress], None] = _ignore,
    ) -> None:
        self.running = True
        self._callbacks: dict[str, Callable[..., None]] = {
            "done": on_done,
            "failed": on_failed,
            "cancelled": on_cancelled,
            "progress": on_progress,
        }
        self._cancelled = False
        self._worker = create_worker(self._steps, make, _start_thread=False, _ignore_errors=True)
        self._worker.yielded.connect(self._report)
        self._worker.returned.connect(self._done)
        self._worker.errored.connect(self._failed)
        self._worker.aborted.connect(self._aborted)

    #: Qt holds whom it calls back weakly; a running job must not vanish.
    _alive: ClassVar[set[Job]] = set()
    #: What ``SWITCH_AFTER`` stands in for.
    _usual_switch: ClassVar[float] = sys.getswitchinterval()

    def start(self) -> None:
        """Start the thread."""
        if not self._alive:
            Job._usual_switch = sys.getswitchinterval()
            sys.setswitchinterval(min(SWITCH_AFTER, Job._usual_switch))
        self._alive.add(self)
        self._worker.finished.connect(self._finished)
        self._worker.start()

    def _finished(self) -> None:
        self._alive.discard(self)
        # napari holds every worker to the end; what is called back may hold a whole image.
        self._callbacks = dict.fromkeys(self._callbacks, _ignore)
        if not self._alive:
            sys.setswitchinterval(self._usual_switch)

    def cancel(self) -> None:
        """Ask the job to end at its next step; ``on_cancelled`` tells when it has."""
        self._cancelled = True

    def abandon(self) -> None:
        """Cancel, and report nothing any more: whoever listened is gone."""
        self._callbacks = dict.fromkeys(self._callbacks, _ignore)
        self.cancel()

    def _steps(
        self, make: Callable[[], Generator[Progress, None, Result]]
    ) -> Generator[Progress | None, None, Result | _Failed | None]:
        """Yield at every step (a job ends at yields only), but report few of them.

        A cancelled generator is closed here, on its own thread, so that what it
        holds is given back at once. An error is returned, not raised: the worker
        swallows every ``RuntimeError``, which is what torch raises most.
        """
        job = make()
        reported = -REPORT_EVERY
        try:
            while not self._cancelled:
                try:
                    step = next(job)
                except StopIteration as end:
                    return end.value
                now = time.monotonic()
                due = now - reported >= REPORT_EVERY
                reported = now if due else reported
                yield step if due else None
            return None
        except Exception as error:
            return _Failed(error)
        finally:
            job.close()

    def _call(self, name: str, *values: Any) -> None:
        """Call back; an error there fails the job, for Qt would end the program."""
        try:
            self._callbacks[name](*values)
        except Exception as error:
            if name == "failed":
                logger.exception("showing an error failed")
            else:
                self._call("failed", error)

    def _report(self, step: Progress | None) -> None:
        if step is not None and not self._cancelled:
            self._call("progress", step)

    def _done(self, result: Any) -> None:
        self.running = False
        if self._cancelled:  # maybe past its last step, with a result
            self._call("cancelled")
        elif isinstance(result, _Failed):
            self._call("failed", result.error)
        else:
            self._call("done", result)

    def _failed(self, error: Exception) -> None:
        self.running = False
        self._call("failed", error)

    def _aborted(self) -> None:
        self.running = False
        self._call("cancelled")


class Jobs:
    """The jobs of one widget, so that they end with it, or with the program."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.stop)

    def start(self, make: Callable[[], Generator[Progress, None, Any]], **callbacks: Any) -> Job:
        """Run a job; see ``Job`` for the callbacks."""
        self._jobs = [job for job in self._jobs if job.running]
        job = Job(make, **callbacks)
        self._jobs.append(job)
        job.start()
        return job

    def stop(self, *_: object) -> None:
        """Abandon whatever still runs."""
        for job in self._jobs:
            if job.running:
                job.abandon()
        self._jobs = []


@dataclass(frozen=True)
class _Task:
    """Something to be done in order."""

    work: Callable[[], Any]
    on_done: Callable[[Any], None]
    on_failed: Callable[[Exception], None]
    must: bool


@dataclass(frozen=True)
class _Trouble:
    """Why something was not done, and whether it is over with that."""

    error: Exception
    over: bool


class InOrder(QObject):
    """Does things one after the other on a thread of its own, and loses none of them.

    What *must* be done and fails for a reason that can pass (a ``TryAgainError``: the disk
    is full) stays first in the line, and nothing behind it is done before it:
    ``try_again``. Callbacks arrive on the window's thread.
    """

    #: How many things are still to be done.
    waiting = Signal(int)
    _over = Signal(object, object, object)

    #: Seconds that the end of the program waits for what is still to be done.
    PATIENCE = 20.0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._line: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._stuck = self._closing = False
        self._untold = 0
        self._thread = threading.Thread(target=self._run, name="celltally saving", daemon=True)
        self._over.connect(self._tell)
        self._thread.start()
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.finish)

    def do(
        self,
        work: Callable[[], Any],
        *,
        on_done: Callable[[Any], None] = _ignore,
        on_failed: Callable[[Exception], None] = _ignore,
        must: bool = False,
    ) -> None:
        """Put something at the end of the line; may be called on any thread."""
        with self._changed:
            self._untold += 1
            self._line.append(_Task(work, on_done, on_failed, must))
            self._changed.notify()

    @property
    def stuck(self) -> bool:
        """Whether the first in the line failed and waits to be tried again."""
        return self._stuck

    @property
    def idle(self) -> bool:
        """Whether all is done."""
        return not self._line

    @property
    def settled(self) -> bool:
        """Whether all is done, and told."""
        return self._untold == 0

    def try_again(self) -> None:
        """Try what failed again."""
        with self._changed:
            self._stuck = False
            self._changed.notify()

    def finish(self, *_: object) -> None:
        """Do all that is left, and end; what fails now as well is given up and logged."""
        with self._changed:
            self._stuck, self._closing = False, True
            self._changed.notify()
        self._thread.join(self.PATIENCE)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._stuck or not self._line:
                    if self._closing:
                        return
                    self._changed.wait()
                task = self._line[0]
            result, error = None, None
            try:
                result = task.work()
            except Exception as problem:
                error = problem
            with self._changed:
                stays = task.must and isinstance(error, TryAgainError)
                if stays and not self._closing:
                    self._stuck = True
                else:
                    self._line.popleft()
                    if error is not None and task.must:
                        logger.error("something could not be saved", exc_info=error)
                trouble = _Trouble(error, over=not self._stuck) if error else None
            self._over.emit(task, result, trouble)

    def _tell(self, task: _Task, result: Any, trouble: _Trouble | None) -> None:
        with self._changed:
            self._untold -= trouble is None or trouble.over
        try:
            if trouble is None:
                task.on_done(result)
            else:
                task.on_failed(trouble.error)
        except Exception:  # Qt would end the program
            logger.exception("telling how something ended failed")
        self.waiting.emit(len(self._line))

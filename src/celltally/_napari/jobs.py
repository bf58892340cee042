"""Long work beside the window: the only place with worker, progress and cancel.

A job is a generator that yields ``Progress`` and returns its result. It runs on
a thread; whatever it reports arrives on the window's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from napari.qt.threading import create_worker
from qtpy.QtWidgets import QApplication

from celltally.errors import UserError
from celltally.types import Progress

__all__ = ["Job", "Jobs", "sentence"]

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

#: Seconds between two reports. More often, repainting costs more than the work.
REPORT_EVERY = 0.25


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

    def start(self) -> None:
        """Start the thread."""
        self._alive.add(self)
        self._worker.finished.connect(self._finished)
        self._worker.start()

    def _finished(self) -> None:
        self._alive.discard(self)

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

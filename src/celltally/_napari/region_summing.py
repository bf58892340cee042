"""Sums over regions that would hold the window up: worked out beside it."""

from __future__ import annotations

from collections.abc import Generator, Hashable

from qtpy.QtCore import QObject, Signal

from celltally._napari.jobs import Jobs, sentence
from celltally._napari.measuring import Measuring
from celltally.density.regions import region_sums
from celltally.intervals import Measured
from celltally.types import Prediction, Progress

__all__ = ["RegionSums"]


class RegionSums(QObject):
    """Prepares the maps of a count, and sums what takes long.

    ``ready`` tells that figures can follow, ``failed`` in a sentence that something went wrong.

    Parameters
    ----------
    jobs
        Those of the widget, which end with it.
    """

    ready = Signal()
    failed = Signal(str)

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self._jobs = jobs
        self._summing = False
        self._prepared: Prediction | None = None
        self._preparing: Prediction | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being worked out."""
        return self._summing or self._preparing is not None

    def has(self, prediction: Prediction) -> bool:
        """Whether a count's maps are prepared."""
        return self._prepared is prediction

    def hold(self, prediction: Prediction | None) -> None:
        """Hold nothing of any other count than this one."""
        if prediction is not self._prepared:
            self._prepared = None

    def prepare(self, prediction: Prediction) -> None:
        """Sum the rows of a count's maps."""
        if self._preparing is prediction:
            return
        self._preparing = prediction

        def prepare() -> Generator[Progress, None, None]:
            yield Progress(0, 0, "Preparing")
            region_sums(prediction).prepare()

        def done(_: object = None) -> None:
            self._preparing, self._prepared = None, prediction
            self.ready.emit()

        self._jobs.start(prepare, on_done=done, on_failed=done)

    def add_up(self, measuring: Measuring | None) -> None:
        """Sum what is left of a plane's regions, one plane at a time."""
        left = None if measuring is None else measuring.left()
        if measuring is None or left is None or self._summing:
            return
        self._summing = True

        def add_up() -> Generator[Progress, None, dict[Hashable, Measured]]:
            yield Progress(0, 0, "Adding up")
            return left()

        def done(found: dict[Hashable, Measured]) -> None:
            self._summing = False
            measuring.take(found)
            self.ready.emit()

        def failed(error: Exception) -> None:
            self._summing = False
            self.failed.emit(sentence(error))

        self._jobs.start(add_up, on_done=done, on_failed=failed)

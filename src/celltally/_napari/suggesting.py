"""*Next region to review*: found over all images of the project, and shown with a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QPushButton

from celltally._napari import texts
from celltally._napari.compat import camera, fit_view
from celltally._napari.controls import hint, wrapped
from celltally._napari.correcting import Correcting
from celltally._napari.counting import load_record
from celltally._napari.in_view import InView
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.keeping import DIAMETER, Keeping
from celltally._napari.layers.place_frame import hide_place, show_place
from celltally._napari.planes import Plane, go_to, key_of
from celltally._napari.preload import loading_torch
from celltally._napari.saving import Saving
from celltally._napari.study_opening import Opening
from celltally.project.edits import Edit, Work, diff_regions
from celltally.project.figures import Figures
from celltally.project.study import StudyRow
from celltally.record import ModelRecord
from celltally.types import Progress, Region

if TYPE_CHECKING:
    from celltally.batch.suggesting import Opened, Seen, Suggested, Suggestion
    from celltally.project.store import Store

__all__ = ["NextRegion", "suggest_job"]

_TIP = (
    "Looks through all images of the project for the region from which the chosen model would "
    "learn most, goes there and frames it. Correct the dots in it, then make it a reviewed region."
)
_WORDS = "Next region to review"
#: How many times as wide as the region the view is.
AROUND = 1.4
#: Milliseconds between two looks whether an image is there, and how often one looks.
WAIT, PATIENCE = 50, 400
#: Seconds between two looks whether all is saved.
SAVED_AFTER = 0.05


def suggest_job(
    saving: Saving,
    store: Store,
    record: ModelRecord,
    asked: Sequence[Suggestion],
    seen: Seen,
    opened: Mapping[int, Opened],
) -> Generator[Progress, None, Suggested]:
    """Find the next region to review, beside the window.

    Parameters
    ----------
    saving
        What is being saved is waited for: the project is to know the last corrections.
    store
        The project.
    record
        Of the model that is to learn.
    asked, seen, opened
        See ``batch.suggesting.iter_suggest``.
    """
    yield Progress(0, 0, "Loading the model")
    with loading_torch():
        from celltally.batch.suggesting import iter_suggest

    model = load_record(record)
    while saving.busy and not saving.line.stuck:
        yield Progress(0, 0, "Saving")
        time.sleep(SAVED_AFTER)
    return (yield from iter_suggest(store, model, 1, asked=asked, seen=seen, opened=opened))


class NextRegion(QObject):
    """Finds the region to be reviewed next, brings it into view and frames it.

    Parameters
    ----------
    viewer
        The napari viewer.
    jobs
        Those of the widget, which end with it.
    saving
        Knows the project.
    correcting
        Takes the frame, as an edit.
    keeping
        Tells when an image is shown as the project knows it.
    in_view
        What is looked at.
    model
        Gives the record of the chosen model, or None.
    diameter
        Gives the cell diameter that is set, or None.
    parent
        Ends it.
    """

    def __init__(
        self,
        viewer: Any,
        jobs: Jobs,
        saving: Saving,
        correcting: Correcting,
        keeping: Keeping,
        in_view: InView,
        model: Callable[[], ModelRecord | None],
        diameter: Callable[[], float | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._jobs, self._saving = viewer, jobs, saving
        self._correcting, self._in_view = correcting, in_view
        self._model, self._diameter = model, diameter
        self._job: Job | None = None
        self._asked: list[Suggestion] = []
        self._seen: Seen | None = None
        self._of: tuple[Any, str] | None = None
        self._going: Suggestion | None = None
        self._left = 0
        self._restored: set[str] = set()
        keeping.restored.connect(self._restored.add)
        self._opening = Opening(viewer, jobs, saving)
        self._opening.setParent(self)
        self._opening.opened.connect(lambda _: self._wait())
        self._opening.failed.connect(self._end)
        self._timer = QTimer(self)
        self._timer.setInterval(WAIT)
        self._timer.timeout.connect(self._look)
        self.button = QPushButton(_WORDS)
        self.button.setToolTip(_TIP)
        self.button.setStyleSheet("padding: 3px 5px;")
        self.button.clicked.connect(self.press)
        self.outcome = wrapped(name="next_region")

    @property
    def busy(self) -> bool:
        """Whether a region is looked for, or gone to."""
        return self._job is not None or self._going is not None

    def press(self) -> None:
        """Look for the next region, or end that."""
        if self.busy:
            self.cancel()
        else:
            self.start()

    def cancel(self) -> None:
        """End what is under way."""
        if self._job is not None:
            self._job.cancel()
        elif self._going is not None:
            self._end("")

    def leave(self) -> None:
        """Do nothing more."""
        self._timer.stop()

    def start(self) -> None:
        """Look for the region to be reviewed next."""
        saving, record = self._saving, self._model()
        store = saving.store
        problem = ""
        if record is None:
            problem = "Choose a model first: the one that is to learn."
        elif store is None:
            problem = "Count an image first, or open a project."
        elif saving.read_only:
            problem = "The project is open for reading only: no region can be put into it."
        if problem or record is None or store is None:
            hint(self.outcome, problem)
            return
        from celltally.batch.suggesting import Seen

        of = (store, record.sha256)
        if self._seen is None or self._of != of:
            self._seen, self._asked, self._of = Seen(), [], of
        asked, seen, opened = tuple(self._asked), self._seen, self._opened()
        self.button.setText("Cancel")
        hint(self.outcome, "Looking for the next region")
        self._job = self._jobs.start(
            lambda: suggest_job(saving, store, record, asked, seen, opened),
            on_done=self._found,
            on_failed=lambda error: self._end(sentence(error)),
            on_cancelled=lambda: self._end("Cancelled."),
            on_progress=lambda step: hint(
                self.outcome, step.message[:1].upper() + step.message[1:]
            ),
        )

    def _tell(self, step: Progress) -> None:
        hint(self.outcome, step.message[:1].upper() + step.message[1:])

    def _opened(self) -> dict[int, Opened]:
        """Return what reads the image in view, where it came from no file."""
        layer, plane = self._in_view.layer, self._in_view.plane
        if layer is None or plane is None or self._saving.known_as(layer).path is not None:
            return {}
        number = self._saving.number_of(key_of(layer))

        def read(t: int, z: int) -> Generator[Progress, None, Any]:
            return plane.moved(t=t, z=z).iter_read()

        return {} if number is None else {number: read}

    # ---- going there ----

    def _found(self, found: Suggested) -> None:
        self._job = None
        if not found.suggestions:
            missing = f" {found.missing[0]}" if found.missing else ""
            self._end(f"Nothing is left to be reviewed.{missing}")
            return
        self._going = found.suggestions[0]
        layer = self._in_view.layer
        if layer is not None and self._saving.number_of(key_of(layer)) == self._going.entry.id:
            self._wait()
            return
        one = self._going
        figures = Figures(one.entry.id, one.t, one.z, one.z_method)
        self._opening.open(StudyRow(one.entry, figures, None))

    def _wait(self) -> None:
        """Wait until what the project knows of the image is shown."""
        self._left = PATIENCE
        self._timer.start()

    def _look(self) -> None:
        one, layer, plane = self._going, self._in_view.layer, self._in_view.plane
        self._left -= 1
        if one is None or self._left < 0:
            self._end("The image could not be shown; try again." if one else "")
            return
        if layer is None or plane is None:
            return
        key = key_of(layer)
        plane = plane.moved(t=one.t, z=None if _every_z(one) else one.z)
        if self._saving.number_of(key) != one.entry.id:
            return
        if self._correcting.work(key) is None and key in self._restored:
            # Nobody has counted or corrected it.
            self._correcting.set_work(key, Work(), plane, self._diameter() or DIAMETER)
        if self._correcting.work(key) is None or not self._correcting.catch(key):
            return
        self._timer.stop()
        self._show(key, layer, plane, one)

    def _show(self, key: str, layer: Any, plane: Plane, one: Suggestion) -> None:
        """Frame the region, and bring it into view."""
        go_to(layer, self._viewer.dims, plane)
        work = self._correcting.work(key)
        regions = () if work is None else work.regions
        y0, x0, y1, x1 = one.window
        corners = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
        drawn = Region(corners, "count", _free_name(regions), t=one.t, z=one.z)
        self._correcting.do(key, Edit("suggest region", diff_regions((), [drawn])))
        fit_view(self._viewer, [show_place(self._viewer, layer, plane, one.window)])
        camera(self._viewer).zoom /= AROUND
        hide_place(self._viewer, key)
        self._asked.append(one)
        error = texts.amount(one.expected_error)
        self._end(
            f"{drawn.name} in {one.entry.name}: {one.why} (the model expects ±{error}). Correct "
            "its dots, then make it a reviewed region in the table."
        )

    def _end(self, words: str) -> None:
        self._timer.stop()
        self._job = self._going = None
        self.button.setText(_WORDS)
        hint(self.outcome, words)


def _every_z(one: Suggestion) -> bool:
    return one.z_method == "projection"


def _free_name(regions: Sequence[Region]) -> str:
    taken = {region.name for region in regions}
    number = 1
    while f"To review {number}" in taken:
        number += 1
    return f"To review {number}"

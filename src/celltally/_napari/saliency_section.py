"""*What the count depends on*: the gradient of the count, as a map over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Signal

from celltally._napari import explaining
from celltally._napari.controls import Section, wrapped
from celltally._napari.counting import PlaneCount
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers import (
    density_layer,
    keep,
    kept,
    saliency_layer,
    show_saliency,
)
from celltally._napari.planes import key_of
from celltally._napari.run_section import RunSection
from celltally._napari.subject_section import Subject

if TYPE_CHECKING:
    from celltally.explain.saliency import Saliency

__all__ = ["SaliencySection"]

WORDS = (
    "Bright where a small change of the picture would change the count most. "
    "This is not a map of cells: a clear cell can stay dark, because the model counts it as "
    "one whatever small thing changes; a doubtful spot can be bright."
)
TIP = (
    "Ask the model which pixels this count depends on, and show the answer over the image. "
    "It takes longer than counting."
)


class SaliencySection(Section):
    """Computes the saliency of the count that is explained, and shows it as a layer.

    ``ended`` is emitted when it no longer computes.

    Parameters
    ----------
    viewer
        Where it is shown.
    jobs
        The widget's.
    """

    ended = Signal()

    def __init__(self, viewer: Any, jobs: Jobs) -> None:
        super().__init__("What the count depends on")
        self._viewer, self._jobs = viewer, jobs
        self._job: Job | None = None
        self._subject: Subject | None = None
        self._said = ""  # how the last one ended, where it gave nothing to show
        self.run = RunSection("Show saliency", TIP, "Explaining")
        self.run.started.connect(self.start)
        self.run.cancelled.connect(self.cancel)
        self.column.addWidget(wrapped(WORDS, "saliency_words"))
        self.column.addWidget(self.run)

    @property
    def running(self) -> bool:
        """Whether a saliency is being computed."""
        return self._job is not None

    def show_subject(self, subject: Subject | None) -> None:
        """Explain another count from now on."""
        before, self._subject = self._subject, subject
        if before is None or subject is None or before.counted is not subject.counted:
            self._said = ""
        if not self.running:
            self.run.show_ready(None, self._said or self._state())

    def start(self) -> None:
        """Start computing; the window lives on."""
        subject = self._subject
        if self.running or subject is None:
            return
        self._said = ""
        key, counted = key_of(subject.layer), subject.counted
        self.run.show_running()
        self._job = self._jobs.start(
            lambda: explaining.saliency_job(counted),
            on_done=lambda found: self._done(key, counted, found),
            on_failed=lambda error: self._failed(counted, error),
            on_cancelled=lambda: self._ended(counted, "Cancelled: nothing was changed."),
            on_progress=self.run.show_progress,
        )

    def cancel(self) -> None:
        """End it as soon as it can be."""
        if self._job is not None:
            self.run.show_cancelling()
            self._job.cancel()

    def _ended(self, counted: PlaneCount, message: str = "") -> None:
        """Be ready again; the message is for whoever still looks at what was explained."""
        self._job = None
        if self._subject is not None and self._subject.counted is counted:
            self._said = message
        self.run.show_ready(None, self._said or self._state())
        self.ended.emit()

    def _failed(self, counted: PlaneCount, error: Exception) -> None:
        text = sentence(error)
        self._ended(counted, text)
        show_error(text)

    def _done(self, key: str, counted: PlaneCount, found: Saliency) -> None:
        layer = next((one for one in self._viewer.layers if key_of(one) == key), None)
        if layer is None:
            show_info("The image was closed while its count was explained.")
        else:
            shown = show_saliency(self._viewer, layer, counted.plane, found)
            keep(shown, counted=counted)
        self._ended(counted)

    def _state(self) -> str:
        """Say what the saliency layer of the image shows; nothing where there is none."""
        if self._subject is None:
            return ""
        key = key_of(self._subject.layer)
        layer = saliency_layer(self._viewer.layers, key)
        if layer is None:
            return ""
        if kept(layer, "counted") is not self._subject.counted:
            return f"The layer “{layer.name}” explains an earlier count; show it anew for this one."
        words = [f"Shown in the layer “{layer.name}”."]
        if kept(layer, "dark"):
            words = [f"The layer “{layer.name}” is dark: no small change would change this count."]
        density = density_layer(self._viewer.layers, key)
        if density is not None and not density.visible:
            words.append(
                "The density is hidden so that the picture stays clear: "
                "the eye beside its name shows it again."
            )
        return " ".join([*words, *kept(layer, "saliency").notes])

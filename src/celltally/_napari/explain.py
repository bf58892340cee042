"""The *Explain* widget: why a count is what it is. It joins its sections, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celltally._napari.controls import line
from celltally._napari.docked import Docked
from celltally._napari.jobs import Jobs
from celltally._napari.saliency_section import SaliencySection
from celltally._napari.subject_section import SubjectSection

if TYPE_CHECKING:
    import napari

__all__ = ["ExplainWidget"]


class ExplainWidget(Docked):
    """Explains the count of the image that is looked at.

    Parameters
    ----------
    napari_viewer
        The viewer whose counts are explained.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.jobs = Jobs()
        self.subject = SubjectSection(napari_viewer)
        self.saliency = SaliencySection(napari_viewer, self.jobs)
        self._line = line()
        self.lay_out(self.subject, self._line, self.saliency)
        self.subject.changed.connect(self._show)
        self.saliency.ended.connect(self._show)
        self._show()
        self._hook_viewer()

    def _hook_viewer(self) -> None:
        """Follow the viewer for as long as the widget is there."""
        jobs, subject = self.jobs, self.subject

        def unhook(*_: object) -> None:
            jobs.stop()
            subject.disconnect_viewer()

        self._unhook = unhook
        self.destroyed.connect(unhook)

    def leave(self) -> None:
        """Hear nothing more of the viewer, and end what runs."""
        self._unhook()

    def _show(self) -> None:
        """Show every section the count that is explained, or none where there is nothing."""
        subject = self.subject.subject
        for part in (self._line, self.saliency):
            part.setVisible(subject is not None or self.saliency.running)
        self.saliency.show_subject(subject)

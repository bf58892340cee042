"""*Uncertainty*: where in the image the count is least sure, as a layer, when asked for."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox

from celltally._napari.counting import PlaneCount
from celltally._napari.jobs import Jobs, sentence
from celltally._napari.layers import hide_uncertainty, show_uncertainty
from celltally.types import Prediction, Progress

__all__ = ["UncertaintyBox"]


def uncertainty_job(
    prediction: Prediction,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """Make the map of the uncertainty."""
    yield Progress(0, 0, "Looking where the count is least sure")
    from celltally.intervals import uncertainty

    return uncertainty(prediction)


class UncertaintyBox(QCheckBox):
    """Shows and hides the uncertainty layer of the chosen image.

    Parameters
    ----------
    viewer
        The napari viewer.
    jobs
        Those of the widget, which end with it.
    """

    def __init__(self, viewer: Any, jobs: Jobs) -> None:
        super().__init__("Show where the count is least sure")
        self.setToolTip(
            "A layer that is light where the model's count may be wrong. Its values are cells: "
            "in about two places of three, the count within one cell's width of the place is off "
            "by no more than that."
        )
        self._viewer, self._jobs = viewer, jobs
        self._image: Image | None = None
        self._counted: PlaneCount | None = None
        self._asked: Prediction | None = None
        self.toggled.connect(self._toggled)
        self.setVisible(False)

    @property
    def running(self) -> bool:
        """Whether a map is being made."""
        return self._asked is not None

    def show_image(self, image: Image | None, counted: PlaneCount | None) -> None:
        """Follow the chosen image; ``counted`` is None before it was counted."""
        image_changed = image is not self._image
        self._image, self._counted = image, counted
        self.setVisible(counted is not None)
        if image_changed:
            self.setChecked(False)
        elif self.isChecked():  # counted again
            self._toggled(True)

    def _toggled(self, on: bool) -> None:
        image, counted = self._image, self._counted
        if image is None or counted is None:
            return
        if not on:
            if image in self._viewer.layers:
                hide_uncertainty(self._viewer, image)
            return
        prediction = counted.prediction
        self._asked = prediction

        def done(found: NDArray[np.float32]) -> None:
            if self._asked is not prediction:
                return
            self._asked = None
            if self.isChecked() and image in self._viewer.layers:
                show_uncertainty(self._viewer, image, counted.plane, prediction, found)

        def failed(error: Exception) -> None:
            self._asked = None
            show_error(sentence(error))

        self._jobs.start(lambda: uncertainty_job(prediction), on_done=done, on_failed=failed)

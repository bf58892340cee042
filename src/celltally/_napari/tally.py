"""The *Tally* widget: image, model, count, result. It joins its sections, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from celltally._napari import counting, export
from celltally._napari.controls import Line
from celltally._napari.count_section import CountSection
from celltally._napari.counting import Counted
from celltally._napari.image_section import ImageSection
from celltally._napari.jobs import Job, Jobs, sentence
from celltally._napari.layers import (
    MOST_DOTS,
    counted_in,
    cover_of,
    density_layer,
    dots_layer,
    dots_of,
    is_edited,
    key_of,
    show_density,
    show_dots,
)
from celltally._napari.model_section import ModelSection
from celltally._napari.result_section import ResultSection
from celltally.errors import UserError
from celltally.types import Dots

if TYPE_CHECKING:
    import napari

__all__ = ["TallyWidget"]

#: Milliseconds after the last movement of the view until the dots follow.
FOLLOW_AFTER = 120


class TallyWidget(QWidget):
    """Counts the plane in view of an image layer.

    Parameters
    ----------
    napari_viewer
        The viewer whose images are counted.
    """

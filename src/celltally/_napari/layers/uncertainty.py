"""Where a count is least sure → a map over the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from celltally._napari.colours import UNCERTAINTY
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.in_place import show_in_place
from celltally._napari.layers.own import keep, own_layer
from celltally._napari.planes import Plane, key_of
from celltally.types import Prediction

__all__ = ["hide_uncertainty", "show_uncertainty", "uncertainty_layer"]

#: Values above this percentile have the colormap's last colour.
TOP = 99.5
#: Values that are looked at to choose the colours: the window waits.
MOST_VALUES = 1_000_000


def uncertainty_layer(layers: Any, image: str) -> Image | None:
    """Our uncertainty layer of an image; the prediction that it shows is in its metadata."""
    return own_layer(layers, image, "uncertainty")


def show_uncertainty(
    viewer: Any, image: Image, plane: Plane, prediction: Prediction, found: NDArray[np.float32]
) -> Image:
    """Put a map of the uncertainty over its image, in place of the density, which it hides."""
    step = math.ceil(math.sqrt(found.size / MOST_VALUES))  # a sample suffices for a colour
    sample = found[::step, ::step]
    top = max(float(np.percentile(sample, TOP)), 1e-6)
    # The least that there is everywhere is no news, and stays clear.
    limits = (min(float(np.percentile(sample, 5)), 0.5 * top), top)
    layer = show_in_place(
        viewer, image, plane, "uncertainty", found, prediction.grid,
        colormap=UNCERTAINTY, span=(0.0, max(float(found.max()), top)), limits=limits,
    )  # fmt: skip
    keep(layer, prediction=prediction)
    return layer


def hide_uncertainty(viewer: Any, image: Image) -> None:
    """Show the density again in place of the uncertainty, where that is seen."""
    layer = uncertainty_layer(viewer.layers, key_of(image))
    density = density_layer(viewer.layers, key_of(image))
    if layer is not None and layer.visible:
        layer.visible = False
        if density is not None:
            density.visible = True

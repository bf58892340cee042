"""What a count depends on → a map over the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from celltally._napari.colours import SALIENCY
from celltally._napari.layers.in_place import show_in_place
from celltally._napari.layers.own import keep, own_layer
from celltally._napari.planes import Plane

if TYPE_CHECKING:
    from celltally.explain.saliency import Saliency

__all__ = ["saliency_layer", "show_saliency"]

#: Values above this percentile have the colormap's last colour: a few are far above all others.
TOP = 99.5
#: Values that are looked at to choose the colours: the window waits.
MOST_VALUES = 1_000_000


def saliency_layer(layers: Any, image: str) -> Image | None:
    """Our saliency layer of an image; what it shows is in its metadata."""
    return own_layer(layers, image, "saliency")


def show_saliency(viewer: Any, image: Image, plane: Plane, found: Saliency) -> Image:
    """Put a saliency map over its image, in the layer that showed one before.

    It is seen in place of the density, which would cover it. The layer keeps it, and
    whether it is dark everywhere.
    """
    highest, top = float(found.values.max()), _top(found.values)
    layer = show_in_place(
        viewer, image, plane, "saliency", found.values, found.grid,
        colormap=SALIENCY, span=(0.0, max(highest, top)), limits=(0.0, top),
    )  # fmt: skip
    keep(layer, saliency=found, dark=not highest > 0)
    return layer


def _top(values: NDArray[np.float32]) -> float:
    """Value that has the colormap's last colour; above 0 also where all are zero."""
    step = math.ceil(math.sqrt(values.size / MOST_VALUES))  # a sample suffices for a colour
    top = float(np.percentile(values[::step, ::step], TOP))
    return top or float(values.max()) or 1.0

"""What a count depends on → a map over the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from celltally._napari.colours import SALIENCY
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.own import keep, own_layer, tag
from celltally._napari.layers.place import add_above, over_plane, put
from celltally._napari.planes import Plane, key_of

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
    place = over_plane(image, plane, found.grid)
    values = found.values.reshape((1,) * len(plane.position) + found.values.shape)
    highest, top = float(found.values.max()), _top(found.values)
    span = (0.0, max(highest, top))
    density = density_layer(viewer.layers, key_of(image))
    layer = saliency_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Image(
            values,
            name=f"{image.name} saliency",
            colormap=SALIENCY,
            blending="translucent",
            interpolation2d="linear",
            contrast_limits=span,
            metadata=tag("saliency", image),
            **place,
        )
        layer = add_above(viewer, image, layer, over=density)
    else:
        layer.data = values
        layer.contrast_limits_range = span
        put(layer, place)
    layer.contrast_limits = (0.0, top)
    layer.visible = True
    if density is not None:
        density.visible = False
    keep(layer, saliency=found, dark=not highest > 0)
    return layer


def _top(values: NDArray[np.float32]) -> float:
    """Value that has the colormap's last colour; above 0 also where all are zero."""
    step = math.ceil(math.sqrt(values.size / MOST_VALUES))  # a sample suffices for a colour
    top = float(np.percentile(values[::step, ::step], TOP))
    return top or float(values.max()) or 1.0

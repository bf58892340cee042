"""The place whose density is explained → a cross."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Points

from celltally._napari.colours import BORDER, PLACE
from celltally._napari.layers.own import own_layer, tag
from celltally._napari.layers.place import add_beside, lifted, spatial
from celltally._napari.planes import Plane, key_of

__all__ = ["marker_layer", "show_marker"]


def marker_layer(layers: Any, image: str) -> Points | None:
    """Our layer that shows the place that is explained."""
    return own_layer(layers, image, "marker")


def show_marker(
    viewer: Any, image: Image, plane: Plane, yx: tuple[float, float], size: float
) -> None:
    """Put the cross at a place of an image, ``size`` image pixels wide."""
    data = lifted(np.array([yx], dtype=float), plane)
    layer = marker_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Points(
            data,
            name=f"{image.name} explained place",
            ndim=image.ndim,
            size=size,
            symbol="cross",
            face_color=PLACE,
            border_color=BORDER,
            border_width=0.08,
            metadata=tag("marker", image),
            **spatial(image),
        )
        add_beside(viewer, layer)
    else:
        layer.data = data
        if not layer.visible:
            layer.visible = True

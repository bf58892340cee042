"""A place that is to be checked → a faint frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Shapes

from celltally._napari.colours import PLACE
from celltally._napari.layers.own import own_layer, tag
from celltally._napari.layers.place import add_beside, lifted, spatial
from celltally._napari.planes import Plane, key_of

__all__ = ["hide_place", "show_place"]

#: Width of the line, as a share of the frame's longer side.
EDGE = 0.008


def show_place(
    viewer: Any, image: Image, plane: Plane, window: tuple[float, float, float, float]
) -> Shapes:
    """Frame a window ``(y0, x0, y1, x1)`` of an image, in place of the one before."""
    hide_place(viewer, key_of(image))
    y0, x0, y1, x1 = window
    corners = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
    layer = Shapes(
        [lifted(corners, plane)],
        shape_type="polygon",
        name=f"{image.name} place to check",
        edge_width=EDGE * max(y1 - y0, x1 - x0),
        edge_color=PLACE,
        face_color="transparent",
        opacity=0.5,
        metadata=tag("place", image),
        **spatial(image),
    )
    layer.editable = False
    return add_beside(viewer, layer)


def hide_place(viewer: Any, image: str) -> None:
    """Take the frame away."""
    layer = own_layer(viewer.layers, image, "place")
    if layer is not None:
        selected = set(viewer.layers.selection) - {layer}
        viewer.layers.remove(layer)
        viewer.layers.selection = selected

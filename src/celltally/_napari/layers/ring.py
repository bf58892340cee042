"""The cell diameter → a ring on the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Points

from celltally._napari.colours import RING
from celltally._napari.layers.own import own_layer, tag
from celltally._napari.layers.place import add_beside, lifted, spatial
from celltally._napari.planes import Plane, key_of

__all__ = ["ring_layer", "show_ring"]


def ring_layer(layers: Any, image: str) -> Points | None:
    """Our layer that shows the cell diameter."""
    return own_layer(layers, image, "ring")


def show_ring(viewer: Any, image: Image, plane: Plane, diameter_px: float) -> Points:
    """Draw the cell diameter as a ring: a new one in the middle of the view."""
    layer = ring_layer(viewer.layers, key_of(image))
    if layer is None:
        corners = np.asarray(image.corner_pixels, dtype=float)[:, -2:]
        factor = (
            np.asarray(plane.shape) / np.asarray(image.level_shapes[image.data_level])[-2:]
            if image.multiscale
            else 1.0
        )
        middle = np.clip(corners.mean(axis=0) * factor, 0, np.asarray(plane.shape) - 1)
        layer = Points(
            lifted(middle[None], plane),
            name=f"{image.name} cell diameter",
            ndim=image.ndim,
            size=diameter_px,
            face_color="transparent",
            border_color=RING,
            border_width=0.06,
            canvas_size_limits=(2, 100_000),
            features={"label": ["cell diameter"]},
            text={
                "string": "{label}",
                "color": RING,
                "size": 9,
                "anchor": "lower_left",
                "translation": [0] * len(plane.position) + [0, 0.6 * diameter_px],
            },
            metadata=tag("ring", image),
            **spatial(image),
        )
        layer = add_beside(viewer, layer)
    elif len(layer.data):
        data = np.array(layer.data)
        data[:, : len(plane.position)] = plane.position
        layer.data = data
        layer.size = diameter_px
    return layer

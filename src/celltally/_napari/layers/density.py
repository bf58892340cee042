"""A prediction → its density over the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from celltally._napari.colours import DENSITY
from celltally._napari.layers.own import keep, own_layer, tag
from celltally._napari.layers.place import add_above, over_plane, put
from celltally._napari.planes import Plane, key_of
from celltally.types import Grid, Prediction

__all__ = ["cover_of", "density_layer", "show_density", "top_of"]

#: Cells of a density whose values are looked at to choose its colours: the window waits.
MOST_CELLS = 1_000_000


def density_layer(layers: Any, image: str) -> Image | None:
    """Our density layer of an image; its prediction is in its metadata."""
    return own_layer(layers, image, "density")


def show_density(viewer: Any, image: Image, plane: Plane, prediction: Prediction) -> Image:
    """Put a prediction's density over its image, in the layer that showed it before."""
    density = prediction.density.sum(axis=0)
    place = over_plane(image, plane, prediction.grid)
    values = density.reshape((1,) * len(plane.position) + density.shape)
    limits = (0.0, top_of(density))
    layer = density_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Image(
            values,
            name=f"{image.name} density",
            colormap=DENSITY,
            blending="translucent",
            interpolation2d="linear",
            contrast_limits=limits,
            metadata=tag("density", image),
            **place,
        )
        layer = add_above(viewer, image, layer)
    else:
        layer.data = values
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        put(layer, place)
        explained = own_layer(viewer.layers, key_of(image), "saliency")
        if explained is not None and explained.visible:  # of an earlier count, in our place
            explained.visible, layer.visible = False, True
    keep(layer, prediction=prediction)
    return layer


def top_of(density: NDArray[np.float32]) -> float:
    """Density that has the colormap's last colour: a clear cell's, or a faint floor."""
    step = math.ceil(math.sqrt(density.size / MOST_CELLS))  # a sample suffices for a colour
    sample = density[::step, ::step]
    positive = sample[sample > 1e-4]
    return max(float(np.percentile(positive, 98)) if positive.size else 0.0, 1e-3)


def cover_of(layer: Image, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (top left, bottom right) of what the canvas shows of a density, in image pixels."""
    corners = np.asarray(layer.corner_pixels, dtype=float)[:, -2:]
    low, high = grid.to_image(corners + np.array([[0.0], [1.0]]))
    return low, high

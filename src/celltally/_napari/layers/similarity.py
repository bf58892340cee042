"""Similarity to a prototype → a map over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from celltally._napari.colours import SIMILARITY
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.own import keep, own_layer, tag
from celltally._napari.layers.place import add_above, over_plane, put
from celltally._napari.planes import Plane, key_of

if TYPE_CHECKING:
    from celltally.explain.similarity import Similarities

__all__ = ["show_similarity", "similarity_layer"]


def similarity_layer(layers: Any, image: str) -> Image | None:
    """Our similarity layer of an image."""
    return own_layer(layers, image, "similarity")


def show_similarity(
    viewer: Any, image: Image, plane: Plane, found: Similarities, number: int
) -> Image:
    """Put the similarity to a prototype over its image, in the layer that showed one before.

    It is seen in place of the density, which would cover it.
    """
    k = found.prototypes.index(number)
    place = over_plane(image, plane, found.grid)
    values = found.values[k].reshape((1,) * len(plane.position) + found.grid.shape)
    limits = (0.0, float(values.max()) or 1.0)
    kind = found.kinds[k]
    name = f"{image.name} similarity to p{number} ({kind})"
    density = density_layer(viewer.layers, key_of(image))
    layer = similarity_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Image(
            values,
            name=name,
            colormap=SIMILARITY[kind],
            blending="translucent",
            interpolation2d="nearest",
            contrast_limits=limits,
            metadata=tag("similarity", image),
            **place,
        )
        layer = add_above(viewer, image, layer, over=density)
        if density is not None:
            density.visible = False
    else:
        if not layer.visible:
            layer.visible = True
            if density is not None:
                density.visible = False
        layer.data = values
        layer.name = name
        layer.colormap = SIMILARITY[kind]
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        put(layer, place)
    keep(layer, found=found, prototype=number)
    return layer

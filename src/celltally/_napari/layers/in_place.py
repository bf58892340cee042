"""A map that is seen in place of the density, which would cover it."""

from __future__ import annotations

from typing import Any

from napari.layers import Image
from napari.utils import Colormap
from numpy.typing import NDArray

from celltally._napari.layers.density import density_layer
from celltally._napari.layers.own import own_layer, tag
from celltally._napari.layers.place import add_above, over_plane, put
from celltally._napari.planes import Plane, key_of
from celltally.types import Grid

__all__ = ["show_in_place"]


def show_in_place(
    viewer: Any,
    image: Image,
    plane: Plane,
    role: str,
    values: NDArray[Any],
    grid: Grid,
    *,
    colormap: Colormap,
    span: tuple[float, float],
    limits: tuple[float, float],
) -> Image:
    """Put a map over its image, in the layer of the role that showed one before.

    Parameters
    ----------
    viewer, image, plane
        Where, and of which plane of the image.
    role
        Of the layer, which is named after it.
    values, grid
        ``(h, w)``, and where its cells lie.
    colormap, limits, span
        Colours, the values that have the first and the last, and the range of the slider.
    """
    place = over_plane(image, plane, grid)
    data = values.reshape((1,) * len(plane.position) + values.shape)
    density = density_layer(viewer.layers, key_of(image))
    layer = own_layer(viewer.layers, key_of(image), role)
    if layer is None:
        layer = Image(
            data,
            name=f"{image.name} {role}",
            colormap=colormap,
            blending="translucent",
            interpolation2d="linear",
            contrast_limits=span,
            metadata=tag(role, image),
            **place,
        )
        layer = add_above(viewer, image, layer, over=density)
    else:
        layer.data = data
        layer.contrast_limits_range = span
        put(layer, place)
    layer.contrast_limits = limits
    layer.visible = True
    if density is not None:
        density.visible = False
    return layer

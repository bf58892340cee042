"""Where our layers lie on the canvas, and in the list of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from celltally._napari.planes import Plane, key_of
from celltally.types import Grid

__all__ = ["add_above", "add_beside", "lead_in_view", "lifted", "over_plane", "put", "spatial"]


def spatial(layer: Image, grid: Grid | None = None) -> dict[str, Any]:
    """Transform that puts a layer of ours where its image is.

    Parameters
    ----------
    layer
        The image.
    grid
        For a density: the middle of its cell (0, 0) is data position 0. None for
        data in image pixels.

    Returns
    -------
    mapping
        ``scale``, ``translate``, ``rotate``, ``shear``, ``affine``, and ``units``
        where napari has them.
    """
    scale = np.asarray(layer.scale, dtype=float)
    translate = np.asarray(layer.translate, dtype=float)
    carried: dict[str, Any] = {
        "rotate": np.asarray(layer.rotate),
        "shear": np.asarray(layer.shear),
        "affine": np.asarray(layer.affine.affine_matrix),
    }
    if hasattr(layer, "units"):
        carried["units"] = layer.units
    if grid is None:
        return {"scale": scale, "translate": translate, **carried}
    step, offset = np.ones(layer.ndim), np.zeros(layer.ndim)
    step[-2:] = grid.step
    offset[-2:] = np.asarray(grid.origin) + np.asarray(grid.step) / 2
    linear = Affine(scale=scale, rotate=carried["rotate"], shear=carried["shear"]).linear_matrix
    return {"scale": scale * step, "translate": translate + linear @ offset, **carried}


def over_plane(image: Image, plane: Plane, grid: Grid) -> dict[str, Any]:
    """Transform that puts a map of one plane exactly over it, see ``spatial``.

    The map's data have an axis of length 1 for each of the image's before the last two. Over a
    projection it is as thick as all z, so that it is seen in each.
    """
    place = spatial(image, grid)
    offset = np.zeros(image.ndim)
    offset[: len(plane.position)] = plane.position
    if plane.z_method == "projection" and "Z" in plane.axes:
        axis = plane.axes.index("Z")
        offset[axis] = (plane.depth - 1) / 2
        place["scale"] = place["scale"].copy()
        place["scale"][axis] *= plane.depth
    linear = Affine(
        scale=np.asarray(image.scale, dtype=float), rotate=place["rotate"], shear=place["shear"]
    ).linear_matrix
    place["translate"] = place["translate"] + linear @ offset
    return place


def lifted(values: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Coordinates ``(n, 2)`` → ``(n, ndim)`` in the plane they belong to."""
    lead = np.broadcast_to(
        np.asarray(plane.position, dtype=float), (len(values), len(plane.position))
    )
    return np.concatenate([lead, values], axis=1)


def lead_in_view(layer: Layer, dims: Any) -> tuple[int, ...]:
    """Index along every axis of a layer but the last two, as the viewer shows it.

    Parameters
    ----------
    layer
        With the transform of its image.
    dims
        The viewer's.
    """
    at = np.asarray(layer.world_to_data(np.asarray(dims.point, dtype=float)[-layer.ndim :]))
    return tuple(round(float(index)) for index in at[:-2])


def add_above(viewer: Any, image: Image, layer: Layer, *, over: Layer | None = None) -> Any:
    """Add a layer of ours just above its image (or above another of ours)."""
    added = add_beside(viewer, layer)
    keys = [key_of(other) for other in viewer.layers]
    anchor = key_of(over if over is not None else image)
    if anchor in keys:
        viewer.layers.move(keys.index(key_of(added)), keys.index(anchor) + 1)
    return added


def add_beside(viewer: Any, layer: Layer) -> Any:
    """Add a layer of ours; what the user works on stays active."""
    selected = set(viewer.layers.selection)
    added = viewer.add_layer(layer)
    viewer.layers.selection = selected
    return added


def put(layer: Layer, place: Mapping[str, Any]) -> None:
    """Move a layer to where it belongs; each change costs napari a redraw."""
    for name, value in place.items():
        old = getattr(layer, name)
        old = old.affine_matrix if name == "affine" else old
        if name == "units" and old == value:
            continue
        if name == "units" or not np.array_equal(old, value):
            setattr(layer, name, value)

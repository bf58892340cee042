"""What the user points at: places, dots and shapes, in pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Layer, Points, Shapes
from numpy.typing import NDArray

from celltally._napari.planes import Plane

__all__ = ["place_in", "pointed_dot", "selected_dot", "selected_polygon", "window_in_view"]

#: Corners of the polygon that stands for an ellipse.
CORNERS = 60


def place_in(image: Image, plane: Plane, position: Sequence[float]) -> tuple[float, float] | None:
    """Place ``(y, x)`` of a point of the canvas; None where that is not in the plane.

    Parameters
    ----------
    image
        The layer.
    plane
        Of it.
    position
        World coordinates of as many axes as the viewer has.
    """
    data = np.asarray(image.world_to_data(np.asarray(position, dtype=float)[-image.ndim :]))
    if not plane.are_at([data[:-2]])[0]:
        return None
    y, x = (float(v) for v in data[-2:])
    inside = -0.5 <= y < plane.shape[0] - 0.5 and -0.5 <= x < plane.shape[1] - 0.5
    return (y, x) if inside else None


def pointed_dot(
    dots: Points | None, image: Image, plane: Plane, position: Sequence[float], reach: float
) -> tuple[float, float] | None:
    """Place of the dot nearest to a point of the canvas, within ``reach`` image pixels."""
    place = place_in(image, plane, position)
    if place is None or dots is None or not len(dots.data) or not dots.visible:
        return None
    there = _in_plane(np.asarray(dots.data, dtype=float), plane)
    if not len(there):
        return None
    distances = np.hypot(*(there - place).T)
    nearest = int(np.argmin(distances))
    y, x = there[nearest].tolist()
    return (y, x) if distances[nearest] <= reach else None


def selected_dot(dots: Points | None, plane: Plane) -> tuple[float, float] | None:
    """Place of the first dot that is selected in its layer."""
    if dots is None or not dots.selected_data:
        return None
    row = min(int(i) for i in dots.selected_data)
    there = _in_plane(np.asarray(dots.data, dtype=float)[[row]], plane)
    return (float(there[0, 0]), float(there[0, 1])) if len(there) else None


def _in_plane(data: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    return data[plane.are_at(data[:, :-2])][:, -2:]


def selected_polygon(layer: Layer | None, image: Image) -> NDArray[np.float64] | None:
    """Corners ``(n, 2)`` of the first selected shape, in pixels of an image.

    None for another layer, where nothing is selected, and for lines and paths.
    """
    if not isinstance(layer, Shapes) or not layer.selected_data:
        return None
    row = min(int(i) for i in layer.selected_data)
    kind, corners = layer.shape_type[row], np.asarray(layer.data[row], dtype=float)
    if kind not in ("rectangle", "ellipse", "polygon"):
        return None
    if kind == "ellipse":
        middle = corners.mean(axis=0)
        one, other = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
        angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
        corners = middle + np.cos(angle) * one + np.sin(angle) * other
    world = [np.asarray(layer.data_to_world(corner))[-2:] for corner in corners]
    return np.array([_to_image(image, point) for point in world])


def _to_image(image: Image, point: NDArray[np.float64]) -> NDArray[np.float64]:
    lead = np.asarray(image.data_to_world(np.zeros(image.ndim)))[:-2]
    return np.asarray(image.world_to_data(np.concatenate([lead, point])))[-2:]


def window_in_view(image: Image, plane: Plane) -> tuple[float, float, float, float]:
    """Return what the canvas shows of an image: ``(y0, x0, y1, x1)`` in its pixels."""
    corners: Any = np.asarray(image.corner_pixels, dtype=float)[:, -2:]
    factor: Any = 1.0
    if image.multiscale:
        shape = np.asarray(image.level_shapes[image.data_level], dtype=float)[-2:]
        factor = np.asarray(plane.shape) / shape
    low, high = corners[0] * factor - 0.5, (corners[1] + 1) * factor - 0.5
    low, high = np.maximum(low, -0.5), np.minimum(high, np.asarray(plane.shape) - 0.5)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))

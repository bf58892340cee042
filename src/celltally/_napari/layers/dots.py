"""Dots → a Points layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Points
from numpy.typing import NDArray

from celltally._napari.colours import BORDER, STATE_SYMBOLS, class_colours
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.edits import is_edited
from celltally._napari.layers.own import TAG, keep, own_layer, tag
from celltally._napari.layers.place import add_above, lifted, put, spatial
from celltally._napari.planes import Plane, key_of
from celltally.types import Dots

__all__ = ["MOST_DOTS", "dots_layer", "points_of_file", "show_dots"]

#: More points than this make the window slow.
MOST_DOTS = 5_000
#: What napari gives a dot that is added by hand.
_ADDED = {"id": "", "class": "cell", "score": float("nan"), "state": "added", "source": ""}


def dots_layer(layers: Any, image: str) -> Points | None:
    """Our newest dots layer of an image."""
    return own_layer(layers, image, "dots")


def show_dots(
    viewer: Any,
    image: Image,
    plane: Plane,
    dots: Dots,
    diameter_px: float,
    *,
    complete: bool = True,
) -> Points:
    """Put dots over their image.

    They replace what we put there before; a layer that a human has edited is
    kept as it is, and a new one made.

    Parameters
    ----------
    dots
        With the time point and z of ``plane``.
    complete
        Whether these are all dots; a part of them is not to be edited.
    """
    layer = dots_layer(viewer.layers, key_of(image))
    points = dots_points(dots, plane, image, diameter_px)
    if layer is None or is_edited(layer):
        layer = Points(
            points.pop("data"),
            name=f"{image.name} dots",
            ndim=image.ndim,
            border_color=BORDER,
            border_width=0.15,
            metadata=tag("dots", image),
            **points,
        )
        key = key_of(image)
        under = dots_layer(viewer.layers, key) or density_layer(viewer.layers, key)
        layer = add_above(viewer, image, layer, over=under)
    else:
        put(layer, {k: points.pop(k) for k in spatial(image)})
        layer.selected_data = set()
        layer.data = points.pop("data")
        layer.features = points.pop("features")
        layer.size = points.pop("size")
        for name, value in points.items():  # symbol and colour, where there are dots
            setattr(layer, name, value)
    layer.current_face_color = next(iter(class_colours(["cell"]).values()))
    layer.current_size = dot_size(diameter_px)
    layer.current_symbol = STATE_SYMBOLS["added"]
    layer.feature_defaults = _ADDED
    layer.editable = complete
    keep(layer, written=dots, axes=plane.axes)
    return layer


def dots_points(dots: Dots, plane: Plane, image: Image, diameter_px: float) -> dict[str, Any]:
    """Return what a Points layer needs to show dots: data, features, symbols, colours, size."""
    points: dict[str, Any] = {
        "data": lifted(dots.yx, plane),
        "features": _features(dots),
        "size": dot_size(diameter_px),
        **spatial(image),
    }
    if len(dots):  # napari takes no empty list of symbols or colours
        points |= _looks(dots)
    return points


def points_of_file(dots: Dots, name: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return data and settings of a Points layer for dots that were read from a file.

    Time and plane become axes only where the dots differ in them.
    """
    columns = {"T": dots.t, "Z": dots.z}
    lead = {axis: column for axis, column in columns.items() if len(set(column.tolist())) > 1}
    settings: dict[str, Any] = {
        "name": name,
        "features": _features(dots),
        "feature_defaults": _ADDED,
        "border_color": BORDER,
        "border_width": 0.15,
        "metadata": {TAG: {"role": "file", "written": dots, "axes": tuple(lead)}},
    }
    settings |= _looks(dots) if len(dots) else {"ndim": 2}
    return np.column_stack([*lead.values(), dots.yx]), settings


def _features(dots: Dots) -> pd.DataFrame:
    columns = {"id": dots.id, "class": dots.label, "score": dots.score}
    return pd.DataFrame({**columns, "state": dots.state, "source": dots.source})


def _looks(dots: Dots) -> dict[str, Any]:
    colours = class_colours(dots.label.tolist())
    return {
        "symbol": [STATE_SYMBOLS[state] for state in dots.state],
        "face_color": np.array([_rgba(colours[label]) for label in dots.label]),
    }


def dot_size(diameter_px: float) -> float:
    """Diameter of a drawn dot: so small that the cell and its density stay visible."""
    return max(0.2 * diameter_px, 1.0)


def _rgba(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0]

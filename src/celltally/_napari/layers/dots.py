"""Dots → a Points layer, whole or where they have changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Points
from numpy.typing import NDArray

from celltally._napari.colours import BORDER, STATE_SYMBOLS, class_colours
from celltally._napari.compat import unrefreshed
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.own import TAG, keep, kept, own_layer, tag
from celltally._napari.layers.place import add_above, put, spatial
from celltally._napari.planes import Plane, key_of
from celltally.types import Dots

__all__ = ["MOST_DOTS", "dots_layer", "points_of_file", "set_next_dot", "show_dots", "update_dots"]

#: More points than this make the window slow.
MOST_DOTS = 5_000
#: How much larger a dot is drawn that a human has touched: its symbol is to be told.
TOUCHED = 1.5
#: Screen pixels that a dot is wide at least, however far one zooms out.
LEAST_SEEN = 6
#: Of more changed dots than this, all are written anew.
MOST_SINGLE = 200
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
    classes: Sequence[str] = (),
) -> Points:
    """Put dots over their image, in place of what the layer showed before.

    Parameters
    ----------
    plane
        Tells which axes are time and z, along which every dot has its own place; along all
        others the dots lie where this plane does.
    dots
        Of any plane.
    classes
        In the order of their colours.
    """
    layer = dots_layer(viewer.layers, key_of(image))
    points = dots_points(dots, plane, image, diameter_px, classes)
    if layer is None:
        layer = Points(
            points.pop("data"),
            name=f"{image.name} dots",
            ndim=image.ndim,
            border_color=BORDER,
            border_width=0.15,
            canvas_size_limits=(LEAST_SEEN, 10_000),
            metadata=tag("dots", image),
            **points,
        )
        layer = add_above(viewer, image, layer, over=density_layer(viewer.layers, key_of(image)))
    else:
        put(layer, {k: points.pop(k) for k in spatial(image)})
        chosen = _chosen_ids(layer)
        layer.selected_data = set()
        layer.data = points.pop("data")
        layer.features = points.pop("features")
        if len(dots):
            layer.size = points.pop("size")
        for name, value in points.items():  # symbol and colour, where there are dots
            setattr(layer, name, value)
        if chosen:
            layer.selected_data = set(np.flatnonzero(np.isin(dots.id, chosen)).tolist())
    keep(layer, written=dots, axes=plane.axes, position=plane.position)
    layer.current_size = TOUCHED * dot_size(diameter_px)
    set_next_dot(layer, "cell", classes)
    return layer


def update_dots(
    layer: Points,
    dots: Dots,
    *,
    classes: Sequence[str] = (),
    before: Dots | None = None,
    anew: Collection[str] = (),
) -> bool:
    """Write those dots that have changed since a layer of ours was written last.

    Only they are written, which is what keeps a single correction quick. Dots that stay are
    to be in the same order as before, and new ones to come last.

    Parameters
    ----------
    layer
        The layer.
    dots
        What it is to show.
    classes
        In the order of their colours.
    before
        What its rows are, where the user has changed them; None: what we wrote.
    anew
        Ids of dots that are to be written in any case.

    Returns
    -------
    bool
        False where nothing was written, because there was too much to write, or the dots
        were in another order.
    """
    before = kept(layer, "written") if before is None else before
    if not len(dots) or not len(before) or len(layer.data) != len(before):
        return False
    stays = np.isin(before.id, dots.id, assume_unique=True)
    gone = np.flatnonzero(~stays)
    n = len(before) - len(gone)
    if not n or len(dots) < n or not np.array_equal(before.id[stays], dots.id[:n]):
        return False
    changed = np.isin(dots.id, list(anew)) if anew else np.zeros(len(dots), dtype=bool)
    changed[n:] = True
    changed[:n] |= _differ(before[stays] if len(gone) else before, dots[:n])
    rows = np.flatnonzero(changed)
    if len(rows) + len(gone) > MOST_SINGLE:
        return False
    data = dots_data(dots[rows], kept(layer, "axes"), kept(layer, "position"))
    with unrefreshed(layer):
        if len(gone):
            layer.remove(gone.tolist())
        if len(dots) > n:
            _append(layer, data[rows >= n])
        if len(rows):
            _write_rows(layer, rows, dots, data, classes)
    keep(layer, written=dots)
    layer.refresh(thumbnail=False)
    return True


def _append(layer: Points, data: NDArray[np.float64]) -> None:
    """Add rows; napari would select them, and have the next dot be like them."""
    chosen, defaults = set(layer.selected_data), layer.feature_defaults
    layer.add(data)
    layer.selected_data = chosen
    layer.feature_defaults = defaults


def _differ(one: Dots, other: Dots) -> NDArray[np.bool_]:
    """Whether dots, row by row, are not alike."""
    found = (one.yx != other.yx).any(axis=1)
    for name in ("t", "z", "label", "state", "source"):
        found |= getattr(one, name) != getattr(other, name)
    found |= (one.score != other.score) & ~(np.isnan(one.score) & np.isnan(other.score))
    return np.asarray(found, dtype=bool)


def _write_rows(
    layer: Points, rows: NDArray[np.intp], dots: Dots, data: NDArray[np.float64],
    classes: Sequence[str],
) -> None:  # fmt: skip
    """Change rows in napari's own arrays: setting whole columns would draw all dots each time."""
    some = dots[rows]
    looks = looks_of(some, classes)
    layer.data[rows] = data
    layer.face_color[rows] = looks["face_color"]
    layer.size[rows] = _sizes(some, float(layer.current_size) / TOUCHED)
    for row, symbol in zip(rows.tolist(), _symbols(layer, some), strict=True):
        layer.symbol[row] = symbol
    table = layer.features
    for column, values in _columns(some).items():
        table.iloc[rows, table.columns.get_loc(column)] = values


def _symbols(layer: Points, dots: Dots) -> list[Any]:
    """Return napari's own symbols: its array holds these, not their names."""
    kind = type(layer.current_symbol)
    return [kind(STATE_SYMBOLS[state]) for state in dots.state]  # type: ignore[index]


def set_next_dot(layer: Points, label: str, classes: Sequence[str] = ()) -> None:
    """Say what napari gives the next dot that is added with its own tool."""
    with layer.block_update_properties():
        layer.current_face_color = class_colours([label], classes)[label]
        layer.current_symbol = STATE_SYMBOLS["added"]
    layer.feature_defaults = {**_ADDED, "class": label}


def dots_data(
    dots: Dots, axes: Sequence[str], position: Sequence[int]
) -> NDArray[np.float64]:  # fmt: skip
    """Coordinates ``(n, ndim)`` of dots, each at its own time point and z."""
    lead = np.tile(np.asarray(position, dtype=np.float64), (len(dots), 1))
    for i, letter in enumerate(axes):
        if letter in ("T", "Z"):
            lead[:, i] = dots.t if letter == "T" else dots.z
    return np.concatenate([lead, dots.yx], axis=1)


def dots_points(
    dots: Dots, plane: Plane, image: Image, diameter_px: float, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a Points layer needs to show dots: data, features, symbols, colours, size."""
    points: dict[str, Any] = {
        "data": dots_data(dots, plane.axes, plane.position),
        "features": pd.DataFrame(_columns(dots)),
        "size": _sizes(dots, dot_size(diameter_px)) if len(dots) else dot_size(diameter_px),
        **spatial(image),
    }
    if len(dots):  # napari takes no empty list of symbols or colours
        points |= looks_of(dots, classes)
    return points


def points_of_file(dots: Dots, name: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return data and settings of a Points layer for dots that were read from a file.

    Time and plane become axes only where the dots differ in them.
    """
    columns = {"T": dots.t, "Z": dots.z}
    lead = {axis: column for axis, column in columns.items() if len(set(column.tolist())) > 1}
    settings: dict[str, Any] = {
        "name": name,
        "features": pd.DataFrame(_columns(dots)),
        "feature_defaults": _ADDED,
        "border_color": BORDER,
        "border_width": 0.15,
        "metadata": {TAG: {"role": "file", "written": dots, "axes": tuple(lead)}},
    }
    settings |= looks_of(dots) if len(dots) else {"ndim": 2}
    return np.column_stack([*lead.values(), dots.yx]), settings


def _sizes(dots: Dots, proposed: float) -> NDArray[np.float64]:
    """Diameters of drawn dots, where a proposed one's is given."""
    return np.where(dots.state == "proposed", proposed, TOUCHED * proposed)


def _columns(dots: Dots) -> dict[str, NDArray[Any]]:
    columns = {"id": dots.id, "class": dots.label, "score": dots.score}
    return {**columns, "state": dots.state, "source": dots.source}


def looks_of(dots: Dots, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Return symbols by state and colours by class."""
    labels, which = np.unique(dots.label, return_inverse=True)
    colours = class_colours(labels.tolist(), classes)
    table = np.array([_rgba(colours[label]) for label in labels.tolist()])
    return {
        "symbol": [STATE_SYMBOLS[state] for state in dots.state],
        "face_color": table[which],
    }


def _chosen_ids(layer: Points) -> list[str]:
    """Return ids of the dots that are selected, as far as these are ours."""
    if "id" not in layer.features:
        return []
    ids = layer.features["id"]
    return [str(ids.iloc[i]) for i in layer.selected_data if i < len(ids) and ids.iloc[i]]


def joined(*parts: Dots) -> Dots:
    """Dots one after the other."""
    return Dots(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Dots)}
    )


def dot_size(diameter_px: float) -> float:
    """Diameter of a drawn dot: so small that the cell and its density stay visible."""
    return max(0.2 * diameter_px, 1.0)


def _rgba(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0]

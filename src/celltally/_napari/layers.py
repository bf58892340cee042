"""Prediction and Dots ⇄ layers, and where on the canvas these lie.

Nothing but our own layers is ever written to. They are recognised by their
metadata, so that they outlive the widget that made them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Layer, Points
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from celltally._napari.colours import BORDER, DENSITY, RING, STATE_SYMBOLS, class_colours
from celltally._napari.planes import Plane, key_of
from celltally.types import DOT_STATES, Dots, Grid, Prediction

__all__ = [
    "MOST_DOTS",
    "cover_of",
    "density_layer",
    "dots_layer",
    "dots_of",
    "dots_of_points",
    "is_edited",
    "keep",
    "kept",
    "own_role",
    "points_of_file",
    "ring_layer",
    "show_density",
    "show_dots",
    "show_ring",
]

#: More points than this make the window slow.
MOST_DOTS = 5_000
_TAG = "celltally"
#: What napari gives a dot that is added by hand.
_ADDED = {"id": "", "class": "cell", "score": float("nan"), "state": "added", "source": ""}
_numbers = itertools.count()


def own_role(layer: Layer) -> str | None:
    """``density``, ``dots``, ``file`` or ``ring`` for a layer of ours, None for any other."""
    return role_in(layer.metadata)


def role_in(metadata: Any) -> str | None:
    """Role of the layer that has this metadata; None where it is not ours."""
    tag = metadata.get(_TAG) if isinstance(metadata, Mapping) else None
    return tag["role"] if tag else None


def own_layer(layers: Any, image: str, role: str) -> Layer | None:
    """Our newest layer with a role for the image of a key, if it is there."""
    ours = [
        layer
        for layer in layers
        if own_role(layer) == role and layer.metadata[_TAG]["image"] == image
    ]
    return max(ours, key=lambda layer: layer.metadata[_TAG]["number"], default=None)


def keep(layer: Layer, **values: Any) -> None:
    """Remember something with a layer of ours, for as long as the layer is there."""
    layer.metadata[_TAG].update(values)


def kept(layer: Layer, name: str) -> Any:
    """Return what was remembered with a layer of ours; None where nothing was."""
    return layer.metadata[_TAG].get(name)


def _tag(role: str, image: Layer) -> dict[str, Any]:
    """Metadata by which a layer of ours is known; later ones have higher numbers."""
    return {_TAG: {"role": role, "image": key_of(image), "number": next(_numbers)}}


def density_layer(layers: Any, image: str) -> Image | None:
    """Our density layer of an image; its prediction is in its metadata."""
    return own_layer(layers, image, "density")


def dots_layer(layers: Any, image: str) -> Points | None:
    """Our newest dots layer of an image."""
    return own_layer(layers, image, "dots")


def ring_layer(layers: Any, image: str) -> Points | None:
    """Our layer that shows the cell diameter."""
    return own_layer(layers, image, "ring")


# ---- where our layers lie ----


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


def _lifted(values: NDArray[Any], plane: Plane) -> NDArray[Any]:
    """Coordinates ``(n, 2)`` → ``(n, ndim)`` in the plane they belong to."""
    lead = np.broadcast_to(
        np.asarray(plane.position, dtype=float), (len(values), len(plane.position))
    )
    return np.concatenate([lead, values], axis=1)


def _above(viewer: Any, image: Image, layer: Layer, *, over: Layer | None = None) -> Any:
    """Add a layer of ours just above its image (or above another of ours)."""
    added = _beside(viewer, layer)
    keys = [key_of(other) for other in viewer.layers]
    anchor = key_of(over if over is not None else image)
    if anchor in keys:
        viewer.layers.move(keys.index(key_of(added)), keys.index(anchor) + 1)
    return added


def _beside(viewer: Any, layer: Layer) -> Any:
    """Add a layer of ours; what the user works on stays active."""
    selected = set(viewer.layers.selection)
    added = viewer.add_layer(layer)
    viewer.layers.selection = selected
    return added


# ---- density ----


def show_density(viewer: Any, image: Image, plane: Plane, prediction: Prediction) -> Image:
    """Put a prediction's density over its image, in the layer that showed it before."""
    density = prediction.density.sum(axis=0)
    lead = (1,) * len(plane.position)
    place = spatial(image, prediction.grid)
    offset = np.zeros(image.ndim)
    offset[: len(plane.position)] = plane.position
    linear = Affine(
        scale=np.asarray(image.scale, dtype=float), rotate=place["rotate"], shear=place["shear"]
    ).linear_matrix
    place["translate"] = place["translate"] + linear @ offset
    values = density.reshape(lead + density.shape)
    limits = (0.0, _top(density))
    layer = density_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Image(
            values,
            name=f"{image.name} density",
            colormap=DENSITY,
            blending="translucent",
            interpolation2d="linear",
            contrast_limits=limits,
            metadata=_tag("density", image),
            **place,
        )
        layer = _above(viewer, image, layer)
    else:
        layer.data = values
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        _place(layer, place)
    keep(layer, prediction=prediction)
    return layer


def _top(density: NDArray[np.float32]) -> float:
    """Density that has the colormap's last colour: a clear cell's, or a faint floor."""
    positive = density[density > 1e-4]
    return max(float(np.percentile(positive, 98)) if positive.size else 0.0, 1e-3)


def _place(layer: Layer, place: Mapping[str, Any]) -> None:
    """Move a layer to where it belongs; each change costs napari a redraw."""
    for name, value in place.items():
        old = getattr(layer, name)
        old = old.affine_matrix if name == "affine" else old
        if name == "units" and old == value:
            continue
        if name == "units" or not np.array_equal(old, value):
            setattr(layer, name, value)


# ---- dots ----


def dots_points(dots: Dots, plane: Plane, image: Image, diameter_px: float) -> dict[str, Any]:
    """Return what a Points layer needs to show dots: data, features, symbols, colours, size."""
    points: dict[str, Any] = {
        "data": _lifted(dots.yx, plane),
        "features": _features(dots),
        "size": dot_size(diameter_px),
        **spatial(image),
    }
    if len(dots):  # napari takes no empty list of symbols or colours
        points |= _looks(dots)
    return points


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
            metadata=_tag("dots", image),
            **points,
        )
        key = key_of(image)
        under = dots_layer(viewer.layers, key) or density_layer(viewer.layers, key)
        layer = _above(viewer, image, layer, over=under)
    else:
        _place(layer, {k: points.pop(k) for k in spatial(image)})
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


def is_edited(layer: Points) -> bool:
    """Whether a human has changed a dots layer since we wrote it.

    Compares contents, for napari reports neither a paste nor a change in place.
    """
    now, written = dots_of(layer), kept(layer, "written")
    return not all(
        np.array_equal(getattr(now, name), getattr(written, name))
        for name in ("id", "yx", "t", "z", "label", "state")
    )


def dots_of(layer: Points) -> Dots:
    """Dots of a Points layer of ours, with what a human changed; see ``dots_of_points``."""
    return dots_of_points(layer.data, layer.features, layer.metadata)


def dots_of_points(data: Any, features: Any, metadata: Mapping[str, Any]) -> Dots:
    """Dots that a Points layer of ours holds, with what a human changed since we wrote it.

    A dot that was moved, added or pasted says so in its state. One that is gone comes
    last, as it was, and is ``removed``: nothing that was found is lost.

    Parameters
    ----------
    data
        ``(n, ndim)`` positions.
    features
        A table, or columns by name.
    metadata
        The layer's.
    """
    written: Dots = metadata[_TAG]["written"]
    axes: tuple[str, ...] = metadata[_TAG]["axes"]
    data = np.asarray(data, dtype=float)

    def column(name: str) -> list[str]:
        values = features[name] if name in features else [""] * len(data)
        return ["" if pd.isna(value) else str(value) for value in values]

    def index(letter: str, before: NDArray[np.int64]) -> NDArray[np.int64] | int:
        if letter in axes:
            return np.rint(data[:, axes.index(letter)]).astype(np.int64)
        return int(before[0]) if len(before) else 0

    now = Dots.new(
        data[:, -2:],
        t=index("T", written.t),
        z=index("Z", written.z),
        label=[label or "cell" for label in column("class")],
        state="added",
    )
    origins = _origins(column("id"), written)
    stays = np.array([row is not None for row in origins], dtype=bool)
    before, here = written[[row for row in origins if row is not None]], now[stays]
    gone = written[np.setdiff1d(np.arange(len(written)), [r for r in origins if r is not None])]
    said = np.array(column("state"), dtype=np.str_)[stays]
    state = np.where(np.isin(said, DOT_STATES), said, before.state)
    moved = (here.yx != before.yx).any(axis=1) | (here.t != before.t) | (here.z != before.z)
    state = np.where(moved & ~np.isin(state, ("added", "removed")), "moved", state)
    return _joined(
        replace(here, id=before.id, score=before.score, source=before.source, state=state),
        now[~stays],
        replace(gone, state=np.full(len(gone), "removed")),
    )


def _origins(ids: Sequence[str], written: Dots) -> list[int | None]:
    """Row of ``written`` that each id stands for; None for a dot that is new.

    napari keeps the order of its points and puts new ones last. It may give them the
    id of a dot that was selected before, even of one that is gone by now.
    """
    rows = {name: row for row, name in enumerate(written.id.tolist())}
    origins: list[int | None] = []
    last = -1
    for name in ids:
        row = rows.get(name, -1)
        origins.append(row if row > last else None)
        last = max(last, row)
    return origins


def _joined(*parts: Dots) -> Dots:
    return Dots(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Dots)}
    )


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
        "metadata": {_TAG: {"role": "file", "written": dots, "axes": tuple(lead)}},
    }
    settings |= _looks(dots) if len(dots) else {"ndim": 2}
    return np.column_stack([*lead.values(), dots.yx]), settings


def _features(dots: Dots) -> pd.DataFrame:
    columns = {"id": dots.id, "class": dots.label, "score": dots.score}
    return pd.DataFrame({**columns, "state": dots.state, "source": dots.source})


def cover_of(layer: Image, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (top left, bottom right) of what the canvas shows of a density, in image pixels."""
    corners = np.asarray(layer.corner_pixels, dtype=float)[:, -2:]
    low, high = grid.to_image(corners + np.array([[0.0], [1.0]]))
    return low, high


# ---- ring ----


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
            _lifted(middle[None], plane),
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
            metadata=_tag("ring", image),
            **spatial(image),
        )
        layer = _beside(viewer, layer)
    elif len(layer.data):
        data = np.array(layer.data)
        data[:, : len(plane.position)] = plane.position
        layer.data = data
        layer.size = diameter_px
    return layer

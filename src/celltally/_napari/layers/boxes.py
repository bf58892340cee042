"""Boxes of prototypes → a Shapes layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Image, Shapes

from celltally._napari.colours import KINDS
from celltally._napari.layers.density import density_layer
from celltally._napari.layers.own import keep, kept, own_layer, tag
from celltally._napari.layers.place import add_above, lifted, put, spatial
from celltally._napari.planes import Plane, key_of

if TYPE_CHECKING:
    from celltally.explain.boxes import Box
    from celltally.explain.similarity import Window

__all__ = ["MOST_LABELS", "add_boxes", "boxes_layer", "clear_boxes", "label_boxes"]

#: Boxes that say which prototype they are of and how similar; more cannot be read.
MOST_LABELS = 30


def boxes_layer(layers: Any, image: str) -> Shapes | None:
    """Our layer of boxes of an image."""
    return own_layer(layers, image, "boxes")


def clear_boxes(viewer: Any, image: Image) -> Shapes:
    """Return the layer of boxes of an image, without any; it is made where there is none."""
    layer = boxes_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Shapes(
            name=f"{image.name} boxes",
            ndim=image.ndim,
            face_color="transparent",
            opacity=1.0,
            metadata=tag("boxes", image),
            **spatial(image),
        )
        density = density_layer(viewer.layers, key_of(image))
        layer = add_above(viewer, image, layer, over=density)
    else:
        layer.data = []
        put(layer, spatial(image))
    keep(layer, boxes=[])
    return layer


def add_boxes(layer: Shapes, plane: Plane, boxes: Sequence[Box], width: float) -> None:
    """Add boxes: few at once, for napari takes a millisecond or two for each.

    Parameters
    ----------
    width
        Of their lines, in image pixels.
    """
    if not boxes:
        return
    corners = [
        lifted(np.array([(b.y0, b.x0), (b.y0, b.x1), (b.y1, b.x1), (b.y1, b.x0)]), plane)
        for b in boxes
    ]
    layer.add_rectangles(
        corners,
        edge_color=[KINDS[box.kind] for box in boxes],
        face_color="transparent",
        edge_width=width,
    )
    keep(layer, boxes=[*kept(layer, "boxes"), *boxes])


def label_boxes(
    layer: Shapes, boxes: Sequence[Box], room: tuple[float, float], window: Window
) -> None:
    """Say of all boxes of a layer what they are, and write it beside the most similar.

    Parameters
    ----------
    boxes
        Those of the layer, in its order.
    room
        Height and width that a label takes, in image pixels: none is written over another.
    window
        ``(y0, x0, y1, x1)`` in image pixels: what is in view; no label is written elsewhere.
    """
    kept_labels = _free(boxes, room, window)
    words = [f"p{box.prototype} · {box.similarity:.1f}" for box in boxes]
    features = pd.DataFrame(
        {
            "prototype": [box.prototype for box in boxes],
            "kind": [box.kind for box in boxes],
            "similarity": [round(box.similarity, 2) for box in boxes],
            "label": [w if keep else "" for w, keep in zip(words, kept_labels, strict=True)],
        }
    )
    layer.features = features
    layer.text = {
        "string": "{label}",
        "size": 9,
        "color": [KINDS[box.kind] for box in boxes],
        "anchor": "upper_left",
        "translation": [0.0] * layer.ndim,
    }


def _free(boxes: Sequence[Box], room: tuple[float, float], window: Window) -> list[bool]:
    """Whether each box has a label: the most similar ones that do not cover each other."""
    corners = np.array([(box.y0, box.x0) for box in boxes]).reshape(-1, 2)
    chosen: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -boxes[i].similarity):
        if not (
            window[0] <= corners[i, 0] <= window[2] and window[1] <= corners[i, 1] <= window[3]
        ):
            continue
        apart = np.abs(corners[chosen] - corners[i]) >= room
        if apart.any(axis=1).all():
            chosen.append(i)
        if len(chosen) == MOST_LABELS:
            break
    return [i in chosen for i in range(len(boxes))]

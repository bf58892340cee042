"""A region to be counted → layers that show it and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer, Points, Shapes
from numpy.typing import NDArray

from celltally._napari.colours import BORDER, EDGE_IN, EDGE_OUT, class_colours
from celltally._napari.compat import fit_view
from celltally._napari.layers.own import TAG, own_role
from celltally._napari.layers.place import add_beside

if TYPE_CHECKING:
    from celltally.density.random_region import CutOut
    from celltally.learn.audits import AuditField

__all__ = ["AuditLayers"]

#: Share of the longer side that the frame is wide.
FRAME_WIDTH = 0.006
#: Roles of the layers that show a region.
_ROLES = ("audit image", "audit frame", "audit dots")


class AuditLayers:
    """Shows one region after the other in place of everything else in the viewer.

    Parameters
    ----------
    viewer
        Where to.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._hidden: list[Layer] = []
        self.dots: Points | None = None
        self._field: AuditField | CutOut | None = None

    def show(self, field: AuditField | CutOut, dots: Sequence[Sequence[float]] = ()) -> Points:
        """Show a region, and dots (y, x in image pixels) that were set in it before.

        The pixels lie at the origin: where in the image they are is not told.
        """
        self._clear()
        self._field = field
        for layer in self._viewer.layers:
            if layer.visible:
                layer.visible = False
                self._hidden.append(layer)
        self._viewer.dims.ndisplay = 2
        rgb = field.pixels.ndim == 3
        limits = {} if rgb else {"contrast_limits": field.limits}
        image = Image(
            _bytes(field.pixels, field.limits) if rgb else field.pixels,
            name="audit region",
            rgb=rgb,
            metadata=_tag("audit image"),
            **limits,
        )
        top, left, bottom, right = (side - 0.5 for side in field.frame)
        width = max(FRAME_WIDTH * max(field.pixels.shape[:2]), 0.5)
        frame = Shapes(
            [
                np.array([(bottom, left), (top, left), (top, right)]),
                np.array([(top, right), (bottom, right), (bottom, left)]),
            ],
            shape_type="path",
            edge_color=[EDGE_IN, EDGE_OUT],
            edge_width=width,
            face_color="transparent",
            name="audit frame",
            metadata=_tag("audit frame"),
        )
        frame.editable = False
        points = Points(
            np.asarray(dots, dtype=float).reshape(-1, 2) - field.origin,
            ndim=2,
            name="audit dots",
            size=max(0.3 * field.diameter_px, 2.0),
            face_color=next(iter(class_colours(["cell"]).values())),
            border_color=BORDER,
            border_width=0.15,
            metadata=_tag("audit dots"),
        )
        for layer in (image, frame, points):
            add_beside(self._viewer, layer)
        self._viewer.layers.selection = {points}
        self._viewer.layers.selection.active = points
        points.mode = "add"
        fit_view(self._viewer, [image])
        self.dots = points
        return points

    def cover(self, layer: Layer) -> None:
        """Hide a layer that was added while a region is shown, until the end."""
        if self._field is not None and own_role(layer) not in _ROLES and layer.visible:
            layer.visible = False
            self._hidden.append(layer)

    def blank(self) -> None:
        """Take the region away, but leave the rest hidden: another one follows."""
        self._clear()

    def positions(self) -> NDArray[np.float64]:
        """Return the dots in the region, ``(n, 2)`` (y, x) in image pixels.

        Its left and top edges are in, its right and bottom ones out.
        """
        if self.dots is None or self._field is None:
            return np.empty((0, 2))
        yx = np.asarray(self.dots.data, dtype=float)[:, -2:]
        top, left, bottom, right = (side - 0.5 for side in self._field.frame)
        inside = (yx >= (top, left)) & (yx < (bottom, right))
        return yx[inside.all(axis=1)] + self._field.origin

    def end(self) -> None:
        """Take the region away and show again what was shown before."""
        self._clear()
        there = set(self._viewer.layers)
        for layer in self._hidden:
            if layer in there:
                layer.visible = True
        self._hidden = []

    def _clear(self) -> None:
        for layer in [layer for layer in self._viewer.layers if own_role(layer) in _ROLES]:
            self._viewer.layers.remove(layer)
        self.dots = self._field = None


def _tag(role: str) -> dict[str, Any]:
    """Metadata by which a layer of the audit is known; it belongs to no image."""
    return {TAG: {"role": role, "image": "", "number": 0}}


def _bytes(pixels: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Colours as napari draws them: bytes."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = limits
    shown = np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) * 255
    return np.asarray(shown.round(), dtype=np.uint8)

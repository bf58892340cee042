"""Image layer → the plane that is counted: its axes, channel and pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from celltally import types
from celltally._napari.checks import shape_problem, view_problem
from celltally.errors import UserError

__all__ = ["Plane", "channel_choices", "key_of", "pixel_size_um", "plane_in_view"]

#: Channels of a colour image, as ``celltally.io.select_pixels`` knows them.
COLOURS = ("red", "green", "blue", "gray")
#: An unlabelled leading axis that is as short as this may hold channels.
MOST_CHANNELS = 5


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of an image layer; ``read`` may be called on any thread.

    Attributes
    ----------
    data
        Full-resolution data of the layer, maybe lazy.
    position
        Index along every axis but the last two (colour samples aside).
    names
        Names of those axes.
    rgb
        Whether the last axis of ``data`` holds colour samples.
    channel
        Which one was chosen: of RGB one of ``COLOURS``; None for all.
    shape
        ``(height, width)``.
    """

    data: Any
    position: tuple[int, ...]
    names: tuple[str, ...]
    rgb: bool
    channel: str | None
    shape: tuple[int, int]

    def read(self) -> NDArray[Any]:
        """Read the pixels, ``(H, W)`` or ``(H, W, 3)``; loads this plane only."""
        from celltally.io import select_pixels

        pixels = np.asarray(self.data[self.position])
        if not self.rgb:
            return pixels
        colours = types.Image(pixels, axes="YXS", name="")
        return select_pixels(colours, channel=self.channel or "colour")

    def guess_channel(self) -> str | None:
        """Guess which colour shows the cells; None for all of them."""
        from celltally.io import guess_channel

        if not self.rgb:
            return None
        pixels = np.asarray(self.data[self.position])
        guess = guess_channel(types.Image(pixels, axes="YXS", name=""))
        return guess if guess in COLOURS else None

    @property
    def text(self) -> str:
        """``t 3, z 0``; empty for a plain image."""
        pairs = zip(self.names, self.position, strict=True)
        return ", ".join(f"{name} {index}" for name, index in pairs)

    def index(self, *names: str) -> int:
        """Index along the axis of one of these names; 0 where there is none."""
        for name, index in zip(self.names, self.position, strict=True):
            if name.lower() in names:
                return index
        return 0


def key_of(layer: Layer) -> str:
    """Return what tells a layer from all others, however it is wrapped."""
    return str(getattr(layer, "unique_id", None) or id(getattr(layer, "__wrapped__", layer)))


def _full(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def plane_in_view(layer: Image, dims: Any, channel: str | int | None = None) -> Plane:
    """Return the plane of an image layer that the viewer shows.

    Parameters
    ----------
    layer
        The image.
    dims
        The viewer's dims.
    channel
        One of ``channel_choices``' values; None for what is in view.

    Raises
    ------
    UserError
        When the layer is no image plane, or shows something else than one.
    """
    data = _full(layer)
    problem = shape_problem(data.shape, rgb=layer.rgb) or view_problem(
        dims.ndisplay, dims.displayed, dims.ndim
    )
    if problem:
        raise UserError(problem)
    sizes = data.shape[:-1] if layer.rgb else data.shape
    at = np.asarray(layer.world_to_data(np.asarray(dims.point)[-layer.ndim :]))[:-2]
    position = [round(float(p)) for p in at]
    names = _axis_names(layer)
    if isinstance(channel, int):
        position[channel_axis(layer)] = channel
        channel = None
    for index, size, name in zip(position, sizes, names, strict=False):
        if not 0 <= index < size:
            raise UserError(
                f"The image {layer.name!r} has no plane at {name} {index}; "
                "move the slider to one that it has."
            )
    return Plane(data, tuple(position), names, layer.rgb, channel, tuple(sizes[-2:]))


def _axis_names(layer: Image) -> tuple[str, ...]:
    """Names of the axes before the last two; ``plane`` for one without a name."""
    labels = getattr(layer, "axis_labels", ()) or ()
    named = [str(label) for label in labels[: layer.ndim - 2]]
    named += [""] * (layer.ndim - 2 - len(named))
    plain = [n if n and not n.lstrip("-").isdigit() else "" for n in named]
    unnamed = plain.count("")
    return tuple(n or ("plane" if unnamed == 1 else f"axis {i}") for i, n in enumerate(plain))


def channel_axis(layer: Image) -> int | None:
    """Axis that holds the channels of a layer that is not RGB, where one seems to."""
    if layer.rgb or layer.ndim < 3:
        return None
    names = [name.lower() for name in _axis_names(layer)]
    for axis, name in enumerate(names):
        if name in ("c", "channel", "channels"):
            return axis
    sizes = _full(layer).shape
    for axis, name in enumerate(names):
        if (name == "plane" or name.startswith("axis")) and 2 <= sizes[axis] <= MOST_CHANNELS:
            return axis
    return None


def channel_choices(layer: Image) -> list[tuple[str, str | int | None]]:
    """Return what can be chosen as channel, (text, value) pairs; empty where there is one only."""
    if layer.rgb:
        return [("all colours", None), *((name, name) for name in COLOURS)]
    axis = channel_axis(layer)
    if axis is None:
        return []
    return [
        ("the one in view", None),
        *((f"{_axis_names(layer)[axis]} {i}", i) for i in range(_full(layer).shape[axis])),
    ]


_MICROMETRES = {
    "micrometer": 1.0,
    "micron": 1.0,
    "nanometer": 1e-3,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


def pixel_size_um(layer: Image) -> float | None:
    """Pixel size in micrometres (geometric mean of y and x), where the layer knows it.

    A scale without units is taken for micrometres, as most readers mean it,
    unless it is 1.
    """
    scale = np.abs(np.asarray(layer.scale, dtype=float)[-2:])
    units = [str(u) for u in (getattr(layer, "units", None) or ())][-2:]
    if len(units) == 2 and all(u in _MICROMETRES for u in units):
        scale = scale * [_MICROMETRES[u] for u in units]
    elif any(u != "pixel" for u in units) or np.allclose(scale, 1):
        return None
    size = float(np.sqrt(scale.prod()))
    return size if size > 0 else None

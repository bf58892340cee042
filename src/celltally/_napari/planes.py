"""Image layer → the plane that is counted: its axes, channel and pixel size."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import ArrayLike, NDArray

from celltally._napari.checks import shape_problem, view_problem
from celltally.errors import UserError
from celltally.io import COLOURS, guess_channel, leading_axes, select_pixels
from celltally.io._axes import micrometres
from celltally.io.planes import iter_brightest, iter_highest, look_around
from celltally.progress import drain
from celltally.types import Dots, Progress
from celltally.types import Image as Pixels

__all__ = [
    "Plane",
    "channel_choices",
    "go_to",
    "in_plane",
    "iter_in_plane",
    "key_of",
    "pixel_size_um",
    "plane_at",
    "plane_in_view",
]

#: What a label may call an axis of time, channels or z.
_LETTERS = {
    **dict.fromkeys(("t", "time", "frame"), "T"),
    **dict.fromkeys(("c", "channel", "channels"), "C"),
    **dict.fromkeys(("z", "plane"), "Z"),
}
#: What an axis without a label is called.
_WORDS = {"T": "t", "C": "channel", "Z": "z"}


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of an image layer, or its projection; ``read`` may be called on any thread.

    Attributes
    ----------
    data
        Full-resolution data of the layer, maybe lazy.
    position
        Index along every axis but the last two (colour samples aside).
    names
        What those axes are called.
    axes
        Letter of each of them: T, C or Z, as files have them; "" for another.
    rgb
        Whether the last axis of ``data`` holds colour samples.
    channel
        Which colour of RGB was chosen, one of ``io.COLOURS``; None for all.
    shape
        ``(height, width)``.
    z_method
        ``plane``; ``projection``: of every pixel the largest value over z; or ``merged``: this
        plane is counted, and its dots are merged with those of the others over z.
    """

    data: Any
    position: tuple[int, ...]
    names: tuple[str, ...]
    axes: tuple[str, ...]
    rgb: bool
    channel: str | None
    shape: tuple[int, int]
    z_method: str = "plane"

    def read(self) -> NDArray[Any]:
        """Read the pixels, ``(H, W)`` or ``(H, W, 3)``; see ``iter_read``."""
        return drain(self.iter_read())

    def iter_read(self) -> Generator[Progress, None, NDArray[Any]]:
        """Read the pixels; loads this plane only, of a projection one plane after the other."""
        if self.z_method != "projection":
            return self._read_at(None)
        return (yield from iter_highest(self._read_at, range(self.depth)))

    def _read_at(self, z: int | None) -> NDArray[Any]:
        pixels = np.asarray(self.data[self.position if z is None else self.moved(z=z).position])
        if not self.rgb:
            return pixels
        colours = Pixels(pixels, axes="YXS", name="")
        return select_pixels(colours, channel=self.channel or "colour")

    def moved(self, *, t: int | None = None, z: int | None = None) -> Plane:
        """Return the plane at another time point or z, as far as there are such axes."""
        wanted = {"T": t, "Z": z}
        position = tuple(
            index if (other := wanted.get(letter)) is None else other
            for letter, index in zip(self.axes, self.position, strict=True)
        )
        return replace(self, position=position)

    def length(self, letter: str) -> int:
        """Length of the axis of a letter; 1 where there is none."""
        return int(self.data.shape[self.axes.index(letter)]) if letter in self.axes else 1

    @property
    def depth(self) -> int:
        """Number of planes along z."""
        return self.length("Z")

    def guess_channel(self) -> str | None:
        """Guess which colour shows the cells; None for all of them."""
        if not self.rgb:
            return None
        pixels = np.asarray(self.data[self.position])
        guess = guess_channel(Pixels(pixels, axes="YXS", name=""))
        return None if guess == "colour" else guess

    @property
    def text(self) -> str:
        """``t 3, z 0``; empty for a plain image. There is no choice on an axis of length 1."""
        axes = zip(self.names, self.position, self.data.shape, self.axes, strict=False)
        return ", ".join(
            "projection over z"
            if letter == "Z" and self.z_method == "projection"
            else f"{name} {index}"
            for name, index, length, letter in axes
            if length > 1
        )

    def index(self, letter: str) -> int:
        """Index along the axis of a letter; 0 where there is none."""
        return self.position[self.axes.index(letter)] if letter in self.axes else 0

    @property
    def place(self) -> tuple[int, int | None]:
        """Time point and z of its dots; None where they lie in all z."""
        return self.index("T"), None if self.z_method == "projection" else self.index("Z")

    @property
    def z_word(self) -> str:
        """What a table has in its column z: the index, or ``max`` for a projection."""
        return "max" if self.z_method == "projection" else str(self.index("Z"))

    def are_at(self, leads: ArrayLike) -> NDArray[np.bool_]:
        """Which places ``(n, axes)`` along the axes before the last two are in this plane.

        A projection is of all z.
        """
        there = np.rint(np.asarray(leads, dtype=float)).astype(int)
        same = there.reshape(len(there), len(self.position)) == np.asarray(self.position, dtype=int)
        if self.z_method == "projection" and "Z" in self.axes:
            same[:, self.axes.index("Z")] = True
        return np.asarray(same.all(axis=1))

    def own(self, dots: Dots) -> NDArray[np.bool_]:
        """Which dots belong to what was counted: those of the plane, or of all z."""
        here = dots.t == self.index("T")
        return here & (dots.z == self.index("Z")) if self.z_method == "plane" else here


def in_plane(dots: Dots, plane: Plane) -> Dots:
    """Dots with the time point and z plane that they were counted in."""
    n = len(dots)
    return replace(dots, t=np.full(n, plane.index("T")), z=np.full(n, plane.index("Z")))


def iter_in_plane(dots: Dots, plane: Plane, diameter_px: float) -> Generator[Progress, None, Dots]:
    """Give dots their time point and z: of a projection the z where each is brightest."""
    placed = in_plane(dots, plane)
    if plane.z_method != "projection" or plane.depth == 1:
        return placed
    window = look_around(diameter_px)
    z = yield from iter_brightest(plane._read_at, range(plane.depth), dots.yx, window_px=window)
    return replace(placed, z=z)


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
    axes = axis_letters(layer)
    names = _axis_names(layer, axes)
    if isinstance(channel, int):
        position[channel_axis(layer)] = channel
        channel = None
    for index, size, name in zip(position, sizes, names, strict=False):
        if not 0 <= index < size:
            raise UserError(
                f"The image {layer.name!r} has no plane at {name} {index}; "
                "move the slider to one that it has."
            )
    return plane_at(layer, position, channel)


def plane_at(layer: Image, position: Sequence[int], channel: str | None = None) -> Plane:
    """Return a plane of an image layer, whether it is in view or not.

    Parameters
    ----------
    position
        Index along every axis but the last two (colour samples aside).
    channel
        One of ``io.COLOURS`` of an RGB image; None for all.
    """
    data = _full(layer)
    sizes = data.shape[:-1] if layer.rgb else data.shape
    axes = axis_letters(layer)
    names = _axis_names(layer, axes)
    at = tuple(int(index) for index in position)
    return Plane(data, at, names, axes, layer.rgb, channel, tuple(sizes[-2:]))


def go_to(layer: Image, dims: Any, plane: Plane) -> None:
    """Have the viewer show a plane of an image layer."""
    place = np.zeros(layer.ndim)
    place[: len(plane.position)] = plane.position
    world = layer.data_to_world(place)
    for axis in range(len(plane.position)):
        dims.set_point(dims.ndim - layer.ndim + axis, float(world[axis]))


def _labels(layer: Image) -> list[str]:
    """Labels of the axes before the last two; empty for one that nobody named."""
    labels = [str(label) for label in getattr(layer, "axis_labels", ()) or ()][: layer.ndim - 2]
    labels += [""] * (layer.ndim - 2 - len(labels))
    return ["" if label.lstrip("-").isdigit() else label for label in labels]


def axis_letters(layer: Image) -> tuple[str, ...]:
    """Letter of every axis before the last two: T, C, Z, or "" for another.

    An axis without a label is taken for what it is taken for in a file.
    """
    labels, lengths = _labels(layer), _full(layer).shape
    letters = [_LETTERS.get(label.lower(), "") for label in labels]
    asked = [i for i, label in enumerate(labels) if letters[i] or not label]
    try:
        found = leading_axes(
            Path(layer.name),
            "".join(letters[i] or "?" for i in asked),
            tuple(lengths[i] for i in asked),
            "YX",
        )
    except UserError:  # more axes than letters: the unnamed ones stay so
        return tuple(letters)
    for i, letter in zip(asked, found, strict=True):
        letters[i] = letter
    return tuple(letters)


def _axis_names(layer: Image, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the axes before the last two are called: their labels, else what they seem."""
    labels = _labels(layer)
    return tuple(
        label or _WORDS.get(letter, f"axis {i}")
        for i, (label, letter) in enumerate(zip(labels, axes, strict=True))
    )


def channel_axis(layer: Image) -> int | None:
    """Axis that holds the channels of a layer that is not RGB, where one seems to."""
    axes = axis_letters(layer)
    return None if layer.rgb or "C" not in axes else axes.index("C")


def channel_choices(layer: Image) -> list[tuple[str, str | int | None]]:
    """Return what can be chosen as channel, (text, value) pairs; empty where there is one only."""
    if layer.rgb:
        return [("all colours", None), *((name, name) for name in COLOURS if name != "colour")]
    axis = channel_axis(layer)
    if axis is None:
        return []
    name = _axis_names(layer, axis_letters(layer))[axis]
    count = _full(layer).shape[axis]
    return [("the one in view", None), *((f"{name} {i}", i) for i in range(count))]


def pixel_size_um(layer: Image) -> float | None:
    """Pixel size in micrometres (geometric mean of y and x), where the layer knows it.

    A scale without units is taken for micrometres, as most readers mean it,
    unless it is 1.
    """
    scale = np.abs(np.asarray(layer.scale, dtype=float)[-2:])
    units = [str(u) for u in (getattr(layer, "units", None) or ())][-2:]
    lengths = [length for u in units if (length := micrometres(u)) is not None]
    if len(lengths) == 2:
        scale = scale * lengths
    elif any(u != "pixel" for u in units) or np.allclose(scale, 1):
        return None
    size = float(np.sqrt(scale.prod()))
    return size if size > 0 else None

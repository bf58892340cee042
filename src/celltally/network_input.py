"""An image as networks are shown it: at model scale, in a margin, in tiles that fit the memory.

What predicting and explaining share, so that both look at the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celltally.appearance import appearance
from celltally.devices import (
    BYTES_PER_PIXEL,
    SMALLEST_TILE,
    best_tile,
    free_memory,
    is_out_of_memory,
)
from celltally.diameter import diameter_of
from celltally.errors import OutOfMemoryError
from celltally.networks import CountingNetwork
from celltally.preprocess import image_statistics, normalise
from celltally.scale import MARGIN, model_shape, pad_with_margin, rescale
from celltally.tiling import Tile, plan_tiles
from celltally.types import Progress

__all__ = [
    "ScaledImage",
    "TiledImage",
    "as_batch",
    "scaled_image",
    "tiled_image",
    "within_memory",
]

Result = TypeVar("Result")
#: Classes, rows and columns of a density.
Cells = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class ScaledImage:
    """One image plane at model scale.

    Attributes
    ----------
    values
        ``(C, h, w)`` normalised, C = 1 or 3; None for an image that shows nothing.
    image_shape
        ``(H, W)`` of the plane in pixels.
    shape
        ``(h, w)``.
    diameter_px
        Cell diameter in image pixels that it was rescaled by.
    statistics, appearance
        Figures of the image that a calibration compares; empty where it shows too little.
    """

    values: Tensor | None
    image_shape: tuple[int, int]
    shape: tuple[int, int]
    diameter_px: float
    statistics: Mapping[str, float]
    appearance: Mapping[str, float]


def scaled_image(
    pixels: NDArray[np.generic], diameter_px: float | None, nominal_px: float
) -> ScaledImage:
    """Normalise a plane and rescale it so that its cells have the nominal diameter.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype.
    diameter_px
        Cell diameter in pixels; None to estimate it from the image.
    nominal_px
        Cell diameter at model scale.

    Raises
    ------
    UserError
        When the pixels or the diameter cannot be used, or the memory does not suffice.
    """
    values, scaling = normalise(pixels)
    image_shape = (int(values.shape[1]), int(values.shape[2]))
    estimated = None if scaling.empty else diameter_of(values)
    diameter = diameter_px if diameter_px is not None else estimated or nominal_px
    shape = model_shape(image_shape, diameter, nominal_px)
    scaled, statistics, looks = None, {}, {}
    if not scaling.empty:
        try:
            scaled = rescale(values, shape)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"an image of {image_shape[1]} × {image_shape[0]} px with cells of "
                f"{diameter:g} px does not fit into the memory; give a larger diameter"
            ) from None
    if estimated is not None:
        statistics = {
            **image_statistics(values, scaling),
            # The cell size that was counted with, and its distance from the estimate.
            "diameter_px": float(diameter),
            "diameter_ratio": diameter / estimated,
        }
        looks = appearance(values, float(diameter))
    return ScaledImage(scaled, image_shape, shape, float(diameter), statistics, looks)


@dataclass(frozen=True, eq=False)
class TiledImage:
    """An image at model scale with what a network needs around it, and its tiles.

    Attributes
    ----------
    padded
        ``(C, H, W)``, the image in its margin.
    tiles
        In pixels of ``padded``.
    margin
        Where the image begins in ``padded``, along both axes.
    shape
        ``(h, w)`` of the image.
    stride
        Pixels per density cell.
    """

    padded: Tensor
    tiles: list[Tile]
    margin: int
    shape: tuple[int, int]
    stride: int

    @property
    def density_shape(self) -> tuple[int, int]:
        """Rows and columns of the image's density; a whole image may end within a cell."""
        return -(-self.shape[0] // self.stride), -(-self.shape[1] // self.stride)

    def window(self, tile: Tile) -> Tensor:
        """``(C, h, w)``: what the network is shown for a tile."""
        y0, x0, y1, x1 = tile.window
        return self.padded[:, y0:y1, x0:x1]

    def cells(self, tile: Tile) -> tuple[Cells, Cells]:
        """Density cells of a tile's core that lie in the image.

        Returns
        -------
        image, window
            The same cells in the density of the image, and in that of the tile's window.
        """
        image, window = [slice(None)], [slice(None)]
        for axis, most in enumerate(self.density_shape):
            start, stop, begins = (
                -(-edge // self.stride)  # rounded up: a whole image may end within a cell
                for edge in (tile.core[axis], tile.core[axis + 2], tile.window[axis])
            )
            first = self.margin // self.stride
            start, stop = (min(max(edge, first), first + most) for edge in (start, stop))
            image.append(slice(start - first, stop - first))
            window.append(slice(start - begins, stop - begins))
        return (image[0], image[1], image[2]), (window[0], window[1], window[2])

    def cut(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(…, H, W)`` maps of ``padded`` → ``(…, h, w)`` of the image."""
        rows, columns = (slice(self.margin, self.margin + side) for side in self.shape)
        return maps[..., rows, columns]


def tiled_image(network: CountingNetwork, values: Tensor, side: int) -> TiledImage:
    """Put ``(C, h, w)`` values into their margin, and plan the tiles of a network.

    Parameters
    ----------
    network
        One without a halo is given the whole image, and no margin.
    values
        Normalised, at model scale.
    side
        Largest side of a core.
    """
    shape = (int(values.shape[1]), int(values.shape[2]))
    if network.halo is None:
        return TiledImage(values, [Tile((0, 0, *shape), (0, 0, *shape))], 0, shape, network.stride)
    padded = pad_with_margin(values, network.multiple)
    outer = (int(padded.shape[1]), int(padded.shape[2]))
    tiles = plan_tiles(outer, side, network.halo, network.multiple)
    return TiledImage(padded, tiles, MARGIN, shape, network.stride)


def as_batch(window: Tensor) -> Tensor:
    """``(C, h, w)`` → ``(1, 3, h, w)``; a grey image is shown as three equal channels."""
    return window.expand(3, -1, -1)[None].contiguous(memory_format=torch.channels_last)


def within_memory(
    run: Callable[[torch.device, int], Generator[Progress, None, Result]],
    *,
    device: torch.device,
    tile: int | None,
    whole: bool,
    done: str,
    bytes_per_pixel: int = BYTES_PER_PIXEL,
    shape: tuple[int, int] | None = None,
) -> Generator[Progress, None, tuple[Result, tuple[str, ...]]]:
    """Run a job in tiles that the memory holds.

    When it does not suffice the tile is halved, and when the smallest one does not
    fit a GPU the CPU takes over. A whole image that needs more than is free is not begun:
    a system that runs out of memory may end the program without a word.

    Parameters
    ----------
    run
        The job, for a device and a largest side of a core.
    device, tile
        Where to begin, and with which side; None to choose by the free memory.
    whole
        Whether the network takes whole images only, so that smaller tiles are none.
    done
        What the notes say of the job: ``counted``.
    bytes_per_pixel
        Memory that the job needs at its peak for each pixel of a tile, or of a whole image.
    shape
        ``(h, w)`` of the image; only whole ones need it.

    Returns
    -------
    result
        The job's.
    notes
        Sentences about smaller tiles or another device.

    Raises
    ------
    OutOfMemoryError
        When nothing fits.
    """
    side = tile or best_tile(device, bytes_per_pixel)
    needed = shape[0] * shape[1] * bytes_per_pixel if whole and shape is not None else 0
    notes: list[str] = []
    while True:
        free = free_memory(device) if needed else 0
        try:
            # Half of it in half precision; a GPU says itself what it cannot hold.
            if needed > (free if device.type == "cpu" else 2 * free):
                raise MemoryError
            result = yield from run(device, side)
            return result, tuple(notes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if side > SMALLEST_TILE and not whole:
            side = max(SMALLEST_TILE, side // 2)
            note = f"The memory did not suffice: {done} in smaller tiles of {side} px."
        elif device.type != "cpu":
            device = torch.device("cpu")
            side = best_tile(device, bytes_per_pixel)
            note = f"The memory of the GPU did not suffice: {done} on the CPU."
        elif whole and shape is not None:
            raise OutOfMemoryError(_too_large(shape, needed, free))
        else:
            raise OutOfMemoryError(
                "the memory does not suffice even for the smallest tile; close other programs"
            )
        notes = [note]
        yield Progress(0, 0, note)


def _too_large(shape: tuple[int, int], needed: int, free: int) -> str:
    """Say that a whole image does not fit, with the figures where it was not even begun."""
    height, width = shape
    figures = f" ({needed / 1e9:.3g} GB needed, {free / 1e9:.3g} GB free)" if needed > free else ""
    return (
        f"the memory does not suffice for an image of {width} × {height} px at model scale, which "
        f"this network takes in one piece{figures}; give a larger cell diameter, or take a model "
        "that counts in tiles, such as one of 'tally'"
    )

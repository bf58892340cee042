"""An image and a model → a ``Prediction``, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celltally.devices import (
    SMALLEST_TILE,
    autocast,
    best_tile,
    is_out_of_memory,
    resolve_device,
)
from celltally.diameter import diameter_of
from celltally.errors import OutOfMemoryError
from celltally.model import Model
from celltally.networks import CountingNetwork
from celltally.preprocess import image_statistics, normalise
from celltally.progress import drain
from celltally.scale import (
    MARGIN,
    density_grid,
    model_shape,
    pad_with_margin,
    rescale,
    thumbnail,
)
from celltally.tiling import Tile, plan_tiles
from celltally.types import Prediction, Progress

__all__ = ["infer", "iter_predict", "predict", "resolve_device"]

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]


def predict(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Prediction:
    """Count one image plane; see ``iter_predict``."""
    return drain(
        iter_predict(model, pixels, diameter_px=diameter_px, device=device, tile=tile, image=image)
    )


def iter_predict(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Generator[Progress, None, Prediction]:
    """Count one image plane, yielding after every tile.

    Parameters
    ----------
    model
        What counts.
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype.
    diameter_px
        Cell diameter in pixels; None to estimate it from the image.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
    tile
        Side of a tile in model-scale pixels; None to choose by the free memory.
    image
        Name of the image.

    Raises
    ------
    UserError
        When the pixels, the diameter or the device cannot be used, or when even
        the smallest tile does not fit into the memory.
    """
    start = time.perf_counter()
    target = resolve_device(device)
    values, scaling = normalise(pixels)
    image_shape = (int(values.shape[1]), int(values.shape[2]))
    estimated = None if scaling.empty else diameter_of(values)
    if diameter_px is None:
        diameter_px = estimated or model.diameter_px
    shape = model_shape(image_shape, diameter_px, model.diameter_px)
    grid = density_grid(image_shape, shape, model.network.stride)
    notes: tuple[str, ...] = ()
    if scaling.empty:
        # A constant image shows no cell, whatever a network makes of it.
        density = np.zeros((1, *grid.shape), dtype=np.float32)
        variance = density
    else:
        try:
            scaled = rescale(values, shape)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"an image of {image_shape[1]} × {image_shape[0]} px with cells of "
                f"{diameter_px:g} px does not fit into the memory; give a larger diameter"
            ) from None
        (density, log_variance), notes = yield from infer(
            model.network, scaled, device=target, tile=tile
        )
        variance = np.exp(log_variance)
    return Prediction(
        density=density,
        variance=variance,
        grid=grid,
        image_shape=image_shape,
        diameter_px=float(diameter_px),
        model=model.name,
        model_sha256=model.sha256,
        calibration=model.calibration,
        calibration_sha256=model.calibration_sha256,
        statistics={}
        if estimated is None
        else {**image_statistics(values, scaling), **_size_statistics(diameter_px, estimated)},
        image=image,
        seconds=time.perf_counter() - start,
        notes=notes,
    )


def _size_statistics(diameter_px: float, estimated: float) -> dict[str, float]:
    """Figures of the cell size that was counted with, and of its distance from the estimate."""
    return {"diameter_px": float(diameter_px), "diameter_ratio": diameter_px / estimated}


def infer(
    network: CountingNetwork, values: Tensor, *, device: torch.device, tile: int | None = None
) -> Generator[Progress, None, tuple[Maps, tuple[str, ...]]]:
    """Run a network over an image at model scale.

    When the memory does not suffice the tile is halved, and when the smallest one
    does not fit a GPU the CPU takes over.

    Parameters
    ----------
    network
        In evaluation mode; moved to ``device`` and left there.
    values
        ``(C, h, w)`` normalised, at model scale.
    device, tile
        Where, and with which side of a core.

    Returns
    -------
    maps
        Density and log-variance, ``(K, h/stride, w/stride)`` float32.
    notes
        Sentences about smaller tiles or another device.

    Raises
    ------
    OutOfMemoryError
        When nothing fits.
    """
    side = tile or best_tile(device)
    notes: list[str] = []
    while True:
        try:
            maps = yield from _infer_tiles(network, values, device, side)
            return maps, tuple(notes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if side > SMALLEST_TILE and network.halo is not None:
            side = max(SMALLEST_TILE, side // 2)
            note = f"The memory did not suffice: counted in smaller tiles of {side} px."
        elif device.type != "cpu":
            device, side = torch.device("cpu"), best_tile(torch.device("cpu"))
            note = "The memory of the GPU did not suffice: counted on the CPU."
        else:
            raise OutOfMemoryError(
                "the memory does not suffice even for the smallest tile; close other programs"
            )
        notes = [note]
        yield Progress(0, 0, note)


def _infer_tiles(
    network: CountingNetwork, values: Tensor, device: torch.device, side: int
) -> Generator[Progress, None, Maps]:
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    height, width = values.shape[1:]
    stride = network.stride
    whole = network.halo is None
    padded = values if whole else pad_with_margin(values, network.multiple)
    shape = (int(padded.shape[1]), int(padded.shape[2]))
    tiles = (
        [Tile((0, 0, *shape), (0, 0, *shape))]
        if network.halo is None
        else plan_tiles(shape, side, network.halo, network.multiple)
    )
    density: NDArray[np.float32] | None = None
    log_variance = np.empty(0, dtype=np.float32)
    # Inference mode and autocast are left at every yield: a generator must not
    # switch them for whoever drains it.
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(thumbnail(values)[None].to(device))
    for done, tile in enumerate(tiles, start=1):
        with torch.inference_mode(), autocast(device):
            output = network(_window(padded, tile.window).to(device), context)
            window_density, window_variance = (
                m[0].float().cpu().numpy() for m in (output.density, output.log_variance)
            )
        if density is None:
            maps = (window_density.shape[0], -(-shape[0] // stride), -(-shape[1] // stride))
            density, log_variance = np.empty(maps, np.float32), np.empty(maps, np.float32)
        # Rounded up: a whole image may end within a density cell.
        y0, x0, y1, x1 = (-(-edge // stride) for edge in tile.core)
        top, left = y0 - tile.window[0] // stride, x0 - tile.window[1] // stride
        kept = (slice(None), slice(y0, y1), slice(x0, x1))
        shown = (slice(None), slice(top, top + y1 - y0), slice(left, left + x1 - x0))
        density[kept], log_variance[kept] = window_density[shown], window_variance[shown]
        yield Progress(done, len(tiles), "counting")
    if density is None:
        raise ValueError("an image has at least one tile")
    first = 0 if whole else MARGIN // stride
    rows, columns = -(-height // stride), -(-width // stride)
    image = (slice(None), slice(first, first + rows), slice(first, first + columns))
    return density[image].copy(), log_variance[image].copy()


def _window(padded: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    """``(1, 3, h, w)`` of a window of the padded image."""
    y0, x0, y1, x1 = window
    piece = padded[:, y0:y1, x0:x1].expand(3, -1, -1)[None]
    return piece.contiguous(memory_format=torch.channels_last)

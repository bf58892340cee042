"""An image and a model → a ``Prediction``, tile by tile."""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celltally.devices import autocast, resolve_device
from celltally.model import Model
from celltally.network_input import (
    ScaledImage,
    as_batch,
    scaled_image,
    tiled_image,
    within_memory,
)
from celltally.networks import CountingNetwork, HasPieces, Output
from celltally.progress import drain
from celltally.scale import density_grid, thumbnail
from celltally.types import Prediction, Progress

__all__ = ["counting_note", "infer", "iter_predict", "predict", "resolve_device", "scaled_for"]

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
        What counts; an image unlike those that it learned from is counted by its base, if it
        has one (``Model.counting``), with that one's calibration.
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
    plane, counting = scaled_for(model, pixels, diameter_px)
    grid = density_grid(plane.image_shape, plane.shape, counting.network.stride)
    notes: tuple[str, ...] = ()
    if plane.values is None:
        # A constant image shows no cell, whatever a network makes of it.
        density = np.zeros((1, *grid.shape), dtype=np.float32)
        variance = density
    else:
        (density, log_variance), notes = yield from infer(
            counting.network, plane.values, device=target, tile=tile
        )
        variance = np.exp(log_variance)
    return Prediction(
        density=density,
        variance=variance,
        grid=grid,
        image_shape=plane.image_shape,
        diameter_px=plane.diameter_px,
        model=model.name,
        model_sha256=model.sha256,
        calibration=counting.calibration,
        calibration_sha256=counting.calibration_sha256,
        statistics=plane.statistics,
        appearance=plane.appearance,
        image=image,
        seconds=time.perf_counter() - start,
        notes=(*counting_note(model, counting), *notes),
    )


def scaled_for(
    model: Model, pixels: NDArray[np.generic], diameter_px: float | None
) -> tuple[ScaledImage, Model]:
    """Rescale a plane for the model that counts it, and say which one that is.

    Parameters
    ----------
    model
        The chosen one.
    pixels, diameter_px
        As of ``scaled_image``.

    Returns
    -------
    plane
        At the scale of
    counting
        the model itself or one of its bases, see ``Model.counting``.

    Raises
    ------
    UserError
        As ``scaled_image``.
    """
    plane = scaled_image(pixels, diameter_px, model.diameter_px)
    counting = model.counting(plane.appearance)
    if counting.diameter_px != model.diameter_px:
        plane = scaled_image(pixels, plane.diameter_px, counting.diameter_px)
    return plane, counting


def counting_note(model: Model, counting: Model) -> tuple[str, ...]:
    """Say that not the chosen model counts an image; nothing where it does."""
    if counting is model:
        return ()
    return (
        f"it was counted by {counting.name!r}, for it looks unlike the images that "
        f"{model.name!r} learned from",
    )


def infer(
    network: CountingNetwork, values: Tensor, *, device: torch.device, tile: int | None = None
) -> Generator[Progress, None, tuple[Maps, tuple[str, ...]]]:
    """Run a network over an image at model scale.

    When the memory does not suffice the tile is halved, and when the smallest one
    does not fit a GPU the CPU takes over; see ``within_memory`` for whole images.

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
    return within_memory(
        lambda where, side: _infer_tiles(network, values, where, side),
        device=device,
        tile=tile,
        whole=network.halo is None,
        done="counted",
        bytes_per_pixel=network.bytes_per_pixel,
        shape=(values.shape[1], values.shape[2]),
    )


def _infer_tiles(
    network: CountingNetwork, values: Tensor, device: torch.device, side: int
) -> Generator[Progress, None, Maps]:
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tiled = tiled_image(network, values, side)
    density: NDArray[np.float32] | None = None
    log_variance = np.empty(0, dtype=np.float32)
    # Inference mode and autocast are left at every yield: a generator must not
    # switch them for whoever drains it.
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(thumbnail(values)[None].to(device))
    for done, tile in enumerate(tiled.tiles, start=1):
        window = as_batch(tiled.window(tile)).to(device)
        output = yield from _look(network, window, context)
        with torch.inference_mode():
            window_density, window_variance = (
                m[0].float().cpu().numpy() for m in (output.density, output.log_variance)
            )
        if density is None:
            maps = (window_density.shape[0], *tiled.density_shape)
            density, log_variance = np.empty(maps, np.float32), np.empty(maps, np.float32)
        kept, shown = tiled.cells(tile)
        density[kept], log_variance[kept] = window_density[shown], window_variance[shown]
        yield Progress(done, len(tiled.tiles), "counting")
    if density is None:
        raise ValueError("an image has at least one tile")
    return density, log_variance


def _look(
    network: CountingNetwork, window: Tensor, context: Tensor | None
) -> Generator[Progress, None, Output]:
    """Say what a network says of a window; yields after its pieces, if it has some."""
    if not isinstance(network, HasPieces):
        with torch.inference_mode(), autocast(window.device):
            said: Output = network(window, context)
            return said
    pieces = network.iter_forward(window, context)
    while True:
        with torch.inference_mode(), autocast(window.device):
            try:
                step = next(pieces)
            except StopIteration as end:
                output: Output = end.value
                return output
        yield step

"""What in an image a count depends on: the gradient of the count with respect to the pixels.

The magnitude of the gradient of a network's output with respect to its input (Simonyan,
Vedaldi & Zisserman 2014, "Deep inside convolutional networks", §3), with the count as the
output, as Hernández et al. 2018 show it for counting networks.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celltally.devices import resolve_device
from celltally.model import Model
from celltally.network_input import as_batch, tiled_image, within_memory
from celltally.networks import CountingNetwork
from celltally.predict import counting_note, scaled_for
from celltally.progress import drain
from celltally.scale import density_grid, thumbnail
from celltally.types import Grid, Progress

__all__ = ["Saliency", "iter_saliency", "saliency"]

#: Peak memory per pixel of a tile, with what is remembered for the way back: 980 were
#: measured for `tally` and 2,740 for `csrnet`, in float32 on a CPU.
BYTES_PER_PIXEL = 2750
#: The same for each pixel of a whole image, in multiples of what counting needs there. Measured
#: were 4,100 bytes for `decoupled` (700 for counting), 150 for `patch_regression` with a
#: ResNet-10 (30) and 59 for `fpn_counter` (30).
WHOLE = 6


@dataclass(frozen=True, eq=False)
class Saliency:
    """How much the count of one image plane depends on each pixel.

    Attributes
    ----------
    values
        ``(h, w)`` float32 ≥ 0, |∂ count / ∂ pixel| at model scale, in cells per unit of
        normalised intensity (one unit is the range of the image's intensities).
    grid
        Where its cells lie on the image: one per model-scale pixel.
    count
        Integral of the density, never below zero, as ``predict`` gives it but for the
        precision of its arithmetic.
    model, model_sha256
        Name and identity of the model that was chosen to count.
    image
        Name of the image.
    diameter_px
        Cell diameter in image pixels that the image was rescaled by.
    notes
        Sentences that the user should read (smaller tiles, other device, …).
    """

    values: NDArray[np.float32]
    grid: Grid
    count: float
    model: str
    model_sha256: str
    image: str = ""
    diameter_px: float = float("nan")
    notes: tuple[str, ...] = ()


def saliency(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Saliency:
    """Say what the count of one image plane depends on; see ``iter_saliency``."""
    return drain(
        iter_saliency(model, pixels, diameter_px=diameter_px, device=device, tile=tile, image=image)
    )


def iter_saliency(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Generator[Progress, None, Saliency]:
    """Say what the count of one image plane depends on, yielding twice a tile.

    The count is that of ``predict``: the integral of the density, before it is kept from
    falling below zero. What is made once from the whole image is held fixed: the range of
    its intensities, its scale, and the global context from its thumbnail. A grey image is
    shown to the network as three equal channels, and the gradient is that with respect to
    the grey value; of an image in colour the largest magnitude of the three is taken.

    Gradients of the tiles' counts are added up, which is the gradient of their sum: tiled
    equals untiled. The model stays as it is; its network is copied.

    Parameters
    ----------
    model
        What counted; its base is explained where that one did (``Model.counting``).
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype. A constant image has zeros.
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
    target = resolve_device(device)
    plane, counting = scaled_for(model, pixels, diameter_px)
    values, count = np.zeros(plane.shape, dtype=np.float32), 0.0
    notes: tuple[str, ...] = ()
    if plane.values is not None:
        scaled, network = plane.values, _frozen(counting.network)
        whole = network.halo is None
        (gradient, count), notes = yield from within_memory(
            lambda where, side: _tile_by_tile(network, scaled, where, side),
            device=target,
            tile=tile,
            whole=whole,
            done="explained",
            bytes_per_pixel=WHOLE * network.bytes_per_pixel if whole else BYTES_PER_PIXEL,
            shape=plane.shape,
        )
        values = np.abs(gradient).max(axis=0)
    return Saliency(
        values=values,
        grid=density_grid(plane.image_shape, plane.shape, 1),
        count=count,
        model=model.name,
        model_sha256=model.sha256,
        image=image,
        diameter_px=plane.diameter_px,
        notes=(*counting_note(model, counting), *notes),
    )


def _tile_by_tile(
    network: CountingNetwork, values: Tensor, device: torch.device, side: int
) -> Generator[Progress, None, tuple[NDArray[np.float32], float]]:
    """Gradient ``(C, h, w)`` of the count with respect to the values, and the count."""
    with _recording(device):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        context = network.encode_context(thumbnail(values)[None].to(device))
    tiled = tiled_image(network, values, side)
    gradient = np.zeros(tuple(tiled.padded.shape), dtype=np.float32)
    counts = np.zeros(1)
    cells = [tiled.cells(tile)[1] for tile in tiled.tiles]
    # Not those of the margin alone.
    tiles = [
        (tile, own)
        for tile, own in zip(tiled.tiles, cells, strict=True)
        if all(axis.stop > axis.start for axis in own[1:])
    ]
    for done, (tile, own) in enumerate(tiles):
        # Torch is as it was at every yield: a generator must not switch it for others.
        with _recording(device):
            window = tiled.window(tile).to(device, copy=True).requires_grad_()
            density = network(as_batch(window), context).density[0][own]
        yield Progress(2 * done + 1, 2 * len(tiles), "explaining")
        with _recording(device):
            (slopes,) = torch.autograd.grad(density.sum(), window)
        y0, x0, y1, x1 = tile.window
        gradient[:, y0:y1, x0:x1] += slopes.cpu().numpy()
        counts = counts + density.detach().cpu().double().sum(dim=(1, 2)).numpy()
        del density  # and with it the way back
        yield Progress(2 * done + 2, 2 * len(tiles), "explaining")
    return tiled.cut(gradient), float(np.maximum(counts, 0.0).sum())


def _frozen(network: CountingNetwork) -> CountingNetwork:
    """Copy a network, so that whoever else uses it finds it as it was.

    Without gradients of its own it also remembers less on the way forth.
    """
    with torch.inference_mode(False):
        return copy.deepcopy(network).requires_grad_(False)


@contextmanager
def _recording(device: torch.device) -> Iterator[None]:
    """Record the way back, in float32, in whatever mode torch is."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        yield

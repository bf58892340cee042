"""How similar each place of an image is to each prototype, and what follows from it.

The density of a network with prototypes is a weighted sum of these similarities and a
bias, with nothing behind it (CountXplain, MIDL 2025), so that they are not a story about
the count but its computation.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celltally.density.regions import RegionSums
from celltally.devices import autocast, resolve_device
from celltally.errors import UserError
from celltally.model import Model
from celltally.network_input import (
    ScaledImage,
    TiledImage,
    as_batch,
    tiled_image,
    within_memory,
)
from celltally.networks import HasPrototypes
from celltally.predict import scaled_for
from celltally.progress import drain
from celltally.scale import density_grid, thumbnail
from celltally.types import Grid, Progress

__all__ = [
    "Cells",
    "Similarities",
    "Window",
    "check_prototypes",
    "compare_tiles",
    "iter_similarities",
    "similarities",
]

#: Megabytes of similarities that are held at once.
MOST_MEGABYTES = 1024

#: ``(y0, x0, y1, x1)`` in image pixels.
Window = tuple[float, float, float, float]
#: Rows and columns of a density: ``(i0, j0, i1, j1)``.
Cells = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Similarities:
    """Similarities of the places of an image, or of a window of it, to prototypes.

    Attributes
    ----------
    values
        ``(K, h, w)`` float32, ≥ 0: log((d + 1) / (d + ε)) of the squared distance d.
    prototypes
        Numbers of the K prototypes in the model, from 0.
    kinds
        ``cell`` or ``background`` for each.
    weights
        ``(K,)`` weights in the density (of the first class).
    bias
        The density's.
    grid
        Where the places lie on the image: as the density's cells; of a window its own.
    diameter_px
        Cell diameter in image pixels that the image was rescaled by.
    complete
        Whether all prototypes of the model are there, so that contributions add up to the
        density.
    model, model_sha256, image
        Names of the chosen model and of the image, and the model's identity.
    """

    values: NDArray[np.float32]
    prototypes: tuple[int, ...]
    kinds: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: float
    grid: Grid
    diameter_px: float
    complete: bool
    model: str
    model_sha256: str
    image: str = ""

    @property
    def contributions(self) -> NDArray[np.float32]:
        """``(K, h, w)``: weight × similarity, cells per density cell."""
        return self.values * self.weights[:, None, None]

    def at(self, yx: ArrayLike) -> NDArray[np.float64]:
        """Contributions of each prototype to the density at a place, ``(K,)``.

        Parameters
        ----------
        yx
            Image coordinates of the place.

        Raises
        ------
        UserError
            For a place outside the image, or the window.
        """
        cell = np.floor(self.grid.to_cells(yx)[0]).astype(int)
        if (cell < 0).any() or (cell >= self.grid.shape).any():
            y, x = np.asarray(yx, dtype=float).ravel()
            raise UserError(
                f"the place y = {y:g}, x = {x:g} lies outside the image, or the part of it that "
                "was compared; choose another"
            )
        found: NDArray[np.float64] = (
            self.values[:, cell[0], cell[1]].astype(np.float64) * self.weights
        )
        return found

    def over(self, region: ArrayLike) -> tuple[NDArray[np.float64], float]:
        """Contributions to the count in a polygon.

        Parameters
        ----------
        region
            ``(n, 2)`` corners (y, x) in image pixels. What lies beyond the window, where
            there is one, counts for nothing.

        Returns
        -------
        contributions
            ``(K,)`` cells.
        bias
            What the bias adds, in cells; with the contributions of all prototypes it is
            the region's count.
        """
        *sums, area = self._sums.over(region)
        return np.array(sums) * self.weights, float(area * self.bias)

    def prepare(self) -> None:
        """Do at once what the first region would have to wait for."""
        self._sums.prepare()

    @cached_property
    def _sums(self) -> RegionSums:
        """Of the similarities, and of the area in cells."""
        return RegionSums([*self.values, np.ones(self.grid.shape, np.float32)], self.grid)


def similarities(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    prototypes: Sequence[int] | None = None,
    window: Window | None = None,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Similarities:
    """Compare an image with prototypes; see ``iter_similarities``."""
    return drain(
        iter_similarities(
            model, pixels, prototypes=prototypes, window=window, diameter_px=diameter_px,
            device=device, tile=tile, image=image,
        )
    )  # fmt: skip


def iter_similarities(
    model: Model,
    pixels: NDArray[np.generic] | ScaledImage,
    *,
    prototypes: Sequence[int] | None = None,
    window: Window | None = None,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Generator[Progress, None, Similarities]:
    """Compare the places of an image plane with prototypes, yielding after every tile.

    The image is cut into the same tiles as by ``predict``, so that with all prototypes the
    contributions and the bias are the density that it gives. Of a window only the tiles that
    touch it are run; intensities, scale and global context are those of the whole image, so
    that with the same ``tile`` its similarities are those of the whole image to the last bit.

    Parameters
    ----------
    model
        One whose network has prototypes; those of its base are compared where that one counts
        the image (``Model.counting``).
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype; or the ``ScaledImage`` that
        ``scaled_for`` made of them, where several windows of an image are asked for. An image
        that shows nothing is given to no network: similarities and bias are zero, as its
        density is.
    prototypes
        Numbers of those that are asked for; None for all.
    window
        ``(y0, x0, y1, x1)`` in image pixels: the part of the image that is asked for, and
        what the density cells at its borders cover beyond it; None for the whole image.
    diameter_px
        Cell diameter in pixels; None to estimate it from the image.
    device, tile
        See ``iter_predict``.
    image
        Name of the image.

    Raises
    ------
    UserError
        For a model without prototypes, numbers that it does not have, a window that holds
        nothing of the image, maps that would not fit into the memory, and as
        ``iter_predict``.
    """
    target = resolve_device(device)
    if isinstance(pixels, ScaledImage):
        plane, counting = pixels, model.counting(pixels.appearance)
    else:
        plane, counting = scaled_for(model, pixels, diameter_px)
    network = check_prototypes(counting)
    kinds = network.prototype_kinds
    chosen = tuple(range(len(kinds))) if prototypes is None else tuple(prototypes)
    if wrong := [k for k in chosen if not 0 <= k < len(kinds)]:
        raise UserError(
            f"the model {counting.name!r} has no prototype {wrong[0]}; they are numbered from 0 to "
            f"{len(kinds) - 1}"
        )
    whole = density_grid(plane.image_shape, plane.shape, network.stride)
    cells = (0, 0, *whole.shape) if window is None else _cells_of(window, whole)
    shape = (cells[2] - cells[0], cells[3] - cells[1])
    megabytes = 4 * len(chosen) * shape[0] * shape[1] / 1e6
    if megabytes > MOST_MEGABYTES:
        raise UserError(
            f"the similarities of {len(chosen)} prototypes to this image take {megabytes:,.0f} MB, "
            f"more than {MOST_MEGABYTES:,}; ask for fewer prototypes or a smaller window at once"
        )
    values = np.zeros((len(chosen), *shape), dtype=np.float32)
    if plane.values is not None:
        scaled = plane.values
        values, _ = yield from within_memory(
            lambda where, side: _maps(network, scaled, chosen, cells, where, side),
            device=target,
            tile=tile,
            whole=network.halo is None,
            done="explained",
            bytes_per_pixel=network.bytes_per_pixel,
        )
    weight, bias = (t.detach().cpu().float().numpy() for t in network.contribution_weights)
    origin = whole.to_image(cells[:2])[0]
    return Similarities(
        values=values,
        prototypes=chosen,
        kinds=tuple(kinds[k] for k in chosen),
        weights=weight[0, list(chosen)],
        bias=0.0 if plane.values is None else float(bias[0]),
        grid=replace(whole, shape=shape, origin=(float(origin[0]), float(origin[1]))),
        diameter_px=plane.diameter_px,
        complete=sorted(chosen) == list(range(len(kinds))),
        model=model.name,
        model_sha256=model.sha256,
        image=image,
    )


def check_prototypes(model: Model) -> HasPrototypes:
    """Return the network of a model that has prototypes.

    Raises
    ------
    UserError
        For any other model.
    """
    if isinstance(model.network, HasPrototypes):
        return model.network
    raise UserError(
        f"the model {model.name!r} has no prototypes, so there is nothing to compare the image "
        "with; take a model of 'tally' or 'countxplain'"
    )


def compare_tiles(
    network: HasPrototypes,
    values: Tensor,
    chosen: Sequence[int],
    device: torch.device,
    side: int,
    cells: Cells | None = None,
) -> Iterator[tuple[Cells, NDArray[np.float32], Progress]]:
    """Compare a scaled image with prototypes, tile by tile.

    Parameters
    ----------
    network
        Moved to ``device`` and left there.
    values
        ``(C, h, w)`` normalised, at model scale.
    chosen
        Numbers of the prototypes.
    device, side
        Where, and with which largest side of a tile.
    cells
        Leave out the tiles that hold none of these density cells; None for none.

    Yields
    ------
    cells
        Density cells that a tile is for; those of all tiles cover the image once.
    similarities
        ``(K, h, w)`` of these cells.
    progress
        How many tiles are done.
    """
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tiled = tiled_image(network, values, side)
    own = [_tile_cells(tiled, number) for number in range(len(tiled.tiles))]
    asked = [n for n, part in enumerate(own) if _overlap(part, cells or part) is not None]
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(thumbnail(values)[None].to(device))
    for done, number in enumerate(asked, start=1):
        tile = tiled.tiles[number]
        # Inference mode is left at every yield: a generator must not switch it for others.
        with torch.inference_mode(), autocast(device):
            features = network.features(as_batch(tiled.window(tile)).to(device), context)
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            distances = network.distances(features.float())[:, list(chosen)]
            shown = tiled.cells(tile)[1]
            found = network.similarities(distances)[0][shown].cpu().numpy()
        yield own[number], found, Progress(done, len(asked), "explaining")


def _maps(
    network: HasPrototypes,
    values: Tensor,
    chosen: Sequence[int],
    cells: Cells,
    device: torch.device,
    side: int,
) -> Generator[Progress, None, NDArray[np.float32]]:
    """``(K, h, w)`` similarities of some density cells to the chosen prototypes."""
    i0, j0, i1, j1 = cells
    found = np.empty((len(chosen), i1 - i0, j1 - j0), dtype=np.float32)
    for own, part, step in compare_tiles(network, values, chosen, device, side, cells):
        top, left, bottom, right = _overlap(own, cells) or own
        found[:, top - i0 : bottom - i0, left - j0 : right - j0] = part[
            :, top - own[0] : bottom - own[0], left - own[1] : right - own[1]
        ]
        yield step
    return found


def _cells_of(window: Window, grid: Grid) -> Cells:
    """Density cells that a window touches."""
    y0, x0, y1, x1 = window
    low, high = grid.to_cells([(y0, x0), (y1, x1)])
    low, high = np.maximum(np.floor(low), 0), np.minimum(np.ceil(high), grid.shape)
    if not (y0 < y1 and x0 < x1 and (low < high).all()):
        raise UserError(
            f"the window from y = {y0:g}, x = {x0:g} to y = {y1:g}, x = {x1:g} holds nothing of "
            "the image; choose another"
        )
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _tile_cells(tiled: TiledImage, number: int) -> Cells:
    _, rows, columns = tiled.cells(tiled.tiles[number])[0]
    return rows.start, columns.start, rows.stop, columns.stop


def _overlap(one: Cells, other: Cells) -> Cells | None:
    """Cells that are in both; None where there are none."""
    low = max(one[0], other[0]), max(one[1], other[1])
    high = min(one[2], other[2]), min(one[3], other[3])
    return (*low, *high) if low[0] < high[0] and low[1] < high[1] else None

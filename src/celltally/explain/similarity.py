"""How similar each place of an image is to each prototype, and what follows from it.

The density of a network with prototypes is a weighted sum of these similarities and a
bias, with nothing behind it (CountXplain, MIDL 2025), so that they are not a story about
the count but its computation.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celltally.density.regions import RegionSums
from celltally.devices import autocast, resolve_device
from celltally.errors import UserError
from celltally.model import Model
from celltally.networks import HasPrototypes
from celltally.progress import drain
from celltally.scale import density_grid, thumbnail
from celltally.shown import as_batch, scaled_image, tiled_image, within_memory
from celltally.types import Grid, Progress

__all__ = ["Similarities", "iter_similarities", "similarities"]

#: Megabytes of similarities that are held at once.
MOST_MEGABYTES = 1024


@dataclass(frozen=True, eq=False)
class Similarities:
    """Similarities of an image's places to prototypes.

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
        Where the places lie on the image: as the density's cells.
    diameter_px
        Cell diameter in image pixels that the image was rescaled by.
    complete
        Whether all prototypes of the model are there, so that contributions add up to the
        density.
    model, model_sha256, image
        Names of the model and of the image, and the model's identity.
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
            For a place outside the image.
        """
        cell = np.floor(self.grid.to_cells(yx)[0]).astype(int)
        if (cell < 0).any() or (cell >= self.grid.shape).any():
            y, x = np.asarray(yx, dtype=float).ravel()
            raise UserError(
                f"the place y = {y:g}, x = {x:g} lies outside the image; choose another"
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
            ``(n, 2)`` corners (y, x) in image pixels.

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

    @cached_property
    def _sums(self) -> RegionSums:
        """Of the similarities, and of the area in cells."""
        area = np.ones((1, *self.grid.shape), np.float32)
        return RegionSums(np.concatenate([self.values, area]), self.grid)


def similarities(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    prototypes: Sequence[int] | None = None,
    diameter_px: float | None = None,
    device: str = "auto",
    image: str = "",
) -> Similarities:
    """Compare an image with prototypes; see ``iter_similarities``."""
    return drain(
        iter_similarities(
            model, pixels, prototypes=prototypes, diameter_px=diameter_px, device=device,
            image=image,
        )
    )  # fmt: skip


def iter_similarities(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    prototypes: Sequence[int] | None = None,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Generator[Progress, None, Similarities]:
    """Compare every place of an image plane with prototypes, yielding after every tile.

    The image is cut into the same tiles as by ``predict``, so that with all prototypes the
    contributions and the bias are the density that it gives.

    Parameters
    ----------
    model
        One whose network has prototypes.
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype. An image that shows nothing is given
        to no network: similarities and bias are zero, as its density is.
    prototypes
        Numbers of those that are asked for; None for all.
    diameter_px
        Cell diameter in pixels; None to estimate it from the image.
    device, tile
        See ``iter_predict``.
    image
        Name of the image.

    Raises
    ------
    UserError
        For a model without prototypes, numbers that it does not have, maps that would not
        fit into the memory, and as ``iter_predict``.
    """
    network = model.network
    if not isinstance(network, HasPrototypes):
        raise UserError(
            f"the model {model.name!r} has no prototypes, so there is nothing to compare the image "
            "with; take a model of 'tally' or 'countxplain'"
        )
    kinds = network.prototype_kinds
    chosen = tuple(range(len(kinds))) if prototypes is None else tuple(prototypes)
    if wrong := [k for k in chosen if not 0 <= k < len(kinds)]:
        raise UserError(
            f"the model {model.name!r} has no prototype {wrong[0]}; they are numbered from 0 to "
            f"{len(kinds) - 1}"
        )
    target = resolve_device(device)
    plane = scaled_image(pixels, diameter_px, model.diameter_px)
    grid = density_grid(plane.image_shape, plane.shape, network.stride)
    megabytes = 4 * len(chosen) * grid.shape[0] * grid.shape[1] / 1e6
    if megabytes > MOST_MEGABYTES:
        raise UserError(
            f"the similarities of {len(chosen)} prototypes to this image take {megabytes:,.0f} MB, "
            f"more than {MOST_MEGABYTES:,}; ask for fewer prototypes at once"
        )
    values = np.zeros((len(chosen), *grid.shape), dtype=np.float32)
    if plane.values is not None:
        scaled = plane.values
        values, _ = yield from within_memory(
            lambda where, side: _tile_by_tile(network, scaled, chosen, where, side),
            device=target,
            tile=tile,
            whole=network.halo is None,
            done="explained",
        )
    weight, bias = (t.detach().cpu().float().numpy() for t in network.contribution_weights)
    return Similarities(
        values=values,
        prototypes=chosen,
        kinds=tuple(kinds[k] for k in chosen),
        weights=weight[0, list(chosen)],
        bias=0.0 if plane.values is None else float(bias[0]),
        grid=grid,
        diameter_px=plane.diameter_px,
        complete=sorted(chosen) == list(range(len(kinds))),
        model=model.name,
        model_sha256=model.sha256,
        image=image,
    )


def _tile_by_tile(
    network: HasPrototypes, values: Tensor, chosen: Sequence[int], device: torch.device, side: int
) -> Generator[Progress, None, NDArray[np.float32]]:
    """``(K, h, w)`` similarities to the chosen prototypes."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tiled = tiled_image(network, values, side)
    found = np.empty((len(chosen), *tiled.density_shape), dtype=np.float32)
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(thumbnail(values)[None].to(device))
    for done, tile in enumerate(tiled.tiles, start=1):
        with torch.inference_mode(), autocast(device):
            features = network.features(as_batch(tiled.window(tile)).to(device), context)
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            distances = network.distances(features.float())[:, list(chosen)]
            kept, shown = tiled.cells(tile)
            found[kept] = network.similarities(distances)[0][shown].cpu().numpy()
        yield Progress(done, len(tiled.tiles), "explaining")
    return found

"""All that the prototypes say of an image, in one run over its tiles."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celltally.devices import resolve_device
from celltally.errors import UserError
from celltally.explain.boxes import FLOOR, PERCENTILE, Box, boxes_of
from celltally.explain.contributions import Contributions
from celltally.explain.gallery import PATCHES, Patch, patch_picture
from celltally.explain.greatest import Greatest
from celltally.explain.similarity import Similarities, check_prototypes, compare_tiles
from celltally.model import Model
from celltally.network_input import ScaledImage, within_memory
from celltally.networks import HasPrototypes
from celltally.predict import counting_note, scaled_for
from celltally.progress import drain
from celltally.scale import density_grid
from celltally.types import Grid, Progress

__all__ = ["Overview", "iter_overview", "overview"]

Place = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Overview:
    """What the prototypes of a model say of one image plane.

    Attributes
    ----------
    contributions
        Of each prototype to the count of the whole image.
    bias
        The bias of one density cell.
    at
        Contributions to the density at each place that was asked for.
    boxes
        Places that are most like a prototype, the most similar first; see ``find_boxes``.
    patches
        For each prototype the patches of the image that are most like it, best first; none
        where the image shows nothing.
    found
        The similarities themselves, where they were small enough to be kept.
    grid
        Where the density's cells lie on the image.
    diameter_px
        Cell diameter in image pixels that the image was rescaled by.
    model, model_sha256, image
        Names of the chosen model and of the image, and the model's identity.
    appearance
        What the image looks like: ``Model.counting`` gives with it the model whose prototypes
        these are.
    notes
        Sentences that the user should read (smaller tiles, other device, …).
    """

    contributions: Contributions
    bias: float
    at: tuple[Contributions, ...]
    boxes: tuple[Box, ...]
    patches: tuple[tuple[Patch, ...], ...]
    found: Similarities | None
    grid: Grid
    diameter_px: float
    model: str
    model_sha256: str
    image: str = ""
    appearance: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def overview(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    places: Sequence[Place] = (),
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Overview:
    """Explain one image plane; see ``iter_overview``."""
    return drain(
        iter_overview(
            model, pixels, places=places, diameter_px=diameter_px, device=device, tile=tile,
            image=image,
        )
    )  # fmt: skip


def iter_overview(
    model: Model,
    pixels: NDArray[np.generic] | ScaledImage,
    *,
    places: Sequence[Place] = (),
    keep_megabytes: float = 0.0,
    diameter_px: float | None = None,
    device: str = "auto",
    tile: int | None = None,
    image: str = "",
) -> Generator[Progress, None, Overview]:
    """Explain one image plane, yielding after every tile and every prototype.

    The image is cut into the same tiles as by ``predict``. Each tile is compared once with
    all prototypes, and then let go of: of every similarity map only its sum and the values
    from its 99th percentile on are kept, which is exact (no histogram; see ``Greatest``). With
    32 prototypes that takes the memory of about two such maps, and those of one tile.

    Parameters
    ----------
    model
        One whose network has prototypes; those of its base are explained where that one counts
        the image (``Model.counting``).
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype; or the ``ScaledImage`` that
        ``scaled_for`` made of them.
        An image that shows nothing is like nothing: it has no boxes, no patches, and all
        contributions are zero, as its count is.
    places
        ``(y, x)`` in image pixels whose contributions are asked for.
    keep_megabytes
        Keep all similarity maps where they take no more than this.
    diameter_px
        Cell diameter in pixels; None to estimate it from the image.
    device, tile
        See ``iter_predict``.
    image
        Name of the image.

    Raises
    ------
    UserError
        For a model without prototypes, a place outside the image, and as ``iter_predict``.
    """
    target = resolve_device(device)
    if isinstance(pixels, ScaledImage):
        plane, counting = pixels, model.counting(pixels.appearance)
    else:
        plane, counting = scaled_for(model, pixels, diameter_px)
    network = check_prototypes(counting)
    grid = density_grid(plane.image_shape, plane.shape, network.stride)
    kinds = network.prototype_kinds
    cells = [_cell(place, grid, plane.image_shape) for place in places]
    keep = 4e-6 * len(kinds) * grid.shape[0] * grid.shape[1] <= keep_megabytes
    notes: tuple[str, ...] = ()
    seen = _Seen(len(kinds), grid.shape, cells, keep=keep)
    if plane.values is not None:
        scaled = plane.values
        seen, notes = yield from within_memory(
            lambda where, side: _look(
                network, scaled, _Seen(len(kinds), grid.shape, cells, keep=keep), where, side
            ),
            device=target,
            tile=tile,
            whole=network.halo is None,
            done="explained",
            bytes_per_pixel=network.bytes_per_pixel,
        )
    weight, bias = (t.detach().cpu().float().numpy() for t in network.contribution_weights)
    numbers, weights = tuple(range(len(kinds))), weight[0]
    one = 0.0 if plane.values is None else float(bias[0])

    def parts(sums: NDArray[np.float64], area: int) -> Contributions:
        return Contributions(numbers, kinds, weights, sums * weights, area * one)

    boxes: list[Box] = []
    patches: list[tuple[Patch, ...]] = [()] * len(kinds)
    if plane.values is not None:
        floor = FLOOR * float(network.similarities(torch.zeros(1, 1, 1, 1)))
        for k, top in enumerate(seen.tops):
            boxes += boxes_of(top, floor, k, kinds[k], grid)
            patches[k] = _patches(top, plane, grid, network.stride, counting.diameter_px)
            yield Progress(k + 1, len(kinds), "drawing boxes")
    found = None
    if seen.maps is not None:
        found = Similarities(
            values=seen.maps,
            prototypes=numbers,
            kinds=kinds,
            weights=weights,
            bias=one,
            grid=grid,
            diameter_px=plane.diameter_px,
            complete=True,
            model=model.name,
            model_sha256=model.sha256,
            image=image,
        )
    return Overview(
        contributions=parts(seen.sums, grid.shape[0] * grid.shape[1]),
        bias=one,
        at=tuple(parts(there, 1) for there in seen.there.T),
        boxes=tuple(sorted(boxes, key=lambda box: -box.similarity)),
        patches=tuple(patches),
        found=found,
        grid=grid,
        diameter_px=plane.diameter_px,
        model=model.name,
        model_sha256=model.sha256,
        image=image,
        appearance=plane.appearance,
        notes=(*counting_note(model, counting), *notes),
    )


class _Seen:
    """What is kept of the similarity maps while tile after tile is looked at."""

    def __init__(
        self, number: int, shape: tuple[int, int], cells: Sequence[tuple[int, int]], *, keep: bool
    ) -> None:
        self.cells = cells
        self.sums = np.zeros(number)
        self.there = np.zeros((number, len(cells)))
        self.tops = [Greatest(shape, PERCENTILE) for _ in range(number)]
        self.maps = np.zeros((number, *shape), dtype=np.float32) if keep else None

    def add(self, own: tuple[int, int, int, int], part: NDArray[np.float32]) -> None:
        """Take in the ``(K, h, w)`` similarities of some density cells."""
        i0, j0, i1, j1 = own
        self.sums += part.sum(axis=(1, 2), dtype=np.float64)
        for n, (i, j) in enumerate(self.cells):
            if i0 <= i < i1 and j0 <= j < j1:
                self.there[:, n] = part[:, i - i0, j - j0]
        for top, values in zip(self.tops, part, strict=True):
            top.add(values, i0, j0)
        if self.maps is not None:
            self.maps[:, i0:i1, j0:j1] = part


def _look(
    network: HasPrototypes, values: Tensor, seen: _Seen, device: torch.device, side: int
) -> Generator[Progress, None, _Seen]:
    chosen = range(len(seen.tops))
    for own, part, step in compare_tiles(network, values, chosen, device, side):
        seen.add(own, part)
        yield step
    return seen


def _cell(place: Place, grid: Grid, image_shape: tuple[int, int]) -> tuple[int, int]:
    """Density cell of a place in the image."""
    y, x = place
    if not (-0.5 <= y < image_shape[0] - 0.5 and -0.5 <= x < image_shape[1] - 0.5):
        raise UserError(
            f"the place y = {y:g}, x = {x:g} lies outside the image of "
            f"{image_shape[1]} × {image_shape[0]} px; choose another"
        )
    i, j = np.minimum(np.floor(grid.to_cells(place)[0]).astype(int), np.array(grid.shape) - 1)
    return int(i), int(j)


def _patches(
    top: Greatest, plane: ScaledImage, grid: Grid, stride: int, nominal_px: float
) -> tuple[Patch, ...]:
    """Patches of the image that are most like a prototype, a cell diameter apart at least."""
    if plane.values is None:
        return ()
    patches = []
    for cell, similarity in top.best(PATCHES, nominal_px / stride):
        y, x = grid.to_image(np.array(cell) + 0.5)[0]
        picture = patch_picture(plane.values, cell, stride, nominal_px)
        patches.append(Patch(picture, "", float(y), float(x), similarity))
    return tuple(patches)

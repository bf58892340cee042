"""What the prototypes look like in what a person reviewed, and in the replay."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import imageio.v3 as iio
import torch
from scipy.ndimage import maximum_filter
from torch import Tensor

from celltally.explain.gallery import PATCHES, patch_picture
from celltally.learn.gallery import Gallery
from celltally.learn.push import CLEARANCE
from celltally.learn.regions.refit import window_similarities
from celltally.learn.regions.windows import Window
from celltally.networks import HasPrototypes
from celltally.record import PatchRecord, PrototypeRecord
from celltally.types import Progress

__all__ = ["iter_region_gallery", "known_places"]

#: A density cell in which a known dot lies has at least this density, in units of a peak's;
#: background has none at all.
PEAK, NOTHING = 0.3, 1e-4
#: Where a network counts fewer cells than this, the highest ripple of its density is none.
LEAST = 0.5


def iter_region_gallery(
    network: HasPrototypes, windows: Sequence[Window], *, nominal_px: float, device: torch.device
) -> Generator[Progress, None, Gallery]:
    """Find the patches most similar to each prototype, of different windows as far as there are.

    Pictures of all of them may be shown: a replay holds nothing else, and regions are the
    user's own.

    Parameters
    ----------
    network
        With prototypes.
    windows
        With dots, of regions and of the replay.
    nominal_px
        Cell diameter at model scale.
    device
        Where the network runs.
    """
    network.eval().to(device)
    kinds = network.prototype_kinds
    found: list[list[tuple[float, Window, tuple[int, int]]]] = [[] for _ in kinds]
    for done, window in enumerate(windows, start=1):
        similarities = window_similarities(network, window, device)[0]
        places = dict(
            zip(("cell", "background"), known_places(window, network.stride), strict=True)
        )
        for k, kind in enumerate(kinds):
            there = places[kind]
            if there.any():
                flat = torch.where(there, similarities[k], -torch.inf).flatten()
                at = int(flat.argmax())
                found[k].append((float(flat[at]), window, divmod(at, there.shape[1])))
        yield Progress(done, len(windows), "finding the prototypes' pictures")
    pictures: dict[str, bytes] = {}
    records = []
    for k, (kind, candidates) in enumerate(zip(kinds, found, strict=True)):
        patches = []
        best = sorted(candidates, key=lambda one: -one[0])[:PATCHES]
        for rank, (similarity, window, cell) in enumerate(best):
            name = f"{k:02d}-{kind}-{rank}.png"
            picture = patch_picture(window.values, cell, network.stride, nominal_px)
            pictures[name] = iio.imwrite("<bytes>", picture, extension=".png")
            patches.append(_record(window, cell, network.stride, similarity, name))
        records.append(PrototypeRecord(kind=kind, patches=tuple(patches)))
    return Gallery(tuple(records), pictures)


def known_places(window: Window, stride: int) -> tuple[Tensor, Tensor]:
    """Density cells ``(h, w)`` that hold a known dot, and known ones that no dot reaches."""
    target, known = window.target[0], window.weight[0] > 0
    top = torch.from_numpy(maximum_filter(target.numpy(), 3))
    peak = float(target.max().clamp_min(NOTHING))
    cells = known & (target == top) & (target > PEAK * peak)
    if window.cells < LEAST:
        cells = torch.zeros_like(cells)
    size = 2 * (CLEARANCE // stride) + 1
    reached = torch.from_numpy(maximum_filter((target > NOTHING).numpy(), size))
    return cells, known & ~reached


def _record(
    window: Window, cell: tuple[int, int], stride: int, similarity: float, name: str
) -> PatchRecord:
    source = window.source
    y, x = ((c + 0.5) * stride - 0.5 for c in cell)
    if source is not None and source.image:
        y, x = source.to_image(y, x)
    return PatchRecord(
        dataset="" if source is None else source.dataset,
        image="" if source is None else source.image,
        y=round(y, 2),
        x=round(x, 2),
        similarity=round(similarity, 4),
        png=name,
    )

"""What the prototypes look like: the patches of training images that are nearest to each."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import imageio.v3 as imageio
import numpy as np
import torch

from celltally.explain.gallery import PATCHES, patch_picture
from celltally.learn.prepare import PreparedImage
from celltally.learn.push import Find, iter_search
from celltally.networks import HasPrototypes
from celltally.record import PatchRecord, PrototypeRecord
from celltally.types import Progress

__all__ = ["Gallery", "iter_gallery"]


@dataclass(frozen=True)
class Gallery:
    """Prototype records and the pictures that they name."""

    prototypes: tuple[PrototypeRecord, ...]
    pictures: Mapping[str, bytes]


def iter_gallery(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    *,
    nominal_px: float,
    cc0: frozenset[str],
    device: torch.device,
) -> Generator[Progress, None, Gallery]:
    """Find the patches most similar to each prototype, of different images.

    Parameters
    ----------
    network
        Its prototypes have been projected.
    images
        Training images with dots.
    nominal_px
        Cell diameter at model scale.
    cc0
        Names of the data sets whose pixels may be shown.
    device
        Where the network runs.
    """
    search = yield from iter_search(
        network, images, 1, nominal_px=nominal_px, device=device, message="looking for patches"
    )
    pictures: dict[str, bytes] = {}
    records = []
    for k, (kind, found) in enumerate(zip(network.prototype_kinds, search.finds, strict=True)):
        patches = []
        for rank, find in enumerate(found[:PATCHES]):
            name = f"{k:02d}-{kind}-{rank}.png" if find.image.dataset in cc0 else None
            if name is not None:
                pictures[name] = _picture(find, network.stride, nominal_px)
            similarity = network.similarities(torch.tensor([[[[find.distance]]]]))
            y, x = find.image.grid(network.stride).to_image(np.array(find.cell) + 0.5)[0]
            patches.append(
                PatchRecord(
                    dataset=find.image.dataset,
                    image=find.image.sample.image.name,
                    y=round(float(y), 2),
                    x=round(float(x), 2),
                    similarity=round(float(similarity), 4),
                    png=name,
                )
            )
        records.append(PrototypeRecord(kind=kind, patches=tuple(patches)))
    return Gallery(tuple(records), pictures)


def _picture(find: Find, stride: int, nominal_px: float) -> bytes:
    pixels = patch_picture(find.image.values, find.cell, stride, nominal_px)
    return imageio.imwrite("<bytes>", pixels, extension=".png")

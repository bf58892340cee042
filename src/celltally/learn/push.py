"""Projection ("push"): every prototype is put onto a real training patch.

ProtoPNet (Chen et al. 2019, §2.2, stage 2), as CountXplain (MIDL 2025) uses it:
afterwards a prototype *is* the feature of one place in one training image, so
showing that patch shows what the network compares with.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from torch import Tensor
from torch.nn import functional

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.learn.features import image_features, model_grid
from celltally.learn.prepare import PreparedImage
from celltally.networks import HasPrototypes
from celltally.record import PatchRecord, PrototypeRecord
from celltally.types import Progress

__all__ = ["Gallery", "iter_project"]

#: Images per data set that are searched.
IMAGES_PER_SET = 20
#: Training patches shown per prototype.
PATCHES = 3
#: Side of a patch in cell diameters, and of its picture in pixels.
PATCH_DIAMETERS, PICTURE = 4.0, 96


@dataclass(frozen=True)
class Gallery:
    """Prototype records and the pictures that they name."""

    prototypes: tuple[PrototypeRecord, ...]
    pictures: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class _Find:
    """The place of an image that is nearest to a prototype."""

    distance: float
    feature: Tensor
    image: PreparedImage
    cell: tuple[int, int]

    @property
    def place(self) -> tuple[Path, tuple[int, int]]:
        """What no two prototypes share, as far as there are places."""
        return self.image.sample.image, self.cell


def iter_project(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    *,
    nominal_px: float,
    cc0: frozenset[str],
    device: torch.device,
) -> Generator[Progress, None, Gallery]:
    """Project all prototypes in place, then find the patches most similar to each.

    Cell prototypes are sought at dots, background prototypes where the true density
    is zero. No place is used twice, as far as there are enough.

    Parameters
    ----------
    network
        Changed in place.
    images
        Training images with dots.
    nominal_px
        Cell diameter at model scale.
    cc0
        Names of the data sets whose pixels may be shown.
    device
        Where the network runs.
    """
    chosen = _choose(images)
    network.eval().to(device)
    # As many places of each image as a group has prototypes: enough for one each.
    each = len(network.prototype_kinds) // 2
    finds = yield from _search(network, chosen, nominal_px, device, each, "projecting prototypes")
    taken: set[tuple[Path, tuple[int, int]]] = set()
    vectors = network.prototypes.detach().clone()
    for k, candidates in enumerate(finds):
        free = (f for f in candidates if f.place not in taken)
        # With fewer places than prototypes some share one.
        if find := next(free, candidates[0] if candidates else None):
            taken.add(find.place)
            vectors[k] = find.feature
    network.set_prototypes(vectors)
    finds = yield from _search(network, chosen, nominal_px, device, 1, "looking for patches")
    return _gallery(network, finds, nominal_px, cc0)


def _choose(images: Sequence[PreparedImage]) -> list[PreparedImage]:
    """At most ``IMAGES_PER_SET`` evenly spread images of every set with dots."""
    sets: dict[str, list[PreparedImage]] = {}
    for image in images:
        if image.yx is not None:
            sets.setdefault(image.dataset, []).append(image)
    return [
        members[i]
        for members in sets.values()
        for i in np.unique(np.linspace(0, len(members) - 1, IMAGES_PER_SET).round().astype(int))
    ]


def _search(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    nominal_px: float,
    device: torch.device,
    each: int,
    message: str,
) -> Generator[Progress, None, list[list[_Find]]]:
    """For every prototype the ``each`` nearest places of each image, nearest first."""
    kinds = network.prototype_kinds
    finds: list[list[_Find]] = [[] for _ in kinds]
    for done, image in enumerate(images, start=1):
        cells, background = _places(image, network.stride, nominal_px)
        with torch.inference_mode():
            features = image_features(network, image, device)
            distances = network.distances(features)[0].cpu()
            features = features[0].cpu()
        for k, kind in enumerate(kinds):
            places = cells if kind == "cell" else background
            if not places.any():
                continue
            masked = torch.where(torch.from_numpy(places), distances[k], torch.inf)
            nearest = masked.flatten().topk(min(each, int(places.sum())), largest=False)
            for distance, at in zip(nearest.values.tolist(), nearest.indices.tolist(), strict=True):
                i, j = divmod(at, masked.shape[1])
                finds[k].append(_Find(distance, features[:, i, j].clone(), image, (i, j)))
        yield Progress(done, len(images), message)
    return [sorted(found, key=lambda f: f.distance) for found in finds]


def _places(
    image: PreparedImage, stride: int, nominal_px: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Density cells that hold a dot, and those that no dot reaches."""
    grid = model_grid(image, stride)
    yx = image.yx if image.yx is not None else np.empty((0, 2))
    cells = np.zeros(grid.shape, dtype=bool)
    at = np.floor(grid.to_cells(yx)).astype(int).clip(0, np.array(grid.shape) - 1)
    cells[at[:, 0], at[:, 1]] = True
    reach = density_map(yx, grid, SIGMA * nominal_px) > 1e-4
    return cells, ~maximum_filter(reach, 3)


def _gallery(
    network: HasPrototypes,
    finds: Sequence[Sequence[_Find]],
    nominal_px: float,
    cc0: frozenset[str],
) -> Gallery:
    pictures: dict[str, bytes] = {}
    records = []
    for k, (kind, found) in enumerate(zip(network.prototype_kinds, finds, strict=True)):
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


def _picture(find: _Find, stride: int, nominal_px: float) -> bytes:
    half = round(PATCH_DIAMETERS * nominal_px / 2)
    y, x = ((c * stride) + stride // 2 for c in find.cell)
    values = functional.pad(find.image.values.float(), (half,) * 4)[
        :, y : y + 2 * half, x : x + 2 * half
    ]
    picture = functional.interpolate(values[None], (PICTURE, PICTURE), mode="nearest")[0]
    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return imageio.imwrite("<bytes>", pixels.squeeze(), extension=".png")

"""Projection ("push"): every prototype is put onto a real training patch.

ProtoPNet (Chen et al. 2019, §2.2, stage 2), as CountXplain (MIDL 2025) uses it:
afterwards a prototype *is* the feature of one place in one training image, so
showing that patch shows what the network compares with.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from torch import Tensor

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.learn.features import image_features, model_grid
from celltally.learn.prepare import PreparedImage
from celltally.networks import HasPrototypes
from celltally.types import Progress

__all__ = ["Find", "Projection", "Search", "iter_project", "iter_search"]

#: Images per data set that are searched.
IMAGES_PER_SET = 20
#: Model-scale pixels that background prototypes keep from where a dot's density ends.
CLEARANCE = 2


@dataclass(frozen=True, eq=False)
class Find:
    """A place of a training image, and how near its feature is to a prototype.

    Attributes
    ----------
    distance
        Of the feature to the prototype that it was found for.
    feature
        ``(D,)``.
    image
        Where it lies.
    cell
        Row and column of the image's density.
    """

    distance: float
    feature: Tensor
    image: PreparedImage
    cell: tuple[int, int]

    @property
    def place(self) -> tuple[Path, tuple[int, int]]:
        """What no two prototypes share, as far as there are places."""
        return self.image.sample.image, self.cell


@dataclass(frozen=True, eq=False)
class Search:
    """What a search for prototypes found.

    Attributes
    ----------
    finds
        For every prototype the nearest places of its own group, nearest first.
    astray
        For every prototype, whether a place of the other group is nearer than those.
    """

    finds: list[list[Find]]
    astray: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Projection:
    """Where prototypes were put.

    Attributes
    ----------
    places
        The place of every prototype; None where there was none for it, and it stays as
        it was.
    astray
        As in ``Search``, before they were put there.
    """

    places: list[Find | None]
    astray: tuple[bool, ...]


def iter_project(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    *,
    nominal_px: float,
    device: torch.device,
) -> Generator[Progress, None, Projection]:
    """Project all prototypes in place.

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
    device
        Where the network runs.
    """
    # As many places of each image as a group has prototypes: enough for one each.
    each = len(network.prototype_kinds) // 2
    search = yield from iter_search(
        network, images, each, nominal_px=nominal_px, device=device, message="projecting prototypes"
    )
    taken: set[tuple[Path, tuple[int, int]]] = set()
    vectors = network.prototypes.detach().clone()
    places: list[Find | None] = []
    for k, candidates in enumerate(search.finds):
        free = (f for f in candidates if f.place not in taken)
        # With fewer places than prototypes some share one.
        find = next(free, candidates[0] if candidates else None)
        if find is not None:
            taken.add(find.place)
            vectors[k] = find.feature
        places.append(find)
    network.set_prototypes(vectors)
    return Projection(places, search.astray)


def iter_search(
    network: HasPrototypes,
    images: Sequence[PreparedImage],
    each: int,
    *,
    nominal_px: float,
    device: torch.device,
    message: str,
) -> Generator[Progress, None, Search]:
    """For every prototype the ``each`` nearest places of each image.

    At most ``IMAGES_PER_SET`` images of every set are searched. See ``iter_project``.
    """
    images = _choose(images)
    network.eval().to(device)
    kinds = network.prototype_kinds
    finds: list[list[Find]] = [[] for _ in kinds]
    others = [math.inf] * len(kinds)
    for done, image in enumerate(images, start=1):
        cells, background = _places(image, network.stride, nominal_px)
        with torch.inference_mode():
            features = image_features(network, image, device)
            distances = network.distances(features)[0].cpu()
            features = features[0].cpu()
        for k, kind in enumerate(kinds):
            places, foreign = (cells, background) if kind == "cell" else (background, cells)
            if foreign.any():
                others[k] = min(others[k], float(distances[k][torch.from_numpy(foreign)].min()))
            if not places.any():
                continue
            masked = torch.where(torch.from_numpy(places), distances[k], torch.inf)
            nearest = masked.flatten().topk(min(each, int(places.sum())), largest=False)
            for distance, at in zip(nearest.values.tolist(), nearest.indices.tolist(), strict=True):
                i, j = divmod(at, masked.shape[1])
                finds[k].append(Find(distance, features[:, i, j].clone(), image, (i, j)))
        yield Progress(done, len(images), message)
    nearest_first = [sorted(found, key=lambda f: f.distance) for found in finds]
    astray = (
        bool(own) and other < own[0].distance
        for own, other in zip(nearest_first, others, strict=True)
    )
    return Search(nearest_first, tuple(astray))


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
    return cells, ~maximum_filter(reach, 2 * (CLEARANCE // stride) + 1)

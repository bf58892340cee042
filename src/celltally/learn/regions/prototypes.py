"""Prototypes for cells that look like none of those that a network has.

Where many of the reviewed cells are less similar to every cell prototype than nearly all
cells of the replay are, the network has nothing to compare them with. Some of them become
prototypes, each as unlike the others as can be, and as many places where there is no cell. They
weigh nothing until the network has learned what they are worth, and lie on real cells of the
user's again when it has.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from celltally.learn.regions.gallery import known_places
from celltally.learn.regions.refit import window_features
from celltally.learn.regions.windows import Window
from celltally.networks import CanGrow, HasPrototypes
from celltally.types import Progress

__all__ = ["iter_grow", "iter_project_new"]

#: Prototypes of a kind that are added at most, and cells that each must stand for.
MOST, STANDS_FOR = 4, 3
#: Share of the replay's cells that are less similar than what is called unlike.
UNLIKE = 0.05
#: The same where there is no replay, as a share of the largest similarity.
FAINT = 0.3
#: Share of the reviewed cells that must be unlike: a few odd ones are in every image, and
#: prototypes for them learn these by heart.
SHARE = 1 / 3
#: Places of each kind that are looked at, at most.
LOOKED_AT = 4000
#: Windows that they are taken from, at most.
LOOKED_INTO = 48
#: What is being done, as its steps say.
GROWING, PROJECTING = "looking for cells of another kind", "placing the new prototypes"


def iter_grow(
    network: CanGrow,
    windows: Sequence[Window],
    replay: Sequence[Window],
    rng: np.random.Generator,
    device: torch.device,
) -> Generator[Progress, None, tuple[CanGrow, tuple[int, ...]]]:
    """Give a network prototypes for cells that are like none of its own.

    Parameters
    ----------
    network
        Stays as it is.
    windows
        Reviewed, with dots.
    replay
        What the network knows.
    rng
        Chooses places, where there are very many.
    device
        Where the network runs.

    Returns
    -------
    network
        The same, or a copy with more prototypes.
    new
        Indices of the new prototypes.
    """
    cells, background = yield from _iter_features(network, windows, rng, device, GROWING)
    if not len(cells):  # only counts are stated
        return network, ()
    likeness = _likeness(network, cells, "cell", device)
    known, _ = yield from _iter_features(network, replay, rng, device, GROWING)
    if len(known):
        limit = float(_likeness(network, known, "cell", device).quantile(UNLIKE))
    else:
        limit = FAINT * float(network.similarities(torch.zeros(1)).max())
    unlike = torch.nonzero(likeness < limit)[:, 0]
    number = min(MOST, len(unlike) // STANDS_FOR, len(background))
    if not number or len(unlike) < SHARE * len(cells):
        return network, ()
    new_cells = _spread(cells[unlike], likeness[unlike], number)
    foreign = _likeness(network, background, "background", device)
    new_background = _spread(background, foreign, number)
    half = len(network.prototype_kinds) // 2
    new = (*range(half, half + number), *range(2 * half + number, 2 * (half + number)))
    return network.grown(new_cells.to(device), new_background.to(device)), new


def iter_project_new(
    network: HasPrototypes,
    new: Sequence[int],
    windows: Sequence[Window],
    rng: np.random.Generator,
    device: torch.device,
) -> Generator[Progress, None, None]:
    """Put new prototypes onto the nearest places of their kind, no place twice, in place."""
    if not new:
        return
    features = yield from _iter_features(network, windows, rng, device, PROJECTING)
    found = dict(zip(("cell", "background"), features, strict=True))
    taken: dict[str, set[int]] = {"cell": set(), "background": set()}
    vectors = network.prototypes.detach().cpu().clone()
    for k in new:
        kind = network.prototype_kinds[k]
        distances = (found[kind] - vectors[k]).square().sum(dim=1)
        for at in torch.argsort(distances).tolist():
            if at not in taken[kind]:
                taken[kind].add(at)
                vectors[k] = found[kind][at]
                break
    network.set_prototypes(vectors.to(network.prototypes.device))


def _iter_features(
    network: HasPrototypes,
    windows: Sequence[Window],
    rng: np.random.Generator,
    device: torch.device,
    told: str,
) -> Generator[Progress, None, tuple[Tensor, Tensor]]:
    """Features ``(n, D)`` of known cells, and of places without any."""
    network.eval().to(device)
    depth = network.prototypes.shape[1]
    found: tuple[list[Tensor], list[Tensor]] = ([torch.empty(0, depth)], [torch.empty(0, depth)])
    dotted = [window for window in windows if window.stated is None]
    if len(dotted) > LOOKED_INTO:
        dotted = [dotted[i] for i in np.sort(rng.choice(len(dotted), LOOKED_INTO, replace=False))]
    for done, window in enumerate(dotted, start=1):
        features = window_features(network, window, device)[0].cpu()
        for kept, places in zip(found, known_places(window, network.stride), strict=True):
            kept.append(features[:, places].T.clone())
        yield Progress(done, len(dotted), told)
    cells, background = (torch.cat(parts) for parts in found)
    if len(background) > LOOKED_AT:
        chosen = np.sort(rng.choice(len(background), LOOKED_AT, replace=False))
        background = background[torch.from_numpy(chosen)]
    return cells[:LOOKED_AT], background


def _likeness(network: HasPrototypes, features: Tensor, kind: str, device: torch.device) -> Tensor:
    """Largest similarity ``(n,)`` of features to the prototypes of a kind."""
    own = [k for k, other in enumerate(network.prototype_kinds) if other == kind]
    with torch.inference_mode():
        grid = features.T[None, :, :, None].to(device)
        similarities = network.similarities(network.distances(grid))[0, own, :, 0]
    return similarities.amax(dim=0).cpu()


def _spread(features: Tensor, likeness: Tensor, number: int) -> Tensor:
    """Choose features: the one most unlike all prototypes, then the farthest from the chosen."""
    unit = functional.normalize(features, dim=1)
    chosen = [int(likeness.argmin())]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < number:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, unit @ unit[chosen[-1]])
    return features[chosen]

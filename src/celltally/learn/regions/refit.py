"""The last layer in closed form, on reviewed regions and on the replay (see ``refit``)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from celltally.devices import autocast
from celltally.learn.augment import AUGMENTATIONS
from celltally.learn.refit import LastLayer, block_equations, count_equation
from celltally.learn.regions.batches import changed
from celltally.learn.regions.windows import Window
from celltally.model import round_to_stored
from celltally.networks import HasPrototypes
from celltally.types import Progress

__all__ = ["iter_refit_regions", "window_features", "window_similarities"]

#: Changed views of a window beside the window itself, and of all windows at most. A network
#: has learned its few windows by heart, and its features of them are better than those of
#: anything else; of changed ones less so.
VIEWS, MOST_VIEWS = 4, 64


def window_similarities(network: HasPrototypes, window: Window, device: torch.device) -> Tensor:
    """Similarities of a window to the prototypes, ``(1, K, h, w)`` on the CPU."""
    features = window_features(network, window, device)
    with torch.inference_mode():  # and in float32: what is lost in a cell adds up
        return network.similarities(network.distances(features)).cpu()


def window_features(network: HasPrototypes, window: Window, device: torch.device) -> Tensor:
    """Features of a window, ``(1, D, h, w)`` float32."""
    with torch.inference_mode(), autocast(device):
        context = network.encode_context(window.thumbnail[None].to(device))
        values = window.values.expand(3, -1, -1)[None].to(device)
        return network.features(values, context).float()


def iter_refit_regions(
    network: HasPrototypes,
    windows: Sequence[Window],
    replay: Sequence[Window],
    *,
    share: float,
    rng: np.random.Generator,
    device: torch.device,
) -> Generator[Progress, None, None]:
    """Fit weights and bias of the similarities to windows and the replay, in place.

    The network is rounded to what will be stored before, and its new weights with it.

    Parameters
    ----------
    network
        Changed in place.
    windows, replay
        What teaches, and what must not be unlearned.
    share
        Weight of the whole replay in units of that of all windows.
    rng
        Draws the views.
    device
        Where the network runs.
    """
    round_to_stored(network.eval().to(device))
    last = LastLayer(network)
    views = min(VIEWS, MOST_VIEWS // max(len(windows), 1))
    total = (1 + views) * len(windows) + len(replay)
    weighted = _weighted(windows, views, replay, share, rng)
    for done, (window, weight) in enumerate(weighted, start=1):
        known = window_similarities(network, window, device).double()
        known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
        for rows, wanted in _equations(window, known):
            last.add(rows * weight**0.5, wanted * weight**0.5)
        yield Progress(done, total, "refitting the last layer")
    last.solve(round_to_stored)


def _weighted(
    windows: Sequence[Window],
    views: int,
    replay: Sequence[Window],
    share: float,
    rng: np.random.Generator,
) -> Iterator[tuple[Window, float]]:
    """Windows, their views and the replay with their weights; a view is made when it is asked for.

    All of them at once need not fit into the memory.
    """
    own = 1 / (1 + views)
    yield from ((window, own) for window in windows)
    for window in windows:
        yield from ((changed(window, AUGMENTATIONS["mild"], rng), own) for _ in range(views))
    yield from ((window, share * len(windows) / len(replay)) for window in replay)


def _equations(window: Window, known: Tensor) -> Generator[tuple[Tensor, Tensor], None, None]:
    weight = window.weight[None].double()
    if window.stated is not None:
        yield count_equation(known * weight, window.stated)
        return
    asked = (weight > 0).double()
    target = window.target[None].double() * asked
    yield count_equation(known * asked, float(target.sum()))
    yield from block_equations(known, target, asked)

"""The replay of a model as windows, with its own density as what is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import torch

from celltally.devices import autocast
from celltally.learn.regions.windows import Source, Window
from celltally.learn.replay import ReplayPatch
from celltally.networks import CountingNetwork
from celltally.types import Progress

__all__ = ["iter_rehearsal_windows"]

#: Density cells along the edges of a patch that are not asked for: nobody sees beyond it.
EDGE = 4


def iter_rehearsal_windows(
    network: CountingNetwork, patches: Sequence[ReplayPatch], device: torch.device
) -> Generator[Progress, None, list[Window]]:
    """Windows of patches, with the density that a network gives them.

    Parameters
    ----------
    network
        The parent, in evaluation mode.
    patches
        What it learned from.
    device
        Where it runs.
    """
    network.eval().to(device)
    windows: list[Window] = []
    for patch in patches:
        side = patch.values.shape[-1]
        blank = torch.zeros(1, side // network.stride, side // network.stride)
        weight = blank.clone()
        weight[:, EDGE:-EDGE, EDGE:-EDGE] = 1.0
        window = Window(
            values=patch.values,
            thumbnail=patch.thumbnail,
            target=blank,
            weight=weight * _inside(patch, network.stride, blank),
            stated=None,
            cells=0.0,
            source=Source(patch.dataset, "", (0.0, 0.0), (1.0, 1.0)),
        )
        with torch.inference_mode(), autocast(device):
            context = network.encode_context(patch.thumbnail[None].to(device))
            values = patch.values.expand(3, -1, -1)[None].to(device)
            density = network(values, context).density
        target = density[0].float().cpu().clone()
        cells = float((target * (window.weight > 0)).sum())
        windows.append(replace(window, target=target, cells=cells))
        yield Progress(len(windows), len(patches), "looking at what was learned before")
    return windows


def _inside(patch: ReplayPatch, stride: int, blank: torch.Tensor) -> torch.Tensor:
    """1 where the middle of a density cell lies in the image."""
    y0, x0, y1, x1 = patch.extent
    at = (torch.arange(blank.shape[-1]) + 0.5) * stride - 0.5
    rows, columns = (at > y0) & (at < y1), (at > x0) & (at < x1)
    return (rows[:, None] & columns)[None].float()

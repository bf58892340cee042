"""Windows of reviewed regions and patches of a replay as batches, each a little changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from celltally.learn.augment import Augmentation, is_transmitted
from celltally.learn.regions.windows import Window

__all__ = ["RegionBatch", "RegionBatches", "as_they_are", "changed"]


@dataclass(frozen=True, eq=False)
class RegionBatch:
    """A batch of windows, padded to one size.

    Attributes
    ----------
    images
        ``(N, 3, H, W)`` float32, channels last.
    thumbnails
        ``(N, 3, 64, 64)``.
    target, weight
        ``(N, 1, h, w)``, see ``Window``.
    stated
        ``(N,)`` stated counts; NaN where dots are known.
    """

    images: Tensor
    thumbnails: Tensor
    target: Tensor
    weight: Tensor
    stated: Tensor

    def to(self, device: torch.device) -> RegionBatch:
        """Move it to a device."""
        return RegionBatch(
            images=self.images.to(device, memory_format=torch.channels_last),
            thumbnails=self.thumbnails.to(device),
            target=self.target.to(device),
            weight=self.weight.to(device),
            stated=self.stated.to(device),
        )


class RegionBatches:
    """Endless batches: every window once, in an order of chance, then all of them again.

    Parameters
    ----------
    windows
        At least one.
    pixels
        About how many of them, at model scale, make a batch.
    stride
        Of the network.
    augmentation
        Strength of the changes.
    rng
        Source of all chance.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        pixels: int,
        stride: int,
        augmentation: Augmentation | None,
        rng: np.random.Generator,
    ) -> None:
        self.windows, self.pixels, self.stride = list(windows), pixels, stride
        self.augmentation, self.rng = augmentation, rng
        self._waiting: list[Window] = []

    def __next__(self) -> RegionBatch:
        """Draw a batch."""
        chosen: list[Window] = []
        left = self.pixels
        while not chosen or (len(chosen) < len(self.windows) and left >= self._next().pixels):
            window = self._next()
            self._waiting.pop()
            chosen.append(window)
            left -= window.pixels
        parts = [changed(window, self.augmentation, self.rng) for window in chosen]
        return _stacked(parts, self.stride)

    def __iter__(self) -> Iterator[RegionBatch]:
        """They never end."""
        return self

    def _next(self) -> Window:
        if not self._waiting:
            order = self.rng.permutation(len(self.windows))
            self._waiting = [self.windows[i] for i in order]
        return self._waiting[-1]


def changed(
    window: Window, augmentation: Augmentation | None, rng: np.random.Generator
) -> Window:  # fmt: skip
    """Turn, mirror and change the light of a window; what is known of it stays."""
    values, target, weight = window.values, window.target, window.weight
    for axis in (1, 2):
        if rng.random() < 0.5:
            values, target, weight = (t.flip(axis) for t in (values, target, weight))
    if rng.random() < 0.5:
        values, target, weight = (t.transpose(1, 2) for t in (values, target, weight))
    thumb = window.thumbnail
    if augmentation is not None:
        # The whole image changes with its part, as a network is shown its thumbnail.
        change = augmentation.draw(rng)
        own = thumb[: values.shape[0]]
        transmitted = is_transmitted(own)
        values = change.sharpness(change.light(values, transmitted), rng)
        thumb = change.light(own, transmitted).expand(3, -1, -1)
    return replace(window, values=values, thumbnail=thumb, target=target, weight=weight)


def as_they_are(windows: Sequence[Window], pixels: int, stride: int) -> Iterator[RegionBatch]:
    """Batches of all windows, each once and unchanged."""
    chosen: list[Window] = []
    for window in windows:
        if chosen and sum(w.pixels for w in chosen) + window.pixels > pixels:
            yield _stacked(chosen, stride)
            chosen = []
        chosen.append(window)
    if chosen:
        yield _stacked(chosen, stride)


def _stacked(windows: Sequence[Window], stride: int) -> RegionBatch:
    height = max(int(w.values.shape[1]) for w in windows)
    width = max(int(w.values.shape[2]) for w in windows)

    def padded(values: Tensor, cell: int) -> Tensor:
        missing = (0, width // cell - values.shape[2], 0, height // cell - values.shape[1])
        return functional.pad(values, missing)

    return RegionBatch(
        images=torch.stack([padded(w.values.expand(3, -1, -1), 1) for w in windows]),
        thumbnails=torch.stack([w.thumbnail for w in windows]),
        target=torch.stack([padded(w.target, stride) for w in windows]),
        weight=torch.stack([padded(w.weight, stride) for w in windows]),
        stated=torch.tensor([float("nan") if w.stated is None else w.stated for w in windows]),
    )

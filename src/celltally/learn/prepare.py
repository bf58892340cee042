"""Samples of data sets → arrays at model scale, held in memory while a network learns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.draw import disk
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn import functional

from celltally.diameter import diameter_of
from celltally.errors import UserError
from celltally.io import read_image, select_pixels
from celltally.learn.augment import is_transmitted
from celltally.learn.data import Dataset, Sample, sample_count, sample_dots
from celltally.preprocess import normalise
from celltally.scale import density_grid, model_shape, rescale, thumbnail
from celltally.types import Grid, Progress

__all__ = ["PreparedImage", "prepare"]


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One labelled image, ready for a network.

    Attributes
    ----------
    dataset, sample
        Where it comes from.
    values
        ``(C, h, w)`` float16, normalised, at model scale, C = 1 or 3.
    yx
        ``(n, 2)`` dots at model scale, or None where only the count is known.
    count
        True count.
    diameter_px
        Cell diameter in pixels of the image.
    image_shape
        ``(H, W)`` of the image.
    """

    dataset: str
    sample: Sample
    values: Tensor
    yx: NDArray[np.float64] | None
    count: float
    diameter_px: float
    image_shape: tuple[int, int]

    @property
    def is_grey(self) -> bool:
        """Whether the image has one channel."""
        return self.values.shape[0] == 1

    @cached_property
    def thumbnail(self) -> Tensor:
        """``(3, 64, 64)`` float32."""
        return thumbnail(self.values.float())

    @cached_property
    def mask(self) -> Tensor:
        """``(1, h, w)`` bool, true inside cells.

        The data set's own mask where it has one; else discs of a cell's diameter round
        the dots; else what Otsu's threshold takes for cells: brighter than the ground, or
        darker in transmitted light.

        Raises
        ------
        UserError
            When the data set's mask cannot be read or does not fit the image.
        """
        if self.sample.mask is not None:
            return self._read_mask(self.sample.mask)
        if self.yx is None:
            grey = self.values.float().mean(dim=0, keepdim=True)
            bright = grey > float(threshold_otsu(grey.numpy()))
            return ~bright if is_transmitted(self.values.float()) else bright
        shape = (int(self.values.shape[1]), int(self.values.shape[2]))
        radius = self.diameter_px / 2 * shape[0] / self.image_shape[0]
        discs = np.zeros(shape, dtype=bool)
        for dot in self.yx:
            discs[disk(dot, radius, shape=shape)] = True
        return torch.from_numpy(discs)[None]

    def _read_mask(self, path: Path) -> Tensor:
        labels = select_pixels(read_image(path))
        if labels.shape != self.image_shape:
            raise UserError(
                f"{path} has the shape {labels.shape}, but its image {self.image_shape}; "
                "save the mask in the size of the image"
            )
        cells = torch.from_numpy(labels > 0)[None, None]
        shape = [int(side) for side in self.values.shape[1:]]
        return functional.interpolate(cells.byte(), shape, mode="nearest-exact")[0].bool()

    def grid(self, stride: int) -> Grid:
        """Grid of this image's density."""
        shape = (int(self.values.shape[1]), int(self.values.shape[2]))
        return density_grid(self.image_shape, shape, stride)


def prepare(
    samples: Sequence[tuple[Dataset, Sample]], nominal_px: float
) -> Generator[Progress, None, list[PreparedImage]]:
    """Read, normalise and rescale samples.

    Parameters
    ----------
    samples
        Samples with the data sets that they belong to.
    nominal_px
        Cell diameter at model scale.

    Yields
    ------
    Progress
        One per image.
    """
    prepared = []
    for done, (dataset, sample) in enumerate(samples, start=1):
        prepared.append(_prepare(dataset, sample, nominal_px))
        yield Progress(done, len(samples), f"reading {dataset.name}")
    return prepared


def _prepare(dataset: Dataset, sample: Sample, nominal_px: float) -> PreparedImage:
    pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
    image_shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    values, _ = normalise(pixels)
    yx = None if sample.dots is None else sample_dots(sample, image_shape).yx
    diameter = dataset.diameter_px
    # The estimate, although dots would tell more: a user's image is counted with it as well.
    diameter = diameter or diameter_of(values) or nominal_px
    shape = model_shape(image_shape, diameter, nominal_px)
    factor = np.array(shape) / image_shape
    return PreparedImage(
        dataset=dataset.name,
        sample=sample,
        values=rescale(values, shape).half(),
        # Pixel edges fall on pixel edges: position −0.5 stays −0.5.
        yx=None if yx is None else (yx + 0.5) * factor - 0.5,
        count=sample_count(sample),
        diameter_px=float(diameter),
        image_shape=image_shape,
    )

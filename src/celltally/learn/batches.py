"""Random crops and whole images as batches of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from celltally.density import density_map
from celltally.learn.augment import Augmentation, blank_field, is_transmitted
from celltally.learn.prepare import PreparedImage
from celltally.networks import Target
from celltally.preprocess import normalise
from celltally.scale import MARGIN, pad_with_margin, thumbnail
from celltally.types import Grid

__all__ = ["Batch", "CountBatches", "DotBatches"]

#: Crops may reach this far over an image's border, where they are filled with zeros
#: as whole images are.
OVERHANG = MARGIN
#: Sides of crops, as shares of the largest. Where all crops are larger than the images
#: of some set, the zeros around these tell a network which set it sees, and it counts
#: them only with zeros around (measured: whole images of fat cells by two thirds less
#: than their crops); where all are small, it sees borders everywhere.
SIDES = (0.5, 0.75, 1.0)
#: Width of a dot's Gaussian in cell diameters.
SIGMA = 0.15


@dataclass(frozen=True)
class Batch:
    """A batch of equal-sized images.

    Attributes
    ----------
    images
        ``(N, 3, S, S)`` float32.
    thumbnails
        ``(N, 3, 64, 64)`` float32, of the whole images that they come from.
    counts
        ``(N,)`` true counts.
    density
        ``(N, 1, s, s)``, or None where only counts are known.
    inside
        ``(N, 1, s, s)``, 1 where a density cell lies in its image and 0 in the zeros
        around it; None for batches with a density.
    mask
        ``(N, 1, S, S)``, 1 inside cells, where it was asked for.
    """

    images: Tensor
    thumbnails: Tensor
    counts: Tensor
    density: Tensor | None = None
    inside: Tensor | None = None
    mask: Tensor | None = None

    @property
    def target(self) -> Target:
        """What is known of the images, as a network's own losses are given it."""
        return Target(self.counts, self.density, self.inside, self.mask)

    def to(self, device: torch.device) -> Batch:
        """Move the batch to a device, images channels-last."""
        return Batch(
            images=self.images.to(device, memory_format=torch.channels_last),
            thumbnails=self.thumbnails.to(device),
            counts=self.counts.to(device),
            density=None if self.density is None else self.density.to(device),
            inside=None if self.inside is None else self.inside.to(device),
            mask=None if self.mask is None else self.mask.to(device),
        )


class _Crop(NamedTuple):
    values: Tensor
    thumbnail: Tensor
    density: Tensor


class DotBatches:
    """Endless batches of augmented crops from images with dots, drawn set by set.

    Parameters
    ----------
    images
        Images with dots.
    size, count
        Side of the largest crops in model-scale pixels, and how many of them make a
        batch. Crops of a batch are alike in size, but batches differ (see ``SIDES``);
        all have about as many pixels.
    multiple, stride
        Of the network.
    nominal_px
        Cell diameter at model scale.
    rng
        Source of all chance.
    augmentation
        None for none.
    set_weights
        How often a data set is drawn against the others, 1 where it is not named.
    set_augmentations
        Augmentation of a data set, where it is not the others'.
    """

    def __init__(
        self,
        images: Sequence[PreparedImage],
        *,
        size: int,
        count: int,
        multiple: int,
        stride: int,
        nominal_px: float,
        rng: np.random.Generator,
        augmentation: Augmentation | None,
        set_weights: Mapping[str, float] | None = None,
        set_augmentations: Mapping[str, Augmentation] | None = None,
    ) -> None:
        self.sets: dict[str, list[PreparedImage]] = {}
        for image in images:
            self.sets.setdefault(image.dataset, []).append(image)
        self.sides = [multiple * max(1, round(share * size / multiple)) for share in SIDES]
        self.pixels, self.stride = count * size**2, stride
        weights = np.array([(set_weights or {}).get(name, 1.0) for name in self.sets])
        self.shares = weights / weights.sum()
        self.sigma = SIGMA * nominal_px
        self.nominal_px = nominal_px
        self.rng, self.augmentation = rng, augmentation
        self.set_augmentations = dict(set_augmentations or {})

    def __next__(self) -> Batch:
        """Draw a batch."""
        size = int(self.rng.choice(self.sides))
        count = max(1, round(self.pixels / size**2))
        crops = [self._crop(self._draw_image(), size) for _ in range(count)]
        density = torch.stack([c.density for c in crops])[:, None]
        return Batch(
            images=torch.stack([c.values.expand(3, -1, -1) for c in crops]),
            thumbnails=torch.stack([c.thumbnail for c in crops]),
            counts=density.sum(dim=(1, 2, 3)),
            density=density,
        )

    def _draw_image(self) -> PreparedImage:
        names = list(self.sets)
        images = self.sets[names[self.rng.choice(len(names), p=self.shares)]]
        return images[self.rng.integers(len(images))]

    def _crop(self, image: PreparedImage, size: int) -> _Crop:
        rng, channels = self.rng, image.values.shape[0]
        change = self.set_augmentations.get(image.dataset, self.augmentation)
        grid = Grid((size // self.stride,) * 2, (float(self.stride),) * 2)
        thumb = image.thumbnail
        if change is not None and image.is_grey and rng.random() < change.blank:
            values = blank_field(size, rng)
            values = change.photometric(values, rng) if rng.random() < 0.5 else values
            thumb = functional.adaptive_avg_pool2d(values, thumb.shape[-1]).expand(3, -1, -1)
            return _Crop(values, thumb, torch.zeros(grid.shape))
        zoom = float(change.zoom ** rng.uniform(-1, 1)) if change is not None else 1.0
        side = max(8, round(size / zoom))
        corner = _corner(image.values, side, rng)
        values = _window(image.values, side, corner)
        zoom = size / side
        yx = (image.yx - corner + 0.5) * zoom - 0.5 if image.yx is not None else np.empty((0, 2))
        shape = np.array(image.values.shape[1:])
        extent = np.concatenate([-0.5 - corner * zoom, (shape - corner) * zoom - 0.5])
        if side != size:
            values = functional.interpolate(
                values[None], (size,) * 2, mode="bilinear", antialias=True, align_corners=False
            )[0]
        values, yx, extent = _turn(values, yx, extent, size, rng)
        if change is not None:
            if image.is_grey and self._is_empty(yx, size) and rng.random() < 0.5:
                values = torch.from_numpy(normalise(values[0].numpy())[0])
            # What changed the crop changed the image: else every image of a small set could
            # be told by its thumbnail, and how its cells are annotated learned by heart.
            drawn, transmitted = change.draw(rng), is_transmitted(thumb[:channels])
            values = drawn.sharpness(drawn.light(values, transmitted), rng)
            thumb = drawn.light(thumb[:channels], transmitted)
            thumb = thumb.flip(_axes(rng)).expand(3, -1, -1)
        y0, x0, y1, x1 = (float(e) for e in extent)
        density = density_map(yx, grid, self.sigma, extent=(y0, x0, y1, x1))
        return _Crop(values, thumb, torch.from_numpy(density))

    def _is_empty(self, yx: NDArray[np.float64], size: int) -> bool:
        margin = self.nominal_px
        inside = (yx > -margin) & (yx < size + margin)
        return not inside.all(axis=1).any()


class CountBatches:
    """Endless batches of whole images and their counts.

    Parameters
    ----------
    images
        Images with dots or counts.
    count
        How many of them make a batch.
    multiple, stride
        Of the network.
    rng
        Source of all chance.
    augmentation
        None for none.
    margin
        Zeros around every image, as predictions have them.
    masks
        Whether batches have masks (``PreparedImage.mask``).
    """

    def __init__(
        self,
        images: Sequence[PreparedImage],
        *,
        count: int,
        multiple: int,
        stride: int,
        rng: np.random.Generator,
        augmentation: Augmentation | None,
        set_augmentations: Mapping[str, Augmentation] | None = None,
        margin: int = MARGIN,
        masks: bool = False,
    ) -> None:
        self.images, self.count = list(images), count
        self.multiple, self.stride = multiple, stride
        self.margin, self.masks = margin, masks
        self.rng, self.augmentation = rng, augmentation
        self.set_augmentations = dict(set_augmentations or {})

    def __next__(self) -> Batch:
        """Draw a batch, padded with zeros to a common shape."""
        chosen = [self.images[self.rng.integers(len(self.images))] for _ in range(self.count)]
        drawn = [self._whole(image) for image in chosen]
        height = max(v.shape[1] for v, _, _ in drawn)
        width = max(v.shape[2] for v, _, _ in drawn)
        padded, inside, masks = [], [], []
        for values, _, mask in drawn:
            around = (0, width - values.shape[2], 0, height - values.shape[1])
            known = torch.ones(1, *values.shape[1:])
            padded.append(self._padded(values, around))
            inside.append(self._padded(known, around))
            if mask is not None:
                masks.append(self._padded(mask, around))
        return Batch(
            images=torch.stack([v.expand(3, -1, -1) for v in padded]),
            thumbnails=torch.stack([thumb for _, thumb, _ in drawn]),
            counts=torch.tensor([image.count for image in chosen], dtype=torch.float32),
            # A density cell that lies half in the image counts, as it does in predictions.
            inside=functional.max_pool2d(torch.stack(inside), self.stride),
            mask=torch.stack(masks) if masks else None,
        )

    def _padded(self, values: Tensor, around: tuple[int, ...]) -> Tensor:
        return pad_with_margin(functional.pad(values, around), self.multiple, self.margin)

    def _whole(self, image: PreparedImage) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values of a changed image, its thumbnail, and its mask."""
        values, mask = image.values.float(), image.mask.float() if self.masks else None
        change = self.set_augmentations.get(image.dataset, self.augmentation)
        if change is None:
            return values, image.thumbnail, mask
        zoom = float(change.zoom ** self.rng.uniform(-0.5, 0.5))
        shape = [max(1, round(side * zoom)) for side in values.shape[1:]]
        values = functional.interpolate(
            values[None], shape, mode="bilinear", antialias=True, align_corners=False
        )[0]
        axes = _axes(self.rng)
        if mask is not None:
            mask = functional.interpolate(mask[None], shape, mode="nearest-exact")[0].flip(axes)
        values = change.photometric(values.flip(axes), self.rng)
        return values, thumbnail(values), mask


def _axes(rng: np.random.Generator) -> list[int]:
    """Axes to mirror ``(C, h, w)`` values along, by chance."""
    return [axis for axis in (1, 2) if rng.random() < 0.5]


def _corner(values: Tensor, side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Upper left corner of a random window of an image; it may lie beyond the borders."""
    shape = np.array(values.shape[1:])
    overhang = min(OVERHANG, side // 2)  # a crop always sees some of the image
    low = np.minimum(-overhang, (shape - side) // 2)
    high = np.maximum(shape - side + overhang, low + 1)
    corner: NDArray[np.int64] = rng.integers(low, high)
    return corner


def _window(values: Tensor, side: int, corner: NDArray[np.int64]) -> Tensor:
    """Cut a window of an image, zeros beyond its borders."""
    y, x = (int(c) for c in corner)
    y0, x0 = max(y, 0), max(x, 0)
    y1, x1 = min(y + side, int(values.shape[1])), min(x + side, int(values.shape[2]))
    window = values[:, y0:y1, x0:x1].float()
    pad = (x0 - x, side - (x0 - x) - window.shape[2], y0 - y, side - (y0 - y) - window.shape[1])
    return functional.pad(window, pad)


def _turn(
    values: Tensor,
    yx: NDArray[np.float64],
    extent: NDArray[np.float64],
    size: int,
    rng: np.random.Generator,
) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """One of the eight symmetries of a square, for values, dots and extent alike."""
    corners = extent.reshape(2, 2)
    for axis in (0, 1):
        if rng.random() < 0.5:
            values = values.flip(axis + 1)
            yx, corners = yx.copy(), corners.copy()
            yx[:, axis] = size - 1 - yx[:, axis]
            corners[:, axis] = (size - 1 - corners[:, axis])[::-1]
    if rng.random() < 0.5:
        values, yx, corners = values.transpose(1, 2), yx[:, ::-1], corners[:, ::-1]
    return values, yx, corners.reshape(4)

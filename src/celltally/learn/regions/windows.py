"""Reviewed regions → windows of images with what is known of them, as a network is shown them.

A cell whose dot lies just outside of a region reaches into it, and nobody has said that it is
there. So of a region only what is further than two standard deviations of a dot's Gaussian from
what is unknown is asked for; dots in the rim are known, and their tails reach in as they should.
Along the border of the image there is nothing beyond, and the rim is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from celltally.density import density_map
from celltally.density.inside import inside, inside_any
from celltally.learn.batches import SIGMA
from celltally.learn.regions.reviewed import ReviewedImage, region_count
from celltally.scale import MARGIN, density_grid, thumbnail
from celltally.types import Grid, Region

__all__ = ["Source", "Window", "teaching_windows", "windows_of"]

#: Standard deviations of a dot's Gaussian that a rim is wide.
RIM = 2.0
#: Side of the largest part of a region, in model-scale pixels: larger regions are divided.
LARGEST = 320
#: How much more a place counts where a human has corrected the model.
CORRECTED_WEIGHT = 3.0
#: Deviation of the weight round a corrected dot, in cell diameters.
CORRECTED_SIGMA = 0.3


@dataclass(frozen=True)
class Source:
    """Where a window lies in its image.

    Attributes
    ----------
    dataset, image
        Names of the data set and of the image file.
    origin
        (y, x) in the image, in model-scale pixels, of the outer corner of the first pixel.
    factor
        Model-scale pixels per image pixel, along y and x.
    """

    dataset: str
    image: str
    origin: tuple[float, float]
    factor: tuple[float, float]

    def to_image(self, y: float, x: float) -> tuple[float, float]:
        """Position in image pixels of one in the window, both from the middle of a pixel."""
        places = (
            (at + 0.5 + first) / factor - 0.5
            for at, first, factor in zip((y, x), self.origin, self.factor, strict=True)
        )
        return next(places), next(places)


@dataclass(frozen=True, eq=False)
class Window:
    """A part of an image round a region, or round a part of one.

    Attributes
    ----------
    values
        ``(C, H, W)`` float32 at model scale; zeros beyond the image.
    thumbnail
        ``(3, 64, 64)`` of the whole image.
    target
        ``(1, h, w)`` density of the known dots.
    weight
        ``(1, h, w)``: 0 where nothing is known, 1 where it is, more where a human has
        corrected. Of a region with a stated count its share of each density cell.
    stated
        The count that is stated for what ``weight`` marks; None where dots are known.
    cells
        Number of known cells, or the stated count.
    source
        Where it was cut out; None for what is not to be named.
    """

    values: Tensor
    thumbnail: Tensor
    target: Tensor
    weight: Tensor
    stated: float | None
    cells: float
    source: Source | None = None

    @property
    def pixels(self) -> int:
        """How many there are."""
        return int(self.values.shape[1] * self.values.shape[2])


def teaching_windows(
    image: ReviewedImage, *, nominal_px: float, stride: int, multiple: int
) -> list[Window]:
    """Windows of all regions of an image that teach; audit regions are hidden from them."""
    hidden = [*image.judging, *image.excluded]
    return windows_of(
        image, image.teaching, hidden, nominal_px=nominal_px, stride=stride, multiple=multiple
    )


def windows_of(
    image: ReviewedImage,
    regions: Sequence[Region],
    hidden: Sequence[Region] = (),
    *,
    nominal_px: float,
    stride: int,
    multiple: int,
) -> list[Window]:
    """Windows of regions of an image.

    Parameters
    ----------
    image
        Of a constant one there are no windows.
    regions
        Regions with dots or a stated count.
    hidden
        Regions of which nothing is to be known.
    nominal_px
        Cell diameter at model scale.
    stride, multiple
        Of the network.
    """
    values = image.values() if regions else None
    if values is None:
        return []
    sketch = _Sketch(image, values, nominal_px, stride, multiple)
    closed = np.zeros(sketch.shape, dtype=bool)
    for region in hidden:
        closed |= sketch.fill(region)
    dotted = [r for r in regions if r.by_dots]
    known = np.zeros(sketch.shape, dtype=bool)
    for region in dotted:
        known |= sketch.fill(region)
    known &= ~closed
    found: list[Window] = []
    if known.any():
        asked = known
        if not known.all():  # else there is nothing to be far from
            rim = distance_transform_edt(known)
            # From the middle of one density cell to that of the nearest unknown one.
            asked = known & ((rim - 0.5) * stride >= RIM * SIGMA * nominal_px)

        def taught(yx: NDArray[np.float64]) -> NDArray[np.float64]:
            within = inside_any(yx, [region.polygon for region in dotted])
            return yx[within & ~inside_any(yx, [region.polygon for region in hidden])]

        dots = sketch.to_model(taught(image.dots.yx))
        weight = sketch.weight(asked, taught(image.corrected))
        for region in dotted:
            for box in sketch.parts(region):
                window = sketch.cut(values, box, dots, weight, None, 0.0)
                if window is not None:
                    found.append(window)
    for region in regions:
        if region.stated is None:
            continue
        share = (sketch.fill(region) & ~closed).astype(np.float32)
        count = region_count(image, region)
        window = sketch.cut(values, sketch.box(region), np.empty((0, 2)), share, count, count)
        if window is not None:
            found.append(window)
    return found


class _Sketch:
    """What is known of an image, drawn on the grid of its density."""

    def __init__(
        self, image: ReviewedImage, values: Tensor, nominal_px: float, stride: int, multiple: int
    ) -> None:
        scaled = image.scaled
        self.image, self.nominal_px = image, nominal_px
        self.stride, self.multiple = stride, multiple
        self.grid = density_grid(scaled.image_shape, scaled.shape, stride)
        self.shape = self.grid.shape
        self.factor = np.array(scaled.shape) / scaled.image_shape
        self.thumbnail = thumbnail(values)

    def to_model(self, yx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions at model scale; pixel edges fall on pixel edges."""
        return np.asarray((yx + 0.5) * self.factor - 0.5)

    def box(self, region: Region) -> tuple[int, int, int, int]:
        """Density cells ``(top, left, bottom, right)`` that a region touches."""
        corners = self.grid.to_cells(region.polygon)
        low = np.clip(np.floor(corners.min(axis=0)), 0, np.array(self.shape) - 1).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)), low + 1, self.shape).astype(int)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def parts(self, region: Region) -> Iterator[tuple[int, int, int, int]]:
        """Divide what a region touches into parts that are not too large."""
        top, left, bottom, right = self.box(region)
        most = LARGEST // self.stride
        rows = np.linspace(top, bottom, -(-(bottom - top) // most) + 1).round().astype(int)
        columns = np.linspace(left, right, -(-(right - left) // most) + 1).round().astype(int)
        for y0, y1 in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True):
            for x0, x1 in zip(columns[:-1].tolist(), columns[1:].tolist(), strict=True):
                yield y0, x0, y1, x1

    def fill(self, region: Region) -> NDArray[np.bool_]:
        """Density cells whose middle lies in a region."""
        filled = np.zeros(self.shape, dtype=bool)
        top, left, bottom, right = self.box(region)
        rows, columns = np.mgrid[top:bottom, left:right]
        middles = np.stack([rows.ravel(), columns.ravel()], axis=1) + 0.5
        within = inside(self.grid.to_image(middles), region.polygon)
        filled[top:bottom, left:right] = within.reshape(bottom - top, right - left)
        return filled

    def weight(
        self, asked: NDArray[np.bool_], corrected: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Weights of the density cells; corrected places have more."""
        weight = asked.astype(np.float32)
        sigma = CORRECTED_SIGMA * self.nominal_px / self.stride
        reach = int(np.ceil(3 * sigma))
        for y, x in self.grid.to_cells(corrected) - 0.5:
            rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 2, self.shape[0]))
            columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 2, self.shape[1]))
            if not len(rows) or not len(columns):
                continue
            near = np.exp(-((rows - y)[:, None] ** 2 + (columns - x) ** 2) / (2 * sigma**2))
            part = np.ix_(rows, columns)
            more = 1.0 + (CORRECTED_WEIGHT - 1.0) * near
            weight[part] = np.maximum(weight[part], more * asked[part])
        return weight

    def cut(
        self,
        values: Tensor,
        box: tuple[int, int, int, int],
        dots: NDArray[np.float64],
        weight: NDArray[np.float32],
        stated: float | None,
        cells: float,
    ) -> Window | None:
        """Cut a window with a margin round some density cells; None where nothing is known."""
        top, left, bottom, right = box
        own = np.zeros(self.shape, dtype=np.float32)
        own[top:bottom, left:right] = weight[top:bottom, left:right]
        if not own[top:bottom, left:right].any():
            return None
        stride, margin = self.stride, MARGIN // self.stride
        y0, x0 = top - margin, left - margin
        whole = self.multiple // stride
        height = -(-(bottom + margin - y0) // whole) * whole
        width = -(-(right + margin - x0) // whole) * whole
        shape = np.array(values.shape[1:])
        origin = np.array([y0, x0]) * stride
        extent = np.concatenate([-0.5 - origin, shape - origin - 0.5])
        grid = Grid((height, width), (float(stride),) * 2)
        y_first, x_first, y_last, x_last = (float(e) for e in extent)
        target = density_map(
            dots - origin, grid, SIGMA * self.nominal_px,
            extent=(y_first, x_first, y_last, x_last),
        )  # fmt: skip
        asked = _window(torch.from_numpy(own)[None], y0, x0, height, width)
        inside_box = (dots >= (np.array([top, left]) * stride - 0.5)) & (
            dots < (np.array([bottom, right]) * stride - 0.5)
        )
        return Window(
            values=_window(
                values.float(), y0 * stride, x0 * stride, height * stride, width * stride
            ),
            thumbnail=self.thumbnail,
            target=torch.from_numpy(target)[None],
            weight=asked,
            stated=stated,
            source=Source(
                self.image.dataset.name,
                self.image.name,
                (float(origin[0]), float(origin[1])),
                (float(self.factor[0]), float(self.factor[1])),
            ),
            cells=cells if stated is not None else float(inside_box.all(axis=1).sum()),
        )


def _window(values: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Cut a part of ``(C, h, w)``, zeros beyond its borders."""
    cut = values.new_zeros(values.shape[0], height, width)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, values.shape[1]), min(left + width, values.shape[2])
    if y1 > y0 and x1 > x0:
        cut[:, y0 - top : y1 - top, x0 - left : x1 - left] = values[:, y0:y1, x0:x1]
    return cut

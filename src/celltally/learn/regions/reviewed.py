"""What people reviewed: regions of images in which something is known, and nothing beyond.

A reviewed region says where every cell in it is, one with a stated count only how many there
are; excluded regions say nothing, and so does all that lies outside. Audit regions were drawn at
random and never teach: they judge.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from celltally.density.inside import inside, inside_any
from celltally.density.overlay import Overlay
from celltally.errors import UserError
from celltally.io import read_dots, read_image, read_regions, select_pixels
from celltally.learn.data import Dataset, Sample, read_dataset, sample_dots
from celltally.network_input import ScaledImage, scaled_image
from celltally.preprocess import normalise
from celltally.scale import rescale
from celltally.types import Dots, Progress, Region

__all__ = ["ReviewedImage", "iter_reviewed", "open_outline", "region_count"]

#: A region must hold at least a square of so many cell diameters a side.
LEAST_SIDE = 1.0
#: No two cells are nearer to each other than this many diameters, on the average of a region.
CLOSEST = 1 / 3
#: Dots nearer to each other than this many diameters are one cell twice.
DOUBLE = 0.1
#: Regions with a stated count cannot be divided, and teach up to this side at model scale.
LARGEST_STATED = 1024
#: States of dots that a human has changed.
CORRECTED = ("added", "moved", "removed")


@dataclass(frozen=True, eq=False)
class ReviewedImage:
    """One image and what is known of parts of it.

    Attributes
    ----------
    dataset, sample
        Where it comes from; ``sample.group`` is what is independent.
    scaled
        Its size at model scale, and what it looks like; without its values, for those of many
        images do not fit into the memory.
    teaching
        Regions that teach: reviewed ones, and those with a stated count.
    judging
        Audit regions.
    excluded
        Regions of which nothing is known.
    dots
        Without those that were removed.
    corrected
        ``(n, 2)`` places, in image pixels, where a human added, moved or removed a dot.
    """

    dataset: Dataset
    sample: Sample
    scaled: ScaledImage
    teaching: tuple[Region, ...]
    judging: tuple[Region, ...]
    excluded: tuple[Region, ...]
    dots: Dots
    corrected: NDArray[np.float64]

    @property
    def name(self) -> str:
        """What the person who reviewed it calls it."""
        return self.sample.name

    def pixels(self) -> NDArray[Any]:
        """Read the pixels, ``(H, W)`` or ``(H, W, 3)``."""
        return select_pixels(read_image(self.sample.image), channel=self.dataset.channel)

    def values(self) -> Tensor | None:
        """Read the pixels at model scale, ``(C, h, w)``; None for what shows nothing."""
        values, scaling = normalise(self.pixels())
        return None if scaling.empty else rescale(values, self.scaled.shape)


def region_count(image: ReviewedImage, region: Region) -> float:
    """Return what a human counted in a region: the stated count, else the number of dots.

    Nothing is known of what is excluded, so dots there are not counted.
    """
    if region.stated is not None:
        return float(region.stated)
    yx = image.dots.yx
    excluded = inside_any(yx, [r.polygon for r in image.excluded])
    return float((inside(yx, region.polygon) & ~excluded).sum())


def open_outline(region: Region, excluded: Sequence[Region]) -> NDArray[np.float64]:
    """Outline of what is not excluded of a region, as ``RegionSums.along`` takes it."""
    overlay = Overlay([[region.polygon], [r.polygon for r in excluded]])
    return overlay.outline(lambda within: np.asarray(within[0] & ~within[1]))


def iter_reviewed(
    folders: Sequence[Path], nominal_px: float
) -> Generator[Progress, None, tuple[list[ReviewedImage], tuple[str, ...]]]:
    """Read what was reviewed in data set folders, at model scale.

    An image without regions is known as a whole.

    Parameters
    ----------
    folders
        Data set folders.
    nominal_px
        Cell diameter at model scale.

    Returns
    -------
    images
        Those with regions that teach or judge.
    notes
        Sentences on regions that were left out.

    Raises
    ------
    UserError
        For folders that are no data sets, a stated count that cannot be, dots that lie on
        each other, or where all regions that would teach are left out.
    """
    pairs = []
    for folder in {f.resolve(): f for f in folders}.values():
        dataset = read_dataset(folder, partly=True)
        pairs += [(dataset, sample) for sample in dataset.samples]
    images, notes = [], []
    for done, (dataset, sample) in enumerate(pairs, start=1):
        image, left_out = _read(dataset, sample, nominal_px)
        notes += left_out
        if image.teaching or image.judging:
            images.append(image)
        yield Progress(done, len(pairs), "reading")
    if notes and not any(image.teaching for image in images):
        raise UserError(f"{notes[0].removesuffix('.')}, and nothing else was reviewed; review more")
    return images, tuple(notes)


def _read(dataset: Dataset, sample: Sample, nominal_px: float) -> tuple[ReviewedImage, list[str]]:
    name = sample.name
    pixels = select_pixels(read_image(sample.image), channel=dataset.channel)
    scaled = scaled_image(pixels, dataset.diameter_px, nominal_px)
    height, width = scaled.image_shape
    edges = np.array([(0, 0), (0, width), (height, width), (height, 0)]) - 0.5
    everything = Dots.new() if sample.dots is None else read_dots(sample.dots)
    dots = Dots.new() if sample.dots is None else sample_dots(sample, scaled.image_shape)
    regions = [] if sample.regions is None else read_regions(sample.regions)
    excluded = tuple(r for r in regions if r.kind == "exclude")
    said = [r for r in regions if r.kind != "exclude" and (r.by_dots or r.stated is not None)]
    known = [r for r in said if r.stated is not None or sample.dots is not None]
    labelled = sample.dots is not None or sample.count is not None
    if labelled and not said and not excluded:
        stated = None if sample.dots is not None else sample.count
        known = said = [Region(edges, "reviewed", stated=stated, id=sample.stem)]
    areas = [_shared_area(region.polygon, edges, excluded) for region in known]
    least = (LEAST_SIDE * scaled.diameter_px) ** 2
    kept = [region for region, area in zip(known, areas, strict=True) if area >= least]
    lost = [region for region, area in zip(known, areas, strict=True) if area < least]
    a_cell = f"a cell of {scaled.diameter_px:.3g} px"
    small = sum(_shared_area(region.polygon, region.polygon) < least for region in lost)
    for region, area in zip(known, areas, strict=True):
        if area >= least:
            _check_stated(region, area, scaled.diameter_px, name)
    judging = tuple(r for r in kept if r.kind == "audit")
    teaching = [r for r in kept if r.kind != "audit"]
    large = [r for r in teaching if r.stated is not None and _side(r, scaled) > LARGEST_STATED]
    # What the count of the rest would be is not known.
    shared = [
        r
        for r in teaching
        if r.stated is not None
        and any(_shared_area(r.polygon, audit.polygon) > 1.0 for audit in judging)
    ]
    notes = [
        _left_out(len(said) - len(known), name, "without a file of dots"),
        _left_out(small, name, f"smaller than {a_cell}"),
        _left_out(
            len(lost) - small,
            name,
            f"excluded or outside of the image but for less than {a_cell}",
        ),
        _left_out(len(large), name, "too large to learn from a stated count"),
        _left_out(
            len(shared),
            name,
            "reached into by an audit region, so that the stated count of the rest is unknown",
        ),
    ]
    for region in (r for r in kept if r.stated is None):
        _check_doubles(dots.yx[inside(dots.yx, region.polygon)], scaled.diameter_px, name)
    left_out = {r.id for r in (*large, *shared)}
    touched = np.isin(everything.state, CORRECTED)
    return ReviewedImage(
        dataset=dataset,
        sample=sample,
        scaled=replace(scaled, values=None),
        teaching=tuple(r for r in teaching if r.id not in left_out),
        judging=judging,
        excluded=excluded,
        dots=dots,
        corrected=everything.yx[touched],
    ), [note for note in notes if note]


def _left_out(number: int, name: str, why: str) -> str:
    if not number:
        return ""
    more = number > 1
    return f"{number} region{'s' * more} of {name} {'are' if more else 'is'} {why}, and left out."


def _side(region: Region, scaled: ScaledImage) -> float:
    """Larger side of a region at model scale."""
    factor = np.array(scaled.shape) / scaled.image_shape
    return float(((region.polygon.max(axis=0) - region.polygon.min(axis=0)) * factor).max())


def _shared_area(
    polygon: NDArray[np.float64], other: NDArray[np.float64], excluded: Sequence[Region] = ()
) -> float:
    """Area of what two polygons share and is not excluded, in square pixels."""
    overlay = Overlay([[polygon], [other], [r.polygon for r in excluded]])
    outline = overlay.outline(lambda within: np.asarray(within[0] & within[1] & ~within[2]))
    (y0, x0), (y1, x1) = outline.transpose(1, 2, 0)
    return float(((x0 + x1) / 2 * (y1 - y0)).sum())


def _check_stated(region: Region, area: float, diameter_px: float, name: str) -> None:
    most = area / (CLOSEST * diameter_px) ** 2
    if region.stated is None or 0 <= region.stated <= most:
        return
    if not region.stated >= 0:
        raise UserError(
            f"a region of {name} is stated to have {region.stated:,g} cells; mend the count"
        )
    raise UserError(
        f"a region of {name} is stated to have {region.stated:,.0f} cells, but no "
        f"more than about {most:,.0f} of {diameter_px:.3g} px fit into it; mend the count, or "
        "the cell diameter"
    )


def _check_doubles(yx: NDArray[np.float64], diameter_px: float, name: str) -> None:
    """Refuse regions in which most dots lie on others."""
    if len(yx) < 2:
        return
    distances, _ = cKDTree(yx).query(yx, k=2)
    doubles = int((distances[:, 1] < DOUBLE * diameter_px).sum())
    if doubles > len(yx) / 2:
        y, x = yx[np.argmin(distances[:, 1])]
        raise UserError(
            f"{doubles} of {len(yx)} dots in a reviewed region of {name} lie on "
            f"others (such as at y = {y:.0f}, x = {x:.0f}); leave one dot a cell"
        )

"""Data sets as the papers of the published systems prepared them.

The papers fix the size of what a network sees, whatever the size of the cells in it; this
program fixes the size of the cells. A *protocol* is written here as a data set folder of
its own, whose images have the paper's size, and networks learn and count on it pixel for
pixel: its cell diameter is their nominal one.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.io import imread, imsave
from skimage.transform import resize

from celltally.errors import UserError
from celltally.learn.data import Dataset, Sample, hash_samples, read_dataset, sample_dots
from celltally.record import sha256_of

__all__ = ["PROTOCOLS", "Protocol", "prepare"]


#: In the names of images: behind their group, and of those that are out of focus.
GROUP, BLURRED = "__", "__out-of-focus"


@dataclass(frozen=True)
class Protocol:
    """What a paper does to its images before a network sees them.

    Attributes
    ----------
    height, width
        Size of every image in pixels.
    quarters
        Whether images are cut into quarters before.
    """

    height: int
    width: int
    quarters: bool = False


#: ``dcl``: DCL (MICCAI 2024) cuts the images of `mbm` into quarters. ``countxplain``:
#: CountXplain (MIDL 2025), whose density at 1/8 is CSRNet's stride. ``hernandez``:
#: Hernández et al. 2018, §4.
PROTOCOLS = {
    "dcl": Protocol(256, 256, quarters=True),
    "countxplain": Protocol(256, 256),
    "hernandez": Protocol(192, 256),
}


def prepare(name: str, folder: Path, parts: Sequence[str], out: Path) -> Path:
    """Write parts of a set as a protocol has it, unless that has been done.

    Parameters
    ----------
    name
        Of the protocol.
    folder, parts
        Folder of the set, and which of its parts.
    out
        Where sets of protocols are kept.

    Returns
    -------
    Path
        Folder of the new set, called ``<set>-<protocol>``, with these parts.

    Raises
    ------
    UserError
        For an unknown protocol, a set without a cell diameter, and where counts without
        dots would be cut.
    """
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol {name!r}; choose among {', '.join(PROTOCOLS)}")
    datasets = [read_dataset(folder / part) for part in parts]
    key = sha256_of(" ".join(hash_samples(d.samples) for d in datasets).encode())[:10]
    place = out / key / f"{folder.name}-{name}"
    for part, dataset in zip(parts, datasets, strict=True):
        if not (place / part).is_dir():
            _write(name, dataset, place / f"{part}.unfinished").rename(place / part)
    return place


def _write(name: str, dataset: Dataset, folder: Path) -> Path:
    """Write a data set folder as a protocol has it."""
    protocol = PROTOCOLS[name]
    if dataset.diameter_px is None:
        raise UserError(
            f"{dataset.folder} states no diameter_px, which the protocol {name!r} needs; "
            "leave this set out"
        )
    shutil.rmtree(folder, ignore_errors=True)
    for kind in ("images", "dots", "masks"):
        (folder / kind).mkdir(parents=True)
    counts, scales = {}, []
    for sample in dataset.samples:
        for piece in _pieces(sample, protocol):
            piece.write(folder)
            scales.append(piece.scale)
            if piece.count is not None:
                counts[f"{piece.stem}.tif"] = piece.count
    if counts:
        table = pd.DataFrame({"image": list(counts), "count": list(counts.values())})
        table.to_csv(folder / "counts.csv", index=False)
    meta = {
        "name": dataset.name,
        "diameter_px": round(dataset.diameter_px * float(np.mean(scales)), 2),
        "channel": dataset.channel,
        "licence": dataset.licence,
        # The names of the images tell it, whatever the set's own pattern was.
        "group_pattern": rf"^(.+?){GROUP}",
        "in_focus_pattern": rf"^(?!.*{BLURRED})",
    }
    (folder / "dataset.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class _Piece:
    """An image of a protocol; ``scale`` is its pixels per pixel of the file."""

    stem: str
    pixels: NDArray[Any]
    scale: float
    yx: NDArray[np.float64] | None
    mask: NDArray[Any] | None
    count: float | None

    def write(self, folder: Path) -> None:
        imsave(folder / "images" / f"{self.stem}.tif", self.pixels, check_contrast=False)
        if self.yx is not None:
            table = pd.DataFrame(self.yx, columns=["y", "x"])
            table.to_csv(folder / "dots" / f"{self.stem}.csv", index=False)
        if self.mask is not None:
            imsave(folder / "masks" / f"{self.stem}.png", self.mask, check_contrast=False)


def _pieces(sample: Sample, protocol: Protocol) -> Iterator[_Piece]:
    """Cut and resize an image with all that is known of it."""
    pixels = imread(sample.image)
    height, width = pixels.shape[:2]
    mask = None if sample.mask is None else imread(sample.mask)
    yx = None if sample.dots is None else sample_dots(sample, (height, width)).yx
    if protocol.quarters and yx is None:
        raise UserError(
            f"{sample.image} has a count and no dots, so the counts of its quarters are not "
            "known; leave this set out"
        )
    parts = 2 if protocol.quarters else 1
    edges = [np.linspace(0, side, parts + 1).round().astype(int) for side in (height, width)]
    for i in range(parts):
        for j in range(parts):
            low = np.array([edges[0][i], edges[1][j]])
            high = np.array([edges[0][i + 1], edges[1][j + 1]])
            window = slice(low[0], high[0]), slice(low[1], high[1])
            scale = np.array([protocol.height, protocol.width]) / (high - low)
            inside = None
            if yx is not None:
                inside = yx[((yx >= low - 0.5) & (yx < high - 0.5)).all(axis=1)]
                inside = (inside - low + 0.5) * scale - 0.5
            yield _Piece(
                stem=_stem(sample) + (f"_q{2 * i + j + 1}" if protocol.quarters else ""),
                pixels=_resized(pixels[window], protocol),
                scale=math.sqrt(scale.prod()),
                yx=inside,
                mask=None if mask is None else _resized(mask[window], protocol, labels=True),
                count=None if protocol.quarters else sample.count,
            )


def _stem(sample: Sample) -> str:
    """Name of an image that tells its group, and whether it is in focus."""
    group = re.sub(r"[^\w.-]+", "-", sample.group.partition("/")[2])
    return f"{group}{GROUP}{sample.stem}{'' if sample.in_focus else BLURRED}"


def _resized(pixels: NDArray[Any], protocol: Protocol, labels: bool = False) -> NDArray[Any]:
    """Resize an image, or labels, which are not to be mixed; the type stays."""
    options: dict[str, Any] = {"order": 0 if labels else 1, "anti_aliasing": not labels}
    shape = (protocol.height, protocol.width)
    resized = resize(pixels, shape, preserve_range=True, **options)
    if np.issubdtype(pixels.dtype, np.integer):
        resized = resized.round()
    return resized.astype(pixels.dtype)

"""What prototypes look like: their training patches, or the patches of an image like them."""

from __future__ import annotations

import importlib
import io
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from celltally.record import PrototypeRecord

__all__ = [
    "COLOURS",
    "PATCHES",
    "PATCH_DIAMETERS",
    "PICTURE",
    "RINGS",
    "Patch",
    "patch_picture",
    "training_patches",
    "write_gallery",
]

#: Patches shown per prototype.
PATCHES = 3
#: Side of a patch in cell diameters, and of its picture in pixels.
PATCH_DIAMETERS, PICTURE = 4.0, 96
#: Of the kinds of prototypes, on white.
COLOURS = {"cell": "#b3261e", "background": "#1f5fa8"}
#: Of the rings in the pictures, which may be dark.
RINGS = {"cell": "#ff6b5e", "background": "#5aa9ff"}
#: Inches of a picture in the gallery, between two, of a line of text, and of the border.
_SIDE, _GAP, _LINE, _EDGE = 0.95, 0.1, 0.17, 0.3


@dataclass(frozen=True, eq=False)
class Patch:
    """A place that is like a prototype.

    Attributes
    ----------
    picture
        ``(PICTURE, PICTURE)`` or ``(PICTURE, PICTURE, 3)`` uint8.
    source
        Name of the training data set; "" for the image that is explained.
    y, x
        Image coordinates of its middle.
    similarity
        To the prototype.
    """

    picture: NDArray[np.uint8]
    source: str
    y: float
    x: float
    similarity: float


def patch_picture(
    values: Tensor, cell: tuple[int, int], stride: int, nominal_px: float
) -> NDArray[np.uint8]:
    """Picture of a place of an image at model scale; black beyond the image's border.

    Parameters
    ----------
    values
        ``(C, h, w)``, C = 1 or 3, 0 … 1.
    cell
        Density cell in its middle.
    stride
        Model-scale pixels per density cell.
    nominal_px
        Cell diameter at model scale.
    """
    half = round(PATCH_DIAMETERS * nominal_px / 2)
    middle = [c * stride + stride // 2 for c in cell]
    spans = [
        (max(m - half, 0), min(m + half, side))
        for m, side in zip(middle, values.shape[1:], strict=True)
    ]
    (y0, y1), (x0, x1) = spans
    (top, bottom), (left, right) = (
        (low - (m - half), m + half - high) for m, (low, high) in zip(middle, spans, strict=True)
    )
    patch = functional.pad(values[:, y0:y1, x0:x1].float(), (left, right, top, bottom))
    picture = functional.interpolate(patch[None], (PICTURE, PICTURE), mode="nearest")[0]
    pixels: NDArray[np.uint8] = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def training_patches(record: PrototypeRecord, pictures: Mapping[str, bytes]) -> tuple[Patch, ...]:
    """Training patches of a prototype whose pixels may be shown, best first.

    Parameters
    ----------
    record
        The prototype's.
    pictures
        PNG files of the model, by name.
    """
    return tuple(
        Patch(
            np.asarray(imageio.imread(io.BytesIO(pictures[p.png]), extension=".png")),
            p.dataset,
            p.y,
            p.x,
            p.similarity,
        )
        for p in record.patches
        if p.png is not None and p.png in pictures
    )


def write_gallery(
    path: Path,
    rows: Sequence[Sequence[Patch]],
    kinds: Sequence[str],
    title: str,
    *,
    new: Container[int] = (),
) -> tuple[str, ...]:
    """Draw every prototype with its patches: cell prototypes left, background ones right.

    Parameters
    ----------
    path
        The PNG file.
    rows
        Patches of each prototype.
    kinds
        ``cell`` or ``background`` for each.
    title
        What it is a gallery of.
    new
        Numbers of the prototypes that are marked as new.

    Returns
    -------
    tuple of str
        Sentences for the user: why there is no gallery.
    """
    try:
        # Not pyplot: it would pick a window system.
        figure_type = importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        return (f"there is no {path.name} because matplotlib is missing: pip install matplotlib",)
    groups = [[k for k, kind in enumerate(kinds) if kind == group] for group in COLOURS]
    row_height = _SIDE + 2 * _LINE + 2 * _GAP
    block = PATCHES * (_SIDE + _GAP)
    width = 2 * block + 3 * _EDGE
    height = max(map(len, groups)) * row_height + 2 * _EDGE + 4 * _LINE
    figure = figure_type(figsize=(width, height), dpi=120)
    figure.text(_EDGE / width, 1 - _EDGE / height, title, fontsize=9, va="top", parse_math=False)
    for column, numbers in enumerate(groups):
        left = _EDGE + column * (block + _EDGE)
        for row, k in enumerate(numbers):
            top = height - _EDGE - 4 * _LINE - row * row_height
            figure.text(
                left / width,
                (top - _LINE) / height,
                f"p{k} · {kinds[k]}{' · new' if k in new else ''}",
                color=COLOURS[kinds[k]],
                fontsize=9,
                fontweight="bold",
                va="bottom",
            )
            if not rows[k]:
                figure.text(
                    left / width, (top - 2 * _LINE) / height, "no picture", fontsize=8, va="top"
                )
            for rank, patch in enumerate(rows[k][:PATCHES]):
                x = left + rank * (_SIDE + _GAP)
                place = (x / width, (top - _LINE - _SIDE) / height, _SIDE / width, _SIDE / height)
                _draw(figure.add_axes(place), patch, kinds[k])
    figure.savefig(path, metadata={"Software": "celltally"})
    return ()


def _draw(axes: Any, patch: Patch, kind: str) -> None:
    axes.imshow(patch.picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    # A cell diameter wide, around the place itself: the rest is its surroundings.
    middle = (PICTURE - 1) / 2
    angle = np.linspace(0, 2 * np.pi, 60)
    ring = middle + PICTURE / PATCH_DIAMETERS / 2 * np.stack([np.cos(angle), np.sin(angle)])
    axes.plot(*ring, color=RINGS[kind], linewidth=1)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(COLOURS[kind])
    axes.set_xlabel(
        f"{patch.source or 'this image'} · {patch.similarity:.1f}",
        fontsize=7,
        labelpad=2,
        parse_math=False,
    )

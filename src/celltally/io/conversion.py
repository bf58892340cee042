"""A file of dots, or of a density, in another format."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celltally.errors import UserError
from celltally.io._files import reason
from celltally.io.density import is_celltally_density, write_density
from celltally.io.density_read import read_density
from celltally.io.dots import (
    DotFormat,
    dot_format,
    format_for,
    read_dots,
    recognised,
    what_is_lost,
    write_dots,
)
from celltally.io.provenance import read_provenance
from celltally.io.regions import read_regions
from celltally.types import Dots

__all__ = ["Converted", "convert"]

_DENSITIES = {".tif": "density TIFF", ".tiff": "density TIFF", ".zarr": "density OME-Zarr"}


@dataclass(frozen=True)
class Converted:
    """What was converted.

    Attributes
    ----------
    source, target
        Names of the formats.
    dots
        Number of dots that were written; None for a density.
    count
        Sum of the density; None for dots.
    lost
        Sentences about what the new format cannot hold.
    """

    source: str
    target: str
    dots: int | None
    count: float | None
    lost: list[str]


def convert(
    path: str | Path,
    out: str | Path,
    *,
    source: str | None = None,
    target: str | None = None,
    image: str = "",
    pixel_size_um: tuple[float, float] | None = None,
    planes: int | None = None,
) -> Converted:
    """Write a file of dots, or a density of ours, in another format.

    Parameters
    ----------
    path
        What to convert.
    out
        Where to; a file that is there is replaced only if it has the same format and holds
        nothing that the new one has not.
    source, target
        Names of formats of dots; without, the header of ``path`` and the suffix of ``out``
        decide.
    image, pixel_size_um, planes
        As of ``write_dots``; without ``image`` what stands beside the dots says it, else
        the name of their file.

    Raises
    ------
    UserError
        As ``read_dots`` and ``write_dots``, and when something in ``out`` would be lost.
    """
    path, out = Path(path), Path(out)
    if out.exists() and path.exists() and out.samefile(path):
        raise UserError(f"{out} is the file that is to be converted; choose another name")
    if source is None and is_celltally_density(path):
        return _convert_density(path, out, target)
    known = dot_format(target) if target is not None else format_for(out)
    origin = source or _found(path)
    dots = read_dots(path, format=source)
    told = read_provenance(path)
    about: dict[str, Any] = {
        "image": image or (told.image if told is not None else "") or path.stem,
        "pixel_size_um": pixel_size_um or (told.pixel_size_um if told is not None else None),
        "planes": planes,
    }
    lost = [*_left_behind(path, origin), *what_is_lost(dots, known.name)]
    if out.exists():
        _check_nothing_lost(out, dots, known, about)
    write_dots(out, dots, format=known.name, provenance=told, **about)
    kept = len(dots) if known.keeps.removed else int((dots.state != "removed").sum())
    return Converted(origin, known.name, kept, None, lost)


def _found(path: Path) -> str:
    known = recognised(path)
    return known.name if known is not None else format_for(path).name


def _left_behind(path: Path, origin: str) -> list[str]:
    """Say what else than dots is in the file."""
    outlines = len(read_regions(path)) if origin == "qupath" else 0
    if not outlines:
        return []
    are = "outline is no dot and is" if outlines == 1 else "outlines are no dots and are"
    return [f"{outlines} {are} left out."]


def _check_nothing_lost(out: Path, dots: Dots, known: DotFormat, about: dict[str, Any]) -> None:
    """Refuse to write over a file that holds anything which the new one will not hold."""
    other = UserError(f"{out} exists and is no {known.title} file; choose another name")
    try:
        there = recognised(out)
    except UserError:
        raise other from None
    if there is None or there.name != known.name:
        raise other
    before = _rows(read_dots(out, format=known.name), known)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder) / f"trial{known.suffixes[0] if known.suffixes else '.csv'}"
            write_dots(trial, dots, format=known.name, **about)
            after = _rows(read_dots(trial, format=known.name), known)
    except OSError as error:
        raise UserError(
            f"{out} cannot be replaced ({reason(error)}); choose another name"
        ) from None
    gone = (before - after).total()
    if not gone and known.name == "qupath":
        gone = len(read_regions(out))
    if gone:
        what = "an entry" if gone == 1 else f"{gone} entries"
        raise UserError(f"{out} exists and has {what} that would be lost; choose another name")


def _rows(dots: Dots, known: DotFormat) -> Counter[tuple[object, ...]]:
    columns = [
        *(dots.yx[:, 0].tolist(), dots.yx[:, 1].tolist(), dots.t.tolist(), dots.z.tolist()),
        *(dots.label.tolist(), [str(score) for score in dots.score]),
        *(dots.state.tolist(), dots.source.tolist()),
    ]
    if known.keeps.id:
        columns.append(dots.id.tolist())
    return Counter(zip(*columns, strict=True))


def _convert_density(path: Path, out: Path, target: str | None) -> Converted:
    kind = _DENSITIES.get(out.suffix.lower())
    if kind is None or target is not None:
        raise UserError(
            f"{path} is a density, which has no dots; give {out} the suffix .tif or .zarr "
            "and no format of dots"
        )
    found = read_density(path)
    if out.exists():
        if not is_celltally_density(out):
            raise UserError(f"{out} exists and is no density of ours; choose another name")
        before = read_density(out)
        if before.grid != found.grid or not np.array_equal(before.density, found.density):
            raise UserError(f"{out} is another density, which would be lost; choose another name")
    write_density(out, found, found.pixel_size_um)
    origin = "density OME-Zarr" if path.is_dir() else "density TIFF"
    return Converted(origin, kind, None, found.count, [])

"""Dots in files: one ``DotFormat`` a format; the header decides, then the suffix.

A further format is a file with a ``DotFormat`` of three small functions, named in
``DOT_FORMATS``; put the narrower header before the wider one.
"""

from __future__ import annotations

from pathlib import Path

from celltally.errors import UserError
from celltally.io._files import read_head, unreadable, write_atomically
from celltally.io.dots._format import About, DotFormat, Keeps
from celltally.io.dots._losses import losses
from celltally.io.dots.cell_counter import CELL_COUNTER
from celltally.io.dots.cellfinder import CELLFINDER, CELLFINDER_YAML
from celltally.io.dots.celltally import CELLTALLY, is_ours
from celltally.io.dots.imagej import IMAGEJ, IMAGEJ_ROI
from celltally.io.dots.napari import NAPARI
from celltally.io.dots.qupath import QUPATH
from celltally.io.dots.qupath_points import QUPATH_POINTS
from celltally.io.dots.spotiflow import SPOTIFLOW
from celltally.io.provenance import (
    Provenance,
    check_sidecar,
    remove_sidecar,
    write_sidecar,
)
from celltally.types import Dots

__all__ = [
    "DOT_FORMATS",
    "About",
    "DotFormat",
    "Keeps",
    "dot_format",
    "format_for",
    "is_celltally_dots",
    "read_dots",
    "recognised",
    "what_is_lost",
    "write_dots",
]

#: Of a file's beginning: QuPath's features may have many coordinates before their type.
_HEAD = 2**16

DOT_FORMATS: tuple[DotFormat, ...] = (
    NAPARI,
    CELLTALLY,
    QUPATH_POINTS,
    SPOTIFLOW,
    CELL_COUNTER,
    CELLFINDER,
    CELLFINDER_YAML,
    IMAGEJ,
    IMAGEJ_ROI,
    QUPATH,
)


def read_dots(path: str | Path, *, format: str | None = None) -> Dots:  # noqa: A002
    """Read dots.

    Parameters
    ----------
    path
        The file.
    format
        Name of one of ``DOT_FORMATS``; without, the file's header decides, then
        its suffix.

    Returns
    -------
    Dots
        In pixels of the full-resolution image, origin at the centre of the
        top-left pixel. Missing ids are drawn, and an id that occurs twice is
        kept by its first dot only.

    Raises
    ------
    UserError
        When the file is missing, empty, broken, unsafe, of an unknown format, or
        has a coordinate that is no finite number (it names the place).
    """
    path = Path(path)
    head = read_head(path, _HEAD)
    known = _recognised(head) if format is None else dot_format(format)
    if known is None:
        known = next((f for f in DOT_FORMATS if path.suffix.lower() in f.suffixes), None)
    if known is None:
        raise UserError(
            f"{path} is in no format of dots that can be read ({_names()}); "
            "a CSV file with the columns y,x is enough"
        )
    try:
        return known.read(path)
    except (MemoryError, RecursionError) as error:
        raise unreadable(path, error) from None


def recognised(path: str | Path) -> DotFormat | None:
    """Return the format that a file begins as; None for any other file.

    Raises
    ------
    UserError
        When the file is missing or empty, a folder, or may not be read.
    """
    return _recognised(read_head(Path(path), _HEAD))


def _recognised(head: bytes) -> DotFormat | None:
    return next((known for known in DOT_FORMATS if known.recognises(head)), None)


def is_celltally_dots(path: str | Path) -> bool:
    """Whether a file begins as those do that ``write_dots`` writes in our own format."""
    try:
        return is_ours(read_head(Path(path), _HEAD))
    except UserError:
        return False


def write_dots(
    path: str | Path,
    dots: Dots,
    *,
    format: str = "celltally",  # noqa: A002
    image: str = "",
    pixel_size_um: tuple[float, float] | None = None,
    planes: int | None = None,
    provenance: Provenance | None = None,
) -> None:
    """Write dots; the file is complete or, on any error, as it was before.

    What a format cannot hold is left out: ``what_is_lost`` says what.

    Parameters
    ----------
    path
        Where to.
    dots
        What to write.
    format
        Name of one of ``DOT_FORMATS``.
    image, pixel_size_um, planes
        File name, ``(y, x)`` in micrometres and number of z planes of the image; Cell Counter
        states them.
    provenance
        How the dots came about. It goes into ``<path>.json``, for formats that are tables;
        without it, one that is left from before is removed, for it would no longer be true.

    Raises
    ------
    UserError
        When the format is unknown, cannot be written or cannot hold any of these dots, or
        the folder cannot be written to.
    """
    known = dot_format(format)
    if known.write is None:
        raise UserError(f"dots cannot be written as {format!r}, only read; choose another format")
    path = Path(path)
    if provenance is not None:
        image = image or provenance.image
        pixel_size_um = pixel_size_um or provenance.pixel_size_um
    content = known.write(dots, About(image, pixel_size_um, planes))
    beside = provenance if known.sidecar else None
    if beside is not None:
        check_sidecar(path)  # before anything is written
    write_atomically(path, content)
    if beside is not None:
        write_sidecar(path, beside)
    else:
        remove_sidecar(path)


def what_is_lost(dots: Dots, format: str) -> list[str]:  # noqa: A002
    """Say in sentences what a format cannot hold of some dots; none where it holds all.

    Raises
    ------
    UserError
        When the format is unknown.
    """
    return losses(dots, dot_format(format))


def dot_format(name: str) -> DotFormat:
    """Return a format by its name.

    Raises
    ------
    UserError
        When there is none of that name.
    """
    for known in DOT_FORMATS:
        if known.name == name.strip().lower():
            return known
    raise UserError(f"unknown format of dots {name!r}; valid: {_names()}")


def format_for(path: str | Path) -> DotFormat:
    """Return the format that a new file gets by its suffix.

    Raises
    ------
    UserError
        When no format has that suffix.
    """
    suffix = Path(path).suffix.lower()
    for known in DOT_FORMATS:
        if suffix in known.suffixes:
            return known
    suffixes = ", ".join(suffix for known in DOT_FORMATS for suffix in known.suffixes)
    raise UserError(
        f"{path} has no suffix that says a format of dots; give it one of {suffixes}, or name "
        f"the format: {_names()}"
    )


def _names() -> str:
    return ", ".join(known.name for known in DOT_FORMATS)

"""Dots and densities on their way to other programs: which, where to, and what is lost."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QWidget

from celltally._napari.counting import PlaneCount
from celltally.io import (
    DOT_FORMATS,
    DotFormat,
    Provenance,
    dot_format,
    format_for,
    what_is_lost,
    write_density,
    write_dots,
)
from celltally.types import Dots, Interval, Progress

__all__ = [
    "ask_for_density",
    "ask_for_dots",
    "density_job",
    "dots_job",
    "export_dots",
    "provenance",
]

#: As they are offered: ours first, then by program.
_ORDER = (
    "celltally",
    "cell-counter",
    "imagej",
    "imagej-roi",
    "qupath",
    "qupath-points",
    "cellfinder",
    "cellfinder-yaml",
    "napari",
    "spotiflow",
)


def _filters() -> dict[str, DotFormat]:
    """Return the formats by what the dialog calls them."""
    known = sorted(DOT_FORMATS, key=lambda f: _ORDER.index(f.name) if f.name in _ORDER else 99)
    return {f"{f.title} (*{_suffix(f)})": f for f in known if f.write is not None}


def _suffix(known: DotFormat) -> str:
    return known.suffixes[0] if known.suffixes else ".csv"


def ask_for_dots(parent: QWidget, stem: str) -> tuple[str, str] | None:
    """Ask where dots go, and in which program's format; None: not at all.

    The format is the one that was chosen, unless the name's suffix belongs to another.
    """
    filters = _filters()
    path, chosen = QFileDialog.getSaveFileName(
        parent, "Export dots", f"{stem} dots.csv", ";;".join(filters)
    )
    if not path:
        return None
    known = filters.get(chosen, DOT_FORMATS[0] if not filters else next(iter(filters.values())))
    suffix = Path(path).suffix.lower()
    if suffix == _suffix(known) or suffix in known.suffixes:
        return path, known.name
    if any(suffix in other.suffixes for other in DOT_FORMATS):
        return path, format_for(path).name
    path += _suffix(known)
    if Path(path).exists():  # the dialog has not asked about this one
        show_error(f"{path} exists; choose another name")
        return None
    return path, known.name


def ask_for_density(parent: QWidget, stem: str) -> str | None:
    """Ask where a density goes; None: not at all."""
    path, chosen = QFileDialog.getSaveFileName(
        parent,
        "Export density",
        f"{stem} density.tif",
        "Float TIFF, as ImageJ reads it (*.tif);;OME-Zarr (*.zarr)",
    )
    if not path:
        return None
    if Path(path).suffix.lower() in (".tif", ".tiff", ".zarr"):
        return path
    path += ".zarr" if "zarr" in chosen else ".tif"
    if Path(path).exists():
        show_error(f"{path} exists; choose another name")
        return None
    return path


def provenance(
    counted: PlaneCount,
    interval: Interval | None,
    *,
    count: float,
    threshold: float,
    author: str,
    pixel_um: float | None,
) -> Provenance:
    """Return how dots that are exported came about."""
    found = counted.prediction
    return Provenance(
        image=found.image,
        pixel_size_um=None if pixel_um is None else (pixel_um, pixel_um),
        model=found.model,
        model_sha256=found.model_sha256,
        diameter_px=float(found.diameter_px),
        threshold=float(threshold),
        count=float(count),
        ci_low=None if interval is None else float(interval.low),
        ci_high=None if interval is None else float(interval.high),
        level=None if interval is None else float(interval.level),
        interval_kind="" if interval is None else interval.kind,
        author=author,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def export_dots(
    path: str, dots: Dots, name: str, counted: PlaneCount | None, told: Provenance | None
) -> list[str]:
    """Write dots, and say what the format cannot hold.

    Raises
    ------
    UserError
        As ``write_dots``.
    """
    write_dots(path, dots, format=name, provenance=told, planes=_planes(counted))
    return what_is_lost(dots, dot_format(name).name)


def dots_job(
    path: str, dots: Dots, name: str, counted: PlaneCount | None, told: Provenance | None
) -> Generator[Progress, None, list[str]]:
    """Write dots beside the window; see ``export_dots``."""
    yield Progress(0, 1, "Saving the dots")
    return export_dots(path, dots, name, counted, told)


def _planes(counted: PlaneCount | None) -> int | None:
    """How many planes (z) the image has."""
    if counted is None or "Z" not in counted.plane.axes:
        return None
    return int(counted.plane.data.shape[counted.plane.axes.index("Z")])


def density_job(
    path: str, counted: PlaneCount, pixel_um: float | None
) -> Generator[Progress, None, Any]:
    """Write a density; returns its path."""
    yield Progress(0, 1, "Saving the density")
    size = None if pixel_um is None else (pixel_um, pixel_um)
    write_density(path, counted.prediction, size)
    return path

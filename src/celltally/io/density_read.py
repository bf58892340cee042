"""Densities back from files: TIFF and OME-Zarr, with their place on the image."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import quiet, unreadable
from celltally.io.density import is_celltally_density
from celltally.io.density_zarr import is_density_zarr, read_density_zarr
from celltally.types import Grid

__all__ = ["StoredDensity", "read_density", "read_density_stack"]


@dataclass(frozen=True, eq=False)
class StoredDensity:
    """A density as a file keeps it.

    Attributes
    ----------
    density
        ``(K, h, w)`` float32, cells per density cell; its sum is the count.
    grid
        Where its cells lie on the image.
    classes
        Names of the K classes.
    image
        File name of the image.
    pixel_size_um
        The image's ``(y, x)`` in micrometres, or None.
    model, model_sha256
        Name and identity of the model.
    """

    density: NDArray[np.float32]
    grid: Grid
    classes: tuple[str, ...]
    image: str
    pixel_size_um: tuple[float, float] | None
    model: str
    model_sha256: str

    @property
    def count(self) -> float:
        """Integral of the density over all classes, never below zero."""
        sums = self.density.sum(axis=(1, 2), dtype=np.float64)
        return float(np.maximum(sums, 0.0).sum())


def read_density(path: str | Path) -> StoredDensity:
    """Read a density that ``write_density`` wrote, by its content.

    Raises
    ------
    UserError
        When it is none, damaged, or holds several planes (``read_density_stack``).
    """
    path = Path(path)
    found, axes = read_density_stack(path)
    if found.density.shape[:-3] not in ((), (1,), (1, 1)):
        planes = math.prod(found.density.shape[:-3])
        raise UserError(
            f"{path} holds the densities of {planes} planes ({axes}), which must not be summed; "
            "open it in napari or ImageJ"
        )
    density = found.density.reshape(found.density.shape[-3:])
    return StoredDensity(**{**vars(found), "density": density})


def read_density_stack(path: str | Path) -> tuple[StoredDensity, str]:
    """Read a density of one or several planes.

    Returns
    -------
    StoredDensity
        Its ``density`` has axes before the classes', one per letter before the C of ``axes``.
    axes
        Such as ``CYX`` or ``TZCYX``.

    Raises
    ------
    UserError
        When it is no density of ours, or damaged.
    """
    path = Path(path)
    if is_density_zarr(path):
        density, facts = read_density_zarr(path)
        return _stored(path, density, facts), "CYX"
    if not is_celltally_density(path):
        raise UserError(f"{path} is no density that celltally wrote; count the image again")
    density, facts, axes = _read_tiff(path)
    return _stored(path, density, facts), axes


def _read_tiff(path: Path) -> tuple[NDArray[np.float32], dict[str, Any], str]:
    import tifffile

    try:
        with quiet("tifffile"), tifffile.TiffFile(path) as tif:
            said = dict(
                line.split("=", 1) for line in tif.pages[0].description.splitlines() if "=" in line
            )
            series = tif.series[0]
            values = np.asarray(series.asarray(), dtype=np.float32)
            axes = str(series.axes)
            resolution = [tif.pages[0].tags[name].value for name in ("YResolution", "XResolution")]
        if "C" not in axes:
            values, axes = np.expand_dims(values, -3), f"{axes[:-2]}C{axes[-2:]}"
        if axes[-3:] != "CYX":
            raise ValueError(f"its axes are {axes}")
        return values, _facts(said, resolution), axes
    except Exception as error:  # a damaged file can fail in any part of the parser
        raise unreadable(path, error) from error


def _facts(said: Mapping[str, str], resolution: list[Any]) -> dict[str, Any]:
    """Return the facts of a TIFF's description as those of a zarr."""
    step = [float(said["step_y"]), float(said["step_x"])]
    pixel: list[float] | None = None
    if said.get("unit") == "um":
        sizes = [below / above / length for (above, below), length in zip(resolution, step)]  # noqa: B905
        exact = [said.get("pixel_y"), said.get("pixel_x")]
        pixel = [float(e) if e else size for e, size in zip(exact, sizes)]  # noqa: B905
    names = said.get("class_names")
    classes = json.loads(names) if names else _text(said.get("classes", "cell")).split(", ")
    return {
        "step": step,
        "origin": [float(said["origin_y"]), float(said["origin_x"])],
        "pixel_size_um": pixel,
        "classes": classes,
        **{key: _text(said.get(key, "")) for key in ("image", "model", "model_sha256")},
    }


def _text(escaped: str) -> str:
    """Undo JSON's escapes, by which a description stays ASCII and in one line."""
    return str(json.loads(f'"{escaped}"'))


def _stored(path: Path, density: NDArray[np.float32], facts: Mapping[str, Any]) -> StoredDensity:
    try:
        step, origin = _pair(facts["step"]), _pair(facts["origin"])
        pixel = facts["pixel_size_um"]
        classes = tuple(map(str, facts["classes"]))
        if min(step) <= 0 or density.ndim < 3 or len(classes) != density.shape[-3]:
            raise ValueError("its facts do not fit its pixels")
        return StoredDensity(
            density=density,
            grid=Grid((density.shape[-2], density.shape[-1]), step, origin),
            classes=classes,
            image=str(facts["image"]),
            pixel_size_um=None if pixel is None else _pair(pixel),
            model=str(facts["model"]),
            model_sha256=str(facts["model_sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from error


def _pair(value: Any) -> tuple[float, float]:
    y, x = (float(part) for part in value)
    if not (math.isfinite(y) and math.isfinite(x)):
        raise ValueError("its place is no finite number")
    return y, x

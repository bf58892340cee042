"""Densities in files: float32 TIFF as ImageJ reads it, or OME-Zarr; never rescaled."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import read_head, reason, write_atomically
from celltally.io.density_zarr import is_density_zarr, write_density_zarr
from celltally.types import Grid

__all__ = ["density_facts", "is_celltally_density", "write_density"]

#: The facts about the model stand in the description, at the file's beginning.
_HEAD = 4096


class HasDensity(Protocol):
    """What is written of a ``Prediction``, or of a density that was read."""

    @property
    def density(self) -> NDArray[np.float32]: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def model_sha256(self) -> str: ...


def is_celltally_density(path: str | Path) -> bool:
    """Whether a file (or a zarr folder) is a density that ``write_density`` wrote."""
    if is_density_zarr(Path(path)):
        return True
    try:
        head = read_head(Path(path), _HEAD)
    except UserError:
        return False
    return head.startswith((b"II", b"MM")) and b"ImageJ=" in head and b"model_sha256=" in head


def write_density(
    path: str | Path,
    prediction: HasDensity,
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Write a prediction's density so that the sum over the file is the count.

    The file has one pixel per density cell and one channel per class. Its
    resolution is that of the density's cells: in micrometres where the image's
    pixel size is known, else in pixels of the image. Step, origin, model and
    identity stand in the TIFF's description (and in ImageJ under *Show Info*).
    With the suffix ``.zarr`` it becomes an OME-Zarr folder with the same facts.

    Parameters
    ----------
    path
        Where to; a file that is there is replaced only once all is written.
    prediction
        Its ``density`` is written as it is: ``(h, w)``, or ``(K, h, w)``.
    pixel_size_um
        The image's ``(y, x)`` in micrometres.

    Raises
    ------
    UserError
        When the density is too large for the format, or the folder cannot be
        written to.
    """
    path = Path(path)
    density = np.asarray(prediction.density, dtype=np.float32)
    if path.suffix.lower() == ".zarr":
        facts_of_zarr = {
            "step": list(map(float, prediction.grid.step)),
            "origin": list(map(float, prediction.grid.origin)),
            "pixel_size_um": None if pixel_size_um is None else list(map(float, pixel_size_um)),
            "classes": list(prediction.classes),
            "image": prediction.image,
            "model": prediction.model,
            "model_sha256": prediction.model_sha256,
        }
        write_density_zarr(path, density, facts_of_zarr)
        return
    import tifffile

    unit_y, unit_x = pixel_size_um or (1.0, 1.0)
    step_y, step_x = prediction.grid.step[0] * unit_y, prediction.grid.step[1] * unit_x
    facts = density_facts(prediction)
    if pixel_size_um is not None:
        facts |= {"pixel_y": repr(float(unit_y)), "pixel_x": repr(float(unit_x))}
    metadata: dict[str, Any] = {
        "axes": "CYX" if len(density) > 1 else "YX",
        "unit": "pixel" if pixel_size_um is None else "um",
        "Info": "\n".join(f"{key}: {value}" for key, value in facts.items()),
        **facts,
    }
    if len(density) > 1:
        metadata["Labels"] = list(prediction.classes)
    content = io.BytesIO()
    try:
        tifffile.imwrite(
            content,
            density if len(density) > 1 else density[0],
            imagej=True,
            resolution=(1 / step_x, 1 / step_y),
            metadata=metadata,
        )
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"the density of {prediction.image or 'this image'} cannot be written to {path} "
            f"({reason(error)}); count a part of the image"
        ) from error
    write_atomically(path, content.getvalue())


def density_facts(prediction: HasDensity) -> dict[str, str]:
    """Return what must be known to use the file; ASCII, one line each, as TIFF asks."""
    grid = prediction.grid
    facts = {
        "quantity": "cells per pixel of this file; the sum over the file is the count",
        "image": prediction.image,
        "step_y": repr(float(grid.step[0])),
        "step_x": repr(float(grid.step[1])),
        "origin_y": repr(float(grid.origin[0])),
        "origin_x": repr(float(grid.origin[1])),
        "model": prediction.model,
        "model_sha256": prediction.model_sha256,
        "classes": ", ".join(prediction.classes),
    }
    # JSON's escapes keep line breaks and letters beyond ASCII out of the header.
    escaped = {key: json.dumps(value)[1:-1] for key, value in facts.items()}
    return escaped | {"class_names": json.dumps(list(prediction.classes))}

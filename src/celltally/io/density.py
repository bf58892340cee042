"""Densities in files: float32 TIFF as ImageJ reads it, never rescaled."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from celltally.errors import UserError
from celltally.io._files import read_head, reason, write_atomically
from celltally.types import Prediction

__all__ = ["is_celltally_density", "write_density"]

#: The facts about the model stand in the description, at the file's beginning.
_HEAD = 4096


def is_celltally_density(path: str | Path) -> bool:
    """Whether a file is a density that ``write_density`` wrote."""
    try:
        head = read_head(Path(path), _HEAD)
    except UserError:
        return False
    return head.startswith((b"II", b"MM")) and b"ImageJ=" in head and b"model_sha256=" in head


def write_density(
    path: str | Path,
    prediction: Prediction,
    pixel_size_um: tuple[float, float] | None = None,
) -> None:
    """Write a prediction's density so that the sum over the file is the count.

    The file has one pixel per density cell and one channel per class. Its
    resolution is that of the density's cells: in micrometres where the image's
    pixel size is known, else in pixels of the image. Step, origin, model and
    identity stand in the TIFF's description (and in ImageJ under *Show Info*).

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
    import tifffile

    path = Path(path)
    density = np.asarray(prediction.density, dtype=np.float32)
    unit_y, unit_x = pixel_size_um or (1.0, 1.0)
    step_y, step_x = prediction.grid.step[0] * unit_y, prediction.grid.step[1] * unit_x
    facts = _facts(prediction)
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


def _facts(prediction: Prediction) -> dict[str, str]:
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
    return {key: json.dumps(value)[1:-1] for key, value in facts.items()}

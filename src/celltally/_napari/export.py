"""What the widget saves: a row of counts, and dots that know their plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from celltally._napari.counting import Counted
from celltally._napari.planes import Plane
from celltally._napari.sample_data import SAMPLES
from celltally.types import Dots, Interval

__all__ = ["image_name", "in_plane", "write_counts"]

_T, _Z = ("t", "time", "frame"), ("z", "plane", "axis 0")


def image_name(layer: Any) -> str:
    """Return the name of the file that a layer came from, else the layer's own."""
    source = getattr(layer, "source", None)
    path, sample = getattr(source, "path", None), getattr(source, "sample", None)
    if path:
        return Path(str(path)).name
    if sample and sample[0] == "celltally":
        return SAMPLES[sample[1]]
    return str(layer.name)


def in_plane(dots: Dots, plane: Plane) -> Dots:
    """Dots with the time point and z plane that they were counted in."""
    n = len(dots)
    return replace(
        dots,
        t=np.full(n, plane.index(*_T), dtype=np.int64),
        z=np.full(n, plane.index(*_Z), dtype=np.int64),
    )


def write_counts(path: str | Path, counted: Counted, interval: Interval, n_dots: int) -> None:
    """Write a row with the columns of ``counts.csv``; a table of ours at the place grows by it.

    Raises
    ------
    UserError
        When the place holds something else, or cannot be written to.
    """
    from celltally.batch.row import count_row
    from celltally.batch.table import CountsFile, check_writable, one_line, read_counts

    path = Path(path)
    earlier = read_counts(path)
    check_writable(path)
    prediction, plane = counted.prediction, counted.plane
    row = count_row(
        replace(prediction, image=one_line(prediction.image)),
        interval,
        n_dots=n_dots,
        t=plane.index(*_T),
        z=plane.index(*_Z),
        seconds=prediction.seconds,
    )
    with CountsFile(path, kept=earlier) as file:
        file.append(row)

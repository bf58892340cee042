"""What the widget saves as a row of counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from celltally._napari.counting import PlaneCount
from celltally._napari.sample_data import SAMPLES
from celltally.types import Interval

__all__ = ["image_name", "write_counts"]


def image_name(layer: Any) -> str:
    """Return the name of the file that a layer came from, else the layer's own."""
    source = getattr(layer, "source", None)
    path, sample = getattr(source, "path", None), getattr(source, "sample", None)
    if path:
        return Path(str(path)).name
    if sample and sample[0] == "celltally":
        return SAMPLES[sample[1]]
    return str(layer.name)


def write_counts(
    path: str | Path,
    counted: PlaneCount,
    interval: Interval,
    n_dots: int,
    *,
    count: float | None = None,
    correction: str = "",
) -> None:
    """Write a row with the columns of ``counts.csv``; a table of ours at the place grows by it.

    Parameters
    ----------
    path
        The table.
    counted, interval, n_dots
        What was counted.
    count
        The count after corrections; None: the prediction's.
    correction
        In words, what was corrected.

    Raises
    ------
    UserError
        When the place holds something else, or cannot be written to.
    """
    from celltally.batch.row import count_row
    from celltally.batch.table import CountsFile, check_writable, number, one_line, read_counts

    path = Path(path)
    earlier = read_counts(path)
    check_writable(path)
    prediction, plane = counted.prediction, counted.plane
    row = count_row(
        replace(prediction, image=one_line(prediction.image)),
        interval,
        n_dots=n_dots,
        t=plane.index("T"),
        z=plane.index("Z"),
        seconds=prediction.seconds,
        sentences=(correction,),
    )
    if count is not None:
        row["count"] = number(count, 4)
    with CountsFile(path, kept=earlier) as file:
        file.append(row)

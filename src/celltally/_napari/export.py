"""What the widget saves as rows of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally._napari.counting import PlaneCount
from celltally._napari.planes import Plane
from celltally._napari.sample_data import SAMPLES
from celltally.types import Interval, Prediction

if TYPE_CHECKING:
    from celltally._napari.plane_figures import Cells
    from celltally.batch.table import Row
    from celltally.project.counts import StoredCount

__all__ = ["image_name", "merged_row", "plane_row", "write_counts", "write_rows"]


def image_name(layer: Any) -> str:
    """Return the name of the file that a layer came from, else the layer's own."""
    source = getattr(layer, "source", None)
    path, sample = getattr(source, "path", None), getattr(source, "sample", None)
    if path:
        return Path(str(path)).name
    if sample and sample[0] == "celltally":
        return SAMPLES[sample[1]]
    return str(layer.name)


def plane_row(
    prediction: Prediction,
    plane: Plane,
    interval: Interval,
    n_dots: int,
    *,
    count: float | None = None,
    correction: str = "",
) -> Row:
    """Return a row of a plane, or of a projection.

    Parameters
    ----------
    prediction, plane, interval, n_dots
        What was counted.
    count
        The count after corrections; None: the prediction's.
    correction
        In words, what was corrected.
    """
    from celltally.batch.row import count_row
    from celltally.batch.table import number, one_line

    row = count_row(
        replace(prediction, image=one_line(prediction.image)),
        interval,
        n_dots=n_dots,
        t=plane.index("T"),
        z=plane.z_word,
        seconds=prediction.seconds,
        sentences=(correction,),
    )
    if count is not None:
        row["count"] = number(count, 4)
    return row


def merged_row(name: str, t: int, cells: Cells, counts: Sequence[StoredCount]) -> Row:
    """Return a row of a time point whose z planes are merged.

    Parameters
    ----------
    name
        Of the image.
    t
        Time point.
    cells
        As the dots are corrected.
    counts
        Of the planes, one at least.
    """
    from celltally.batch import row as rows
    from celltally.batch.table import number, one_line
    from celltally.intervals.stacks import StackCount

    told = [count.in_distribution for count in counts]
    with_cells = set(cells.dots.z.tolist())
    unlike = tuple(c.z for c in counts if c.in_distribution is False and c.z in with_cells)
    first, interval = counts[0], cells.interval
    stack = StackCount(
        planes=tuple(count.z for count in counts),
        plane_counts=np.array([count.count for count in counts]),
        dots=cells.dots,
        merged=cells.merged,
        diameter_px=first.diameter_px,
        unlike=None if None in told else unlike,
        classes=first.classes,
        model=first.model,
        model_sha256=first.model_sha256,
        calibration_sha256=first.calibration_sha256,
        image=one_line(name),
        notes=(),
    )
    seconds = sum(count.seconds for count in counts)
    row = rows.merged_row(stack, interval.level, t=t, seconds=seconds, sentences=(cells.words,))
    if interval.kind == "exact":
        row["ci_low"] = row["ci_high"] = number(interval.low, 4)
        row["interval_kind"] = interval.kind
        row["message"] = one_line(cells.words)
    return row


def write_rows(path: str | Path, found: Sequence[Row]) -> None:
    """Write rows with the columns of ``counts.csv``; a table of ours at the place grows by them.

    Raises
    ------
    UserError
        When the place holds something else, or cannot be written to.
    """
    from celltally.batch.table import CountsFile, check_writable, read_counts

    path = Path(path)
    earlier = read_counts(path)
    check_writable(path)
    with CountsFile(path, kept=earlier) as file:
        for row in found:
            file.append(row)


def write_counts(
    path: str | Path,
    counted: PlaneCount,
    interval: Interval,
    n_dots: int,
    *,
    count: float | None = None,
    correction: str = "",
) -> None:
    """Write the row of a plane; see ``plane_row`` and ``write_rows``."""
    row = plane_row(
        counted.prediction, counted.plane, interval, n_dots, count=count, correction=correction
    )
    write_rows(path, [row])

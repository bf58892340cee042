"""Spotiflow's CSV: ``y,x`` or ``z,y,x``, with a probability; places as in memory.

Spotiflow finds its spots as maxima of an array's pixels and shifts them by parts of a pixel,
so (0, 0) is the centre of the top-left one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._rows import without_removed
from celltally.io.dots._table import coordinates, header, scores, write_table
from celltally.io.dots.celltally import is_ours, read
from celltally.io.dots.qupath_points import is_points
from celltally.types import Dots

__all__ = ["SPOTIFLOW"]


def _is_spotiflow(head: bytes) -> bool:
    return {"y", "x"} <= set(header(head)) and not is_ours(head) and not is_points(head)


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    dots = without_removed(dots)
    y, x = coordinates(dots)
    columns: dict[str, Sequence[Any]] = {"z": dots.z.tolist()} if dots.z.any() else {}
    columns |= {"y": y, "x": x}
    if not np.isnan(dots.score).all():
        columns["probability"] = scores(dots)
    return write_table(columns)


SPOTIFLOW = DotFormat(
    "spotiflow",
    (),
    _is_spotiflow,
    read,
    _write,
    "Spotiflow",
    Keeps(id=False, t=False, label=False, state=False, source=False, removed=False),
    sidecar=True,
)

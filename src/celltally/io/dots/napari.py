"""napari's points: ``index,axis-0,axis-1[,…][,features]``; places as in memory.

napari draws a point at (0, 0) on the centre of the top-left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat
from celltally.io.dots._table import coordinates, dots_of, features, header, read_table, write_table
from celltally.types import Dots

__all__ = ["NAPARI"]


def _is_napari(head: bytes) -> bool:
    return {"axis-0", "axis-1"} <= set(header(head))


def _read(path: Path) -> Dots:
    """Read the last two axes as y and x, the one before as z, the one before that as t."""
    table = read_table(path)
    axes = sorted((n for n in table.columns if n.startswith("axis-")), key=lambda n: (len(n), n))
    if len(axes) < 2:
        raise UserError(f"{path} has no columns axis-0 and axis-1; choose another format")
    before = ["", "", *axes[:-2]][-2:]
    return dots_of(table, axes[-2], axes[-1], t=before[0] or "t", z=before[1] or "z")


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    y, x = coordinates(dots)
    axes: list[Sequence[Any]] = [y, x]
    if dots.z.any() or dots.t.any():
        axes.insert(0, dots.z.tolist())
    if dots.t.any():
        axes.insert(0, dots.t.tolist())
    named = {f"axis-{i}": axis for i, axis in enumerate(axes)}
    return write_table({"index": range(len(dots)), **named, **features(dots)})


NAPARI = DotFormat("napari", (), _is_napari, _read, _write, "napari points", sidecar=True)

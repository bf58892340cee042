"""QuPath's points: tab-separated ``x y [c] [z] [t] [class] [name] [color]``.

QuPath counts from the corner of the top-left pixel, so its centre is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celltally.io._geojson import CORNER
from celltally.io._text import one_line
from celltally.io.dots._colours import class_colours
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._rows import without_removed
from celltally.io.dots._table import dots_of, header, read_table
from celltally.types import Dots

__all__ = ["QUPATH_POINTS", "is_points"]


def is_points(head: bytes) -> bool:
    """Whether a table begins with the columns x and y, between tabs."""
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    return b"\t" in line and header(head)[:2] == ["x", "y"]


def _read(path: Path) -> Dots:
    return dots_of(read_table(path, quoted=False), "y", "x", shift=-CORNER)


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    dots = without_removed(dots)
    labels = [one_line(label) or "cell" for label in dots.label.tolist()]
    colours = class_colours(labels)
    columns: dict[str, Sequence[Any]] = {
        "x": (dots.yx[:, 1] + CORNER).tolist(),
        "y": (dots.yx[:, 0] + CORNER).tolist(),
    }
    if dots.z.any():
        columns["z"] = dots.z.tolist()
    if dots.t.any():
        columns["t"] = dots.t.tolist()
    columns["class"] = labels
    # Java's integer for an opaque colour is negative.
    columns["color"] = [
        int.from_bytes(bytes([255, *colours[label]]), "big", signed=True) for label in labels
    ]
    # QuPath ends every cell, the last one too, with a tab, and counts on it.
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join("".join(f"{cell}\t" for cell in row) + "\n" for row in rows).encode()


def _also_lost(dots: Dots) -> list[str]:
    labels = without_removed(dots).label.tolist()
    if all(one_line(label) == label for label in labels):
        return []
    return ["QuPath points files hold no tabs or line breaks: in class names they become spaces."]


QUPATH_POINTS = DotFormat(
    "qupath-points",
    (".tsv",),
    is_points,
    _read,
    _write,
    "QuPath points",
    Keeps(id=False, score=False, state=False, source=False, removed=False),
    _also_lost,
)

"""Our own CSV: ``y,x,id,t,z,class,score,state,source``; places as in memory."""

from __future__ import annotations

from pathlib import Path

from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat
from celltally.io.dots._table import coordinates, dots_of, features, header, read_table, write_table
from celltally.types import Dots

__all__ = ["CELLTALLY", "is_ours", "read"]

COLUMNS = ("y", "x", "id", "t", "z", "class", "score", "state", "source")


def is_ours(head: bytes) -> bool:
    """Whether the first line has what we always write; other programs' have y and x only."""
    return {"y", "x", "id", "state", "source"} <= set(header(head))


def read(path: Path) -> Dots:
    """Read a table with at least y and x."""
    return dots_of(read_table(path), "y", "x")


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    y, x = coordinates(dots)
    columns = {"y": y, "x": x, "t": dots.t.tolist(), "z": dots.z.tolist(), **features(dots)}
    return write_table({name: columns[name] for name in COLUMNS})


CELLTALLY = DotFormat("celltally", (".csv",), is_ours, read, _write, "Celltally", sidecar=True)

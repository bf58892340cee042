"""napari reader for our dot CSV, and for no other CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celltally._napari.layers import points_of_file
from celltally.io import read_dots

__all__ = ["get_reader"]

#: A file is ours when its first line names these; other programs' have y and x only.
OURS = {"y", "x", "id", "state", "source"}

LayerTuple = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader for dot CSVs that Celltally wrote, None for any other file."""
    paths = [path] if isinstance(path, str) else list(path)
    return _read if paths and all(_is_ours(Path(p)) for p in paths) else None


def _is_ours(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader([file.readline(4096)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {name.strip() for name in header} >= OURS


def _read(path: str | list[str]) -> list[LayerTuple]:
    paths = [path] if isinstance(path, str) else list(path)
    return [(*points_of_file(read_dots(Path(p)), Path(p).stem), "points") for p in paths]

"""napari reader for our dot CSV, and for no other CSV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from celltally._napari.layers import points_of_file
from celltally.io import is_celltally_dots, read_dots

__all__ = ["get_reader"]

LayerTuple = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader for dot CSVs that Celltally wrote, None for any other file."""
    paths = [path] if isinstance(path, str) else list(path)
    return _read if paths and all(is_celltally_dots(p) for p in paths) else None


def _read(path: str | list[str]) -> list[LayerTuple]:
    paths = [path] if isinstance(path, str) else list(path)
    return [(*points_of_file(read_dots(Path(p)), Path(p).stem), "points") for p in paths]

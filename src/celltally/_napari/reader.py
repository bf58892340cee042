"""napari reader for the dots, regions and densities that we can read, and for no other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from celltally._napari.layers.dots import points_of_file
from celltally._napari.layers.files import densities_of_file, regions_of_file
from celltally.errors import UserError
from celltally.io import (
    is_celltally_density,
    read_density_stack,
    read_dots,
    read_regions,
    recognised,
)
from celltally.io.dots.qupath import read_points

__all__ = ["get_reader", "layers_of"]

LayerTuple = tuple[Any, dict[str, Any], str]

#: napari reads these itself, or leaves them to whoever wrote them.
_LEFT = ("napari", "spotiflow")


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """Return a reader for files that begin as ours or a cell counter's do, None for any other."""
    paths = [path] if isinstance(path, str) else list(path)
    return _read if paths and all(_is_readable(Path(p)) for p in paths) else None


def _is_readable(path: Path) -> bool:
    if is_celltally_density(path):
        return True
    try:
        known = recognised(path)
    except UserError:
        return False
    return known is not None and known.name not in _LEFT


def _read(path: str | list[str]) -> list[LayerTuple]:
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for p in paths for layer in layers_of(Path(p))]


def layers_of(path: Path) -> list[LayerTuple]:
    """Read a file of dots, regions or a density into layers.

    Raises
    ------
    UserError
        When it is none of them, or broken.
    """
    name = path.name.removesuffix(path.suffix).removesuffix(".ome")
    if is_celltally_density(path):
        return densities_of_file(*read_density_stack(path), name)
    known = recognised(path)
    if known is None or known.name != "qupath":
        return [(*points_of_file(read_dots(path), name), "points")]
    dots, outlines = read_points(path)
    regions = read_regions(path)
    layers: list[LayerTuple] = [regions_of_file(regions, name)] if regions else []
    if len(dots) or not layers:
        if outlines and not len(dots):
            raise UserError(f"{path} holds neither points nor outlines of regions")
        layers.append((*points_of_file(dots, name), "points"))
    return layers

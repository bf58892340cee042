"""napari writers for dots and regions: a function a format, for the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info

from celltally._napari.layers.edits import every_dot_of_points
from celltally._napari.layers.files import dots_of_others, regions_of_shapes
from celltally._napari.layers.own import role_in
from celltally.io import dot_format, what_is_lost, write_dots, write_regions
from celltally.types import Dots

__all__ = [
    "save_cell_counter",
    "save_cellfinder",
    "save_cellfinder_yaml",
    "save_imagej",
    "save_imagej_roi",
    "save_points",
    "save_qupath",
    "save_qupath_points",
    "save_shapes",
]


def save_points(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as CSV: dots of ours as dots, any other layer as napari does.

    Parameters
    ----------
    path
        The file; without a suffix it gets ``.csv``.
    data
        ``(n, ndim)`` positions.
    meta
        The layer's settings, as napari hands them over.

    Returns
    -------
    list of str
        The file that was written.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    if not _is_ours(meta):
        # napari takes any writer for a .csv file: what another plugin keeps with its
        # points must not get lost because we are installed.
        from napari_builtins.io import napari_write_points

        written = napari_write_points(path, data, dict(meta))
        return [written] if written else []
    return _save("celltally", path, data, meta)


def save_cell_counter(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as Fiji's Cell Counter does; see ``save_points``."""
    return _save("cell-counter", path, data, meta)


def save_cellfinder(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as cellfinder's XML; see ``save_points``."""
    return _save("cellfinder", path, data, meta)


def save_cellfinder_yaml(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as cellfinder's YAML; see ``save_points``."""
    return _save("cellfinder-yaml", path, data, meta)


def save_imagej(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as a RoiSet.zip of ImageJ; see ``save_points``."""
    return _save("imagej", path, data, meta)


def save_imagej_roi(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as a selection of ImageJ; see ``save_points``."""
    return _save("imagej-roi", path, data, meta)


def save_qupath(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as QuPath's GeoJSON; see ``save_points``."""
    return _save("qupath", path, data, meta)


def save_qupath_points(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Points layer as QuPath's table of points; see ``save_points``."""
    return _save("qupath-points", path, data, meta)


def save_shapes(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Shapes layer as GeoJSON, as QuPath reads it; see ``save_points``."""
    file = Path(path) if Path(path).suffix else Path(f"{path}.geojson")
    write_regions(file, regions_of_shapes(data, meta))
    return [str(file)]


def _save(name: str, path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    known = dot_format(name)
    file = Path(path) if Path(path).suffix else Path(f"{path}{known.suffixes[0]}")
    dots = _dots(data, meta)
    write_dots(file, dots, format=name, image=str(meta.get("name", "")).removesuffix(" dots"))
    if lost := what_is_lost(dots, name):
        show_info(" ".join(lost))
    return [str(file)]


def _dots(data: Any, meta: Mapping[str, Any]) -> Dots:
    if _is_ours(meta):
        return every_dot_of_points(data, meta["features"], meta["metadata"])
    return dots_of_others(data, meta)


def _is_ours(meta: Mapping[str, Any]) -> bool:
    return role_in(meta.get("metadata")) in ("dots", "file")

"""napari writer for our dots, with what a human changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celltally._napari.layers import dots_of_points, role_in
from celltally.io import write_dots

__all__ = ["save_points"]


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
    if role_in(meta.get("metadata")) not in ("dots", "file"):
        # napari takes any writer for a .csv file: what another plugin keeps with its
        # points must not get lost because we are installed.
        from napari_builtins.io import napari_write_points

        written = napari_write_points(path, data, dict(meta))
        return [written] if written else []
    file = Path(path) if Path(path).suffix else Path(f"{path}.csv")
    write_dots(file, dots_of_points(data, meta["features"], meta["metadata"]))
    return [str(file)]

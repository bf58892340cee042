"""Densities as OME-Zarr (0.4): never rescaled, in the place and the size of their cells."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import reason, unreadable
from celltally.io._json import read_json

__all__ = ["is_density_zarr", "read_density_zarr", "write_density_zarr"]

_KIND = "density"
_MOST_FACTS = 2**20
#: Cells of a chunk, along an edge.
_CHUNK = 1024


def is_density_zarr(path: Path) -> bool:
    """Whether a folder is a density that ``write_density`` wrote."""
    return path.is_dir() and _facts_of(path) is not None


def _facts_of(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path / ".zattrs", _MOST_FACTS)
    except UserError:
        return None
    facts = found.get("celltally") if isinstance(found, dict) else None
    return facts if isinstance(facts, dict) and facts.get("kind") == _KIND else None


def write_density_zarr(path: Path, density: NDArray[np.float32], facts: dict[str, Any]) -> None:
    """Write a density ``(K, h, w)`` as a folder, whole or not at all.

    Parameters
    ----------
    path
        Where to; a density that is there is replaced.
    density
        As it is.
    facts
        ``step``, ``origin``, ``pixel_size_um``, ``classes``, ``image``, ``model``,
        ``model_sha256``.

    Raises
    ------
    UserError
        When something else is there, or the folder cannot be written to.
    """
    if path.exists() and not is_density_zarr(path):
        raise UserError(f"{path} exists and is no density of ours; choose another name")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    before = temporary.with_suffix(".before")
    try:
        _write(temporary, density, facts)
        if path.exists():
            path.rename(before)
        temporary.rename(path)
    except OSError as error:
        if before.exists() and not path.exists():
            with contextlib.suppress(OSError):
                before.rename(path)
        raise UserError(
            f"{path} cannot be written ({reason(error)}); choose another place"
        ) from error
    finally:
        for left in (temporary, before):
            shutil.rmtree(left, ignore_errors=True)


def _write(folder: Path, density: NDArray[np.float32], facts: dict[str, Any]) -> None:
    import zarr

    if not folder.parent.is_dir():
        raise FileNotFoundError(2, "No such file or directory")
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    array = group.create_array(
        "0",
        shape=density.shape,
        chunks=(1, *(min(n, _CHUNK) for n in density.shape[1:])),
        dtype="<f4",
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    array[:] = density
    group.attrs.put(_attributes(facts))


def _attributes(facts: dict[str, Any]) -> dict[str, Any]:
    """Return OME's metadata, and what must be known to use the density."""
    pixel = facts["pixel_size_um"] or (1.0, 1.0)
    unit = {} if facts["pixel_size_um"] is None else {"unit": "micrometer"}
    scale = [step * size for step, size in zip(facts["step"], pixel, strict=True)]
    # OME places an image by the centre of its first pixel.
    shift = [
        (origin + step / 2) * size
        for origin, step, size in zip(facts["origin"], facts["step"], pixel, strict=True)
    ]
    placed = [
        {"type": "scale", "scale": [1.0, *scale]},
        {"type": "translation", "translation": [0.0, *shift]},
    ]
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": facts["image"] or "density",
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", **unit},
                    {"name": "x", "type": "space", **unit},
                ],
                "datasets": [{"path": "0", "coordinateTransformations": placed}],
            }
        ],
        "omero": {
            "version": "0.4",
            "channels": [{"label": name, "active": True} for name in facts["classes"]],
        },
        "celltally": {
            "kind": _KIND,
            "format": 1,
            "quantity": "cells per cell of this array; the sum over the array is the count",
            **json.loads(json.dumps(facts)),
        },
    }


def read_density_zarr(path: Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Read a density of ours: ``(K, h, w)``, and the facts as they stand in the file.

    Raises
    ------
    UserError
        When it is none, or damaged.
    """
    import zarr

    facts = _facts_of(path)
    if facts is None:
        raise UserError(f"{path} is no density that celltally wrote; count the image again")
    try:
        array = zarr.open_array(str(path / "0"), mode="r")
        density = np.asarray(array[:], dtype=np.float32)
    except Exception as error:  # a damaged store can fail in any part of the library
        raise unreadable(path, error) from error
    return density, facts

"""Makers' own formats (ND2, CZI, LIF) through bioio, where it is installed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.io._axes import leading_axes, pixel_size, scene_index
from celltally.io._files import quiet, unreadable
from celltally.types import Image

__all__ = ["READERS", "list_bioio_scenes", "read_bioio"]

#: bioio's reader module for each suffix.
READERS = {".nd2": "bioio_nd2", ".czi": "bioio_czi", ".lif": "bioio_lif"}


def list_bioio_scenes(path: Path, suffix: str) -> list[str]:
    """Return the scenes' names of an ND2, CZI or LIF file."""
    return _open(path, suffix)[1]


def read_bioio(path: Path, suffix: str, scene: str | int | None = None) -> Image:
    """Open one scene; planes are read when they are indexed.

    Parameters
    ----------
    path
        The file.
    suffix
        Which of ``READERS`` reads it.
    scene
        Name or index; the first without.

    Raises
    ------
    UserError
        When bioio or its reader is not installed (the sentence names the extra),
        the file is damaged, or there is no such scene.
    """
    file, names = _open(path, suffix)
    index = scene_index(path, names, scene)
    try:
        file.set_scene(index)
        data = file.dask_data
        letters = str(file.dims.order).upper()
        size = file.physical_pixel_sizes
        channels = tuple(str(name) for name in file.channel_names or ())
    except Exception as error:  # a damaged file can fail in any part of the reader
        raise unreadable(path, error) from error
    if 0 in data.shape:
        raise UserError(f"{path} holds no pixels (its shape is {data.shape}); export it again")
    plane = [i for i, letter in enumerate(letters) if letter in "YXS"]
    rest = [i for i in range(len(letters)) if i not in plane]
    found = leading_axes(
        path,
        "".join(letters[i] for i in rest),
        tuple(data.shape[i] for i in rest),
        "".join(letters[i] for i in plane),
    )
    named = dict(zip(rest, found, strict=True))
    dropped = [i for i in rest if not named[i]]
    data = data[tuple(0 if i in dropped else slice(None) for i in range(data.ndim))]
    axes = "".join(named.get(i, letter) for i, letter in enumerate(letters))
    if "C" not in axes or len(channels) != data.shape[axes.index("C")]:
        channels = ()
    return Image(
        data=data,
        axes=axes,
        name=path.name,
        path=path,
        pixel_size_um=pixel_size(size.Y, size.X, 1.0),
        channel_names=channels,
        scene=names[index] if len(names) > 1 else None,
    )


def _open(path: Path, suffix: str) -> tuple[Any, list[str]]:
    """Return the opened file and the names of its scenes."""
    try:
        bioio = import_module("bioio")
        reader = import_module(READERS[suffix]).Reader
    except ImportError as error:
        raise UserError(
            f"{path} is a {suffix[1:].upper()} file, whose reader is not installed; "
            'run pip install "celltally[formats]"'
        ) from error
    try:
        with quiet("bioio.bio_image"):
            file = bioio.BioImage(path, reader=reader)
            return file, [str(name) for name in file.scenes]
    except Exception as error:  # a damaged file can fail in any part of the reader
        raise unreadable(path, error) from error

"""OME-Zarr (0.1 to 0.5, zarr 2 and 3): the full resolution, a chunk at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from celltally.errors import UserError
from celltally.io._axes import leading_axes, micrometres, pixel_size, scene_index
from celltally.io._files import unreadable
from celltally.types import Image

__all__ = ["is_zarr", "list_zarr_scenes", "read_zarr"]

_MARKERS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group or array (by its metadata, else its suffix)."""
    return path.is_dir() and (
        path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _MARKERS)
    )


def list_zarr_scenes(path: Path) -> list[str]:
    """Return the images in a store: a plate's fields, or the series of one file."""
    root = _open(path)
    try:
        return [name for name, _ in _scenes(root)] or [""]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise unreadable(path, error) from error


def read_zarr(path: Path, scene: str | int | None = None) -> Image:
    """Open an OME-Zarr folder (or a bare zarr array); chunks are read when indexed.

    A bare array's axes are taken to be the last ones of TCZYX.

    Raises
    ------
    UserError
        When it is no zarr, damaged, without an image, or has no such scene.
    """
    root = _open(path)
    try:
        scenes = _scenes(root)
        names = [name for name, _ in scenes] or [""]
        index = scene_index(path, names, scene)
        group = root[scenes[index][1]] if scenes else root
        data, axes, size, channels = _image(path, group)
    except UserError:
        raise
    except Exception as error:  # a damaged store can fail in any part of the library
        raise unreadable(path, error) from error
    if 0 in data.shape:
        raise UserError(f"{path} holds no pixels (its shape is {data.shape}); export it again")
    if "C" not in axes or len(channels) != data.shape[axes.index("C")]:
        channels = ()
    return Image(
        data=data,
        axes=axes,
        name=path.name,
        path=path,
        pixel_size_um=size,
        channel_names=channels,
        scene=names[index] if len(names) > 1 else None,
    )


def _open(path: Path) -> Any:
    import zarr

    try:
        return zarr.open(str(path), mode="r")
    except Exception as error:  # a damaged store can fail in any part of the library
        if not any((path / name).is_file() for name in _MARKERS):
            raise UserError(
                f"{path} is no zarr image: it has no zarr metadata; copy or export it again"
            ) from None
        raise unreadable(path, error) from error


def _attributes(node: Any) -> Mapping[str, Any]:
    found = dict(node.attrs)
    inner = found.get("ome")  # where version 0.5 keeps everything
    return inner if isinstance(inner, Mapping) else found


def _scenes(root: Any) -> list[tuple[str, str]]:
    """Name and path within the store of every image; empty for a single image."""
    found = _attributes(root)
    if "plate" in found:
        scenes = []
        for well in found["plate"]["wells"]:
            for field in _attributes(root[well["path"]])["well"]["images"]:
                at = f"{well['path']}/{field['path']}"
                scenes.append((at, at))
        return scenes
    if "bioformats2raw.layout" in found:
        return [(key, key) for key in sorted(root.group_keys(), key=_natural) if key != "OME"]
    return []


def _natural(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (10**9, key)


def _image(path: Path, node: Any) -> tuple[Any, str, tuple[float, float] | None, tuple[str, ...]]:
    if hasattr(node, "shape"):
        axes, data = _bare_axes(path, node)
        return data, axes, None, ()
    found = _attributes(node)
    levels = found.get("multiscales")
    if not levels:
        raise UserError(
            f"{path} is a zarr group without an image in it (no 'multiscales'); "
            "give the folder of one image"
        )
    level = levels[0]
    dataset = level["datasets"][0]
    data = node[dataset["path"]]
    letters, units = _axes(level.get("axes"), data.ndim)
    if len(letters) != data.ndim:
        raise UserError(
            f"{path} names {len(letters)} axes ({letters}) for {data.ndim}; export it again"
        )
    names = _letters(path, letters, data.shape)
    scales = _scale(dataset, data.ndim)
    for i, scale in enumerate(_scale(level, data.ndim)):
        scales[i] *= scale
    y, x = names.index("Y"), names.index("X")
    uy, ux = micrometres(units[y]), micrometres(units[x])
    size = pixel_size(scales[y] * (uy or 0), scales[x] * (ux or 0), 1.0)
    channels = (found.get("omero") or {}).get("channels") or []
    labels = [str(c.get("label") or "") for c in channels]
    named = tuple(label or str(i) for i, label in enumerate(labels)) if any(labels) else ()
    return data, "".join(names), size, named


def _axes(axes: Sequence[Any] | None, ndim: int) -> tuple[str, list[str | None]]:
    """One letter and one unit per axis; versions before 0.3 have always TCZYX."""
    if axes is None:
        return "TCZYX"[-ndim:], [None] * ndim
    letters, units = [], []
    for axis in axes:
        named = axis if isinstance(axis, Mapping) else {"name": axis}
        letters.append(str(named["name"])[:1].upper() or "Q")
        units.append(named.get("unit"))
    return "".join(letters), units


def _letters(path: Path, letters: str, shape: tuple[int, ...]) -> list[str]:
    if letters.count("Y") != 1 or letters.count("X") != 1:
        raise UserError(f"{path} is no image: its axes ({letters}) lack rows or columns")
    rest = [i for i, letter in enumerate(letters) if letter not in "YX"]
    found = leading_axes(
        path, "".join(letters[i] for i in rest), tuple(shape[i] for i in rest), "YX"
    )
    names = list(letters)
    free = [letter for letter in "TZC" if letter not in found]
    for i, name in zip(rest, found, strict=True):
        # Nothing is read here, so an axis of length 1 cannot be dropped: any free letter will do.
        names[i] = name or free.pop(0)
    return names


def _bare_axes(path: Path, data: Any) -> tuple[str, Any]:
    if not 2 <= data.ndim <= 5:
        raise UserError(f"{path} is no image: its array has {data.ndim} axes; give 2 to 5")
    return "TCZYX"[-data.ndim :], data


def _scale(part: Mapping[str, Any], ndim: int) -> list[float]:
    for transformation in part.get("coordinateTransformations") or ():
        scale = transformation.get("scale")
        if transformation.get("type") == "scale" and scale and len(scale) == ndim:
            return [float(value) for value in scale]
    return [1.0] * ndim

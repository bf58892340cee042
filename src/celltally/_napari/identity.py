"""What tells an image layer's pixels from all others, so that a project knows them again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from celltally._napari.export import image_name
from celltally._napari.planes import pixel_size_um

__all__ = ["LayerImage", "Origin", "layer_image", "origin_of"]

#: Pixels beyond which not all of them are hashed: it would take too long.
MOST_BYTES = 1 << 29

#: File and scene, see ``LayerImage``.
Origin = tuple[Path | None, str | None]


@dataclass(frozen=True, eq=False)
class LayerImage:
    """An image layer, as a project keeps it; made on the window's thread, used on any.

    Attributes
    ----------
    name
        Of the file, or of the layer.
    path, scene
        Where it came from; ``scene`` tells the layers of one file apart. None for
        pixels that came from no file.
    shape
        ``(H, W)``.
    pixel_um
        Size of a pixel in micrometres, or None.
    hash_pixels
        Gives the sha256 of the pixels.
    """

    name: str
    path: Path | None
    scene: str | None
    shape: tuple[int, int]
    pixel_um: float | None
    hash_pixels: Callable[[], str]


def origin_of(layer: Image) -> Origin:
    """Return where a layer came from, by its name as it is now: ask before it is renamed."""
    source = getattr(layer.source, "path", None)
    path = Path(str(source)) if source and Path(str(source)).exists() else None
    return path, None if path is None else _scene(layer.name, path)


def layer_image(layer: Image, origin: Origin | None = None) -> LayerImage:
    """Return what a project keeps of an image layer.

    Parameters
    ----------
    origin
        What ``origin_of`` said of it before; None: ask now.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    sizes = data.shape[:-1] if layer.rgb else data.shape
    path, scene = origin_of(layer) if origin is None else origin
    rgb = bool(layer.rgb)
    return LayerImage(
        image_name(layer),
        path,
        scene,
        (int(sizes[-2]), int(sizes[-1])),
        pixel_size_um(layer),
        lambda: _hash(data, rgb=rgb),
    )


def _scene(name: str, path: Path) -> str | None:
    """Return what a layer is called beside its file; None where it is called as that is.

    napari numbers layers of one name: that tells nothing of the pixels.
    """
    plain = re.sub(r" \[\d+\]$", "", name)
    return None if plain in (path.stem, path.name, path.name.split(".")[0]) else plain


def _hash(data: Any, *, rgb: bool) -> str:
    """Hash all pixels, or of very many the first, middle and last plane."""
    from celltally.project.images import pixel_sha256

    size = int(np.prod(data.shape)) * np.dtype(data.dtype).itemsize
    if size <= MOST_BYTES:
        return pixel_sha256(np.asarray(data))
    lead = data.shape[: -3 if rgb else -2]
    planes = {tuple(int(f * (n - 1)) for n in lead) for f in (0, 0.5, 1)}
    sample = np.stack([np.asarray(data[plane]) for plane in sorted(planes)])
    return pixel_sha256(sample)

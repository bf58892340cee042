"""Which layers are ours, and what is remembered with them.

They are recognised by their metadata, so that they outlive the widget that made them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from napari.layers import Layer

from celltally._napari.planes import key_of

__all__ = ["TAG", "image_of", "keep", "kept", "own_layer", "own_role", "role_in", "tag"]

#: The entry of a layer's metadata that is ours.
TAG = "celltally"
_numbers = itertools.count()


def own_role(layer: Layer) -> str | None:
    """Role of a layer of ours, None for any other.

    ``boxes``, ``density``, ``dots``, ``file``, ``marker``, ``place``, ``regions``, ``ring``,
    ``saliency``, ``similarity``, ``uncertainty``, or those of an audit.
    """
    return role_in(layer.metadata)


def role_in(metadata: Any) -> str | None:
    """Role of the layer that has this metadata; None where it is not ours."""
    tag = metadata.get(TAG) if isinstance(metadata, Mapping) else None
    return tag["role"] if tag else None


def image_of(layer: Layer) -> str | None:
    """Key of the image that a layer of ours belongs to; None for any other."""
    return layer.metadata[TAG].get("image") if own_role(layer) is not None else None


def own_layer(layers: Any, image: str, role: str) -> Layer | None:
    """Our newest layer with a role for the image of a key, if it is there."""
    ours = [
        layer
        for layer in layers
        if own_role(layer) == role and layer.metadata[TAG]["image"] == image
    ]
    return max(ours, key=lambda layer: layer.metadata[TAG]["number"], default=None)


def keep(layer: Layer, **values: Any) -> None:
    """Remember something with a layer of ours, for as long as the layer is there."""
    layer.metadata[TAG].update(values)


def kept(layer: Layer, name: str) -> Any:
    """Return what was remembered with a layer of ours; None where nothing was."""
    return layer.metadata[TAG].get(name)


def tag(role: str, image: Layer) -> dict[str, Any]:
    """Metadata by which a layer of ours is known; later ones have higher numbers."""
    return {TAG: {"role": role, "image": key_of(image), "number": next(_numbers)}}

"""GeoJSON as QuPath writes and reads it: features with an object type, a class and a plane.

QuPath's coordinates are ``[x, y]`` in pixels from the corner of the top-left pixel, whose
centre is therefore (0.5, 0.5). Here they are from that centre.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celltally import __version__
from celltally.errors import UserError
from celltally.io._json import read_json
from celltally.io._numbers import plane as number_of_plane
from celltally.io._text import whole

__all__ = [
    "CORNER",
    "Feature",
    "dashed",
    "is_qupath",
    "plane_of",
    "read_features",
    "undashed",
    "write_features",
]

#: Where QuPath has the centre of the top-left pixel.
CORNER = 0.5
_HEX = re.compile("[0-9a-f]{32}")
_DASHED = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OURS = uuid.UUID("c7d1b0a4-5c3e-4d41-9a55-1f6c0a2d7c11")


@dataclass(frozen=True)
class Feature:
    """One feature of a file; what is not there is empty.

    Attributes
    ----------
    where
        The file and the feature's number, for errors.
    id
        As ``undashed`` gives it; "" where there is none.
    shape, coordinates
        The geometry's type and coordinates.
    t, z
        Of its plane.
    properties, metadata, measurements
        As they are there.
    label
        Name of the class.
    """

    where: str
    id: str
    shape: str
    coordinates: Any
    t: int
    z: int
    properties: Mapping[str, Any]
    metadata: Mapping[str, Any]
    measurements: Mapping[str, Any]
    label: str

    @property
    def object_type(self) -> str:
        """``annotation``, ``detection``, …; "" where the file does not say."""
        found = self.properties.get("objectType", self.properties.get("object_type"))
        return found if isinstance(found, str) else ""


def is_qupath(head: bytes) -> bool:
    """Whether a file begins as QuPath's GeoJSON or ours does, and not as a map's."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text.startswith((b"{", b"[")):
        return False
    return b'"Feature' in text and (b'"objectType"' in text or b'"celltally"' in text)


def read_features(path: Path) -> Iterator[Feature]:
    """Yield the features of a collection, of a list, or a single one.

    Raises
    ------
    UserError
        When the file is broken or no GeoJSON.
    """
    found = read_json(path)
    if isinstance(found, dict):
        found = found.get("features") if found.get("type") == "FeatureCollection" else [found]
    if not isinstance(found, list):
        raise UserError(
            f"{path} is no GeoJSON with a list of features; export it from QuPath again"
        )
    for number, feature in enumerate(found, 1):
        yield _feature(feature, f"{path}, feature {number}")


def _feature(feature: Any, where: str) -> Feature:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise UserError(f"{where} is no GeoJSON feature; export it from QuPath again")
    geometry = _mapping(feature.get("geometry"))
    plane = _mapping(geometry.get("plane"))
    properties = _mapping(feature.get("properties"))
    return Feature(
        where=where,
        id=undashed(feature.get("id")),
        shape=str(geometry.get("type", "")),
        coordinates=geometry.get("coordinates"),
        t=number_of_plane(plane.get("t", 0), where, "t", "time points"),
        z=number_of_plane(plane.get("z", 0), where, "z"),
        properties=properties,
        metadata=_mapping(properties.get("metadata")),
        measurements=_measurements(properties.get("measurements")),
        label=_label(properties.get("classification")),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _measurements(value: Any) -> dict[str, Any]:
    """By name; before QuPath 0.4 they were a list of names and values."""
    if isinstance(value, list):
        named = [entry for entry in value if isinstance(entry, dict)]
        return {str(entry.get("name")): entry.get("value") for entry in named}
    return _mapping(value)


def _label(value: Any) -> str:
    if isinstance(value, dict):
        names = value.get("names")
        name = value.get("name")
        if name is None and isinstance(names, list):
            name = ": ".join(map(str, names))
        value = name
    return whole(value) if isinstance(value, str) else ""


def plane_of(t: int, z: int) -> dict[str, dict[str, int]]:
    """Return a geometry's entry for its plane; none for the only one. −1: all channels."""
    return {"plane": {"c": -1, "z": z, "t": t}} if t or z else {}


def dashed(name: str) -> str:
    """Return an id as QuPath takes it: a UUID with dashes, made from the id where it is none."""
    if not _HEX.fullmatch(name):
        return str(uuid.uuid5(_OURS, whole(name)))
    return "-".join((name[:8], name[8:12], name[12:16], name[16:20], name[20:]))


def undashed(name: Any) -> str:
    """Return an id as we have it: a UUID without dashes, anything else as it is."""
    if not isinstance(name, str):
        return ""
    return name.replace("-", "") if _DASHED.fullmatch(name) else whole(name.strip())


def write_features(features: Iterable[dict[str, Any]]) -> bytes:
    """Return a collection, a feature to a line."""
    lines = (json.dumps(f, ensure_ascii=False, allow_nan=False) for f in features)
    head = json.dumps({"version": __version__})
    text = f'{{"type": "FeatureCollection", "celltally": {head}, "features": [\n'
    return (text + ",\n".join(lines) + "\n]}\n").encode("utf-8", "replace")

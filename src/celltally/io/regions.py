"""Regions as GeoJSON, as QuPath reads and writes them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import write_atomically
from celltally.io._geojson import (
    CORNER,
    Feature,
    dashed,
    plane_of,
    read_features,
    undashed,
    write_features,
)
from celltally.io._numbers import number, place
from celltally.io._text import whole
from celltally.types import REGION_KINDS, Region, RegionKind

__all__ = ["read_regions", "write_regions"]

STATED = "stated count"
#: What QuPath calls the kinds that it has, too.
_QUPATH_KINDS: dict[str, RegionKind] = {"Ignore*": "exclude", "Region*": "count"}
_COLOURS: dict[RegionKind, list[int]] = {
    "count": [61, 220, 132],
    "reviewed": [90, 169, 255],
    "exclude": [255, 90, 79],
    "tissue": [208, 168, 255],
    "audit": [255, 176, 32],
}


def write_regions(path: str | os.PathLike[str], regions: Sequence[Region]) -> None:
    """Write regions as a GeoJSON ``FeatureCollection`` (RFC 7946) of QuPath's annotations.

    Its coordinates are ``[x, y]`` in image pixels from the corner of the top-left pixel, whose
    centre is (0.5, 0.5), as QuPath has them. The class is the kind; ids, names, stated counts
    and planes are kept. What has fewer than three corners is left out.

    Raises
    ------
    UserError
        When the file cannot be written.
    """
    features = (_written(region) for region in regions if len(region.polygon) >= 3)
    write_atomically(Path(path), write_features(features))


def _written(region: Region) -> dict[str, Any]:
    ring = (region.polygon[:, ::-1] + CORNER).tolist()
    metadata: dict[str, str] = {"kind": region.kind}
    if undashed(dashed(region.id)) != region.id:
        metadata["id"] = whole(region.id)
    stated = region.stated
    measured = {} if stated is None else {"measurements": {STATED: float(stated)}}
    return {
        "type": "Feature",
        "id": dashed(region.id),
        "properties": {
            "objectType": "annotation",
            "name": whole(region.name),
            "classification": {"name": region.kind, "color": _COLOURS[region.kind]},
            **measured,
            "metadata": metadata,
        },
        "geometry": {
            "type": "Polygon",
            "coordinates": [[*ring, ring[0]]],
            **plane_of(region.t, region.z),
        },
    }


def read_regions(path: str | os.PathLike[str]) -> list[Region]:
    """Read the outlines of a GeoJSON file; its points are dots, and left to their reader.

    A polygon with holes, or of several parts, becomes one that runs from part to part along a
    line and back, which the even–odd rule does not see. Outlines of detections (cells, tiles)
    are no regions, and are passed over. The class says the kind, where it is one of
    ``REGION_KINDS`` or QuPath's *Ignore*; other classes are regions to count in.

    Raises
    ------
    UserError
        When the file is broken, no GeoJSON, or has a corner that is no finite number.
    """
    path = Path(path)
    regions = []
    taken: set[str] = set()
    for feature in read_features(path):
        if feature.shape not in ("Polygon", "MultiPolygon"):
            continue
        if feature.object_type not in ("", "annotation", "PathAnnotationObject", "unknown"):
            continue
        outline = _joined(list(_rings(feature)))
        if len(outline) >= 3:
            regions.append(_region(feature, outline, taken))
    return regions


def _region(feature: Feature, outline: NDArray[np.float64], taken: set[str]) -> Region:
    # Before they had QuPath's object type, our files counted from the centre of the pixel.
    ours_of_old = not feature.object_type and "kind" in feature.properties
    name = feature.properties.get("name")
    region_id = str(feature.metadata.get("id", feature.id))
    given = {"id": region_id} if region_id and region_id not in taken else {}
    region = Region(
        outline - (0.0 if ours_of_old else CORNER),
        _kind(feature),
        whole(name) if isinstance(name, str) else "",
        _stated(feature),
        t=feature.t,
        z=feature.z,
        **given,
    )
    taken.add(region.id)
    return region


def _kind(feature: Feature) -> RegionKind:
    candidates = (feature.label, feature.metadata.get("kind"), feature.properties.get("kind"))
    for found in candidates:
        for kind in REGION_KINDS:
            if found == kind:
                return kind
        if isinstance(found, str) and found in _QUPATH_KINDS:
            return _QUPATH_KINDS[found]
    return "count"


def _stated(feature: Feature) -> float | None:
    found = feature.measurements.get(STATED, feature.properties.get("stated"))
    if found is None or (isinstance(found, float) and math.isnan(found)):
        return None
    return number(found, feature.where, STATED)


def _rings(feature: Feature) -> Iterator[NDArray[np.float64]]:
    """Yield every ring of a polygon, or of several, without its last corner, the first again."""
    parts = feature.coordinates if feature.shape == "MultiPolygon" else [feature.coordinates]
    for part in _listed(parts, feature):
        for ring in _listed(part, feature):
            corners = [place(corner, feature.where) for corner in _listed(ring, feature)]
            if len(corners) > 1 and corners[0] == corners[-1]:
                corners.pop()
            if len(corners) >= 3:
                yield np.array(corners, dtype=np.float64)[:, ::-1]


def _listed(value: Any, feature: Feature) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{feature.where}: its coordinates are no list of rings; correct it")
    return value


def _joined(rings: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return one ring that runs through all of them, and along the ways between them twice."""
    if len(rings) <= 1:
        return rings[0] if rings else np.empty((0, 2))
    parts = [rings[0], rings[0][:1]]
    for ring in rings[1:]:
        parts += [ring, ring[:1], rings[0][:1]]
    return np.concatenate(parts[:-1])

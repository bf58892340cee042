"""Regions as GeoJSON, as other programs read and write them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from celltally.io._files import write_atomically
from celltally.types import Region

__all__ = ["write_regions"]


def write_regions(path: str | os.PathLike[str], regions: Sequence[Region]) -> None:
    """Write regions as a GeoJSON ``FeatureCollection`` (RFC 7946) of polygons.

    Its coordinates are ``[x, y]`` in image pixels, with the origin at the centre of the
    top-left pixel; the properties are ``name``, ``kind`` and ``stated`` (null where no count
    is stated). What has fewer than three corners is left out.

    Raises
    ------
    UserError
        When the file cannot be written.
    """
    features = []
    for region in regions:
        if len(region.polygon) < 3:
            continue
        ring = [[round(float(x), 4), round(float(y), 4)] for y, x in region.polygon]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "name": region.name,
                    "kind": region.kind,
                    "stated": region.stated,
                },
            }
        )
    collection = {"type": "FeatureCollection", "features": features}
    text = json.dumps(collection, ensure_ascii=False, allow_nan=False)
    write_atomically(Path(path), f"{text}\n".encode())

"""QuPath's GeoJSON: a point annotation per dot, with its class, score, state and source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from celltally.errors import UserError
from celltally.io._geojson import (
    CORNER,
    Feature,
    dashed,
    is_qupath,
    plane_of,
    read_features,
    undashed,
    write_features,
)
from celltally.io._numbers import number, place
from celltally.io._text import whole
from celltally.io.dots._colours import class_colours
from celltally.io.dots._format import NOTHING_KNOWN, About, DotFormat, Keeps
from celltally.io.dots._rows import fresh_ids, without_removed
from celltally.types import DOT_STATES, Dots

__all__ = ["QUPATH", "read_points"]

SCORE = "score"


def _read(path: Path) -> Dots:
    dots, others = read_points(path)
    if others and not len(dots):
        raise UserError(
            f"{path} holds {others} {'outline' if others == 1 else 'outlines'} but no points; "
            "read it as regions"
        )
    return dots


def read_points(path: Path) -> tuple[Dots, int]:
    """Read points and multi-points, and count what is no point: regions, for another reader.

    Raises
    ------
    UserError
        When the file is broken, no GeoJSON, or has a point that is nowhere.
    """
    places: list[tuple[float, float]] = []
    found: list[tuple[str, Feature, float]] = []
    others = 0
    for feature in read_features(path):
        if feature.shape == "Point":
            pairs = [feature.coordinates]
        elif feature.shape == "MultiPoint" and isinstance(feature.coordinates, list):
            pairs = feature.coordinates
        else:
            others += 1
            continue
        score = _score(feature)
        name = feature.metadata.get("id", feature.id) if len(pairs) == 1 else ""
        for pair in pairs:
            places.append(place(pair, feature.where))
            found.append((whole(str(name)), feature, score))
    xy = np.array(places, dtype=np.float64).reshape(-1, 2)
    features = [feature for _, feature, _ in found]
    dots = Dots.new(
        xy[:, ::-1] - CORNER,
        id=fresh_ids([name for name, _, _ in found]),
        t=np.array([f.t for f in features], np.int64),
        z=np.array([f.z for f in features], np.int64),
        label=np.array([f.label or "cell" for f in features], np.str_),
        score=np.array([score for _, _, score in found], np.float32),
        state=np.array([_state(f) for f in features], np.str_),
        source=np.array([whole(str(f.metadata.get("source", ""))) for f in features], np.str_),
    )
    return dots, others


def _score(feature: Feature) -> float:
    value = feature.measurements.get(SCORE)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return float("nan")
    return number(value, feature.where, SCORE, float(np.finfo(np.float32).max))


def _state(feature: Feature) -> str:
    found = feature.metadata.get("state")
    return found if found in DOT_STATES else "proposed"


def _write(dots: Dots, about: About = NOTHING_KNOWN, /) -> bytes:
    return write_features(_features(without_removed(dots)))


def _features(dots: Dots) -> Iterator[dict[str, Any]]:
    labels = [whole(label) for label in dots.label.tolist()]
    colours = class_colours(labels)
    rows = zip(
        *(dots.yx.tolist(), dots.id.tolist(), dots.t.tolist(), dots.z.tolist(), labels),
        *(dots.score, dots.state.tolist(), dots.source.tolist()),
        strict=True,
    )
    for (y, x), name, t, z, label, score, state, source in rows:
        metadata = {"state": state} | ({"source": whole(source)} if source else {})
        if undashed(dashed(name)) != name:
            metadata["id"] = whole(name)
        measured = {} if np.isnan(score) else {"measurements": {SCORE: float(str(score))}}
        yield {
            "type": "Feature",
            "id": dashed(name),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": label, "color": list(colours[label])},
                **measured,
                "metadata": metadata,
            },
            "geometry": {
                "type": "Point",
                "coordinates": [x + CORNER, y + CORNER],
                **plane_of(t, z),
            },
        }


QUPATH = DotFormat(
    "qupath",
    (".geojson", ".json"),
    is_qupath,
    _read,
    _write,
    "QuPath",
    Keeps(removed=False),
)

"""Regions ⇄ a Shapes layer, in which the user draws them with napari's own tools."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Image, Shapes
from numpy.typing import NDArray

from celltally._napari.colours import REGIONS
from celltally._napari.layers.own import own_layer, tag
from celltally._napari.layers.place import add_beside, lifted, spatial
from celltally._napari.planes import Plane, key_of
from celltally.types import REGION_KINDS, Region, RegionKind

__all__ = [
    "KIND_NAMES",
    "all_regions_of",
    "name_regions",
    "outline_of",
    "region_layer",
    "regions_of",
    "rename_region",
    "replace_regions",
    "set_region_kind",
    "set_regions",
    "show_regions",
    "state_count",
    "tidy_regions",
]

#: What a region of a kind is called, before its number.
KIND_NAMES: dict[RegionKind, str] = {
    "count": "Region",
    "reviewed": "Reviewed",
    "exclude": "Excluded",
    "tissue": "Tissue",
    "audit": "Audit",
}
#: Corners that stand for an ellipse.
ELLIPSE_CORNERS = 72
#: Width of an outline, as a share of the image's longer side.
EDGE = 0.003
_COLUMNS = ("name", "kind", "stated", "id", "label")


def region_layer(layers: Any, image: str) -> Shapes | None:
    """Our newest regions layer of an image."""
    return own_layer(layers, image, "regions")


def show_regions(viewer: Any, image: Image, plane: Plane, regions: Sequence[Region] = ()) -> Shapes:
    """Put a layer to draw regions in over an image, or find the one that is there.

    Parameters
    ----------
    plane
        The plane that ``regions`` lie in.
    regions
        What to add to it.
    """
    layer = region_layer(viewer.layers, key_of(image))
    if layer is None:
        layer = Shapes(
            ndim=image.ndim,
            name=f"{image.name} regions",
            features=pd.DataFrame(
                {c: pd.Series(dtype="float" if c == "stated" else "object") for c in _COLUMNS}
            ),
            feature_defaults=_defaults("Region 1", "count"),
            edge_width=max(EDGE * max(plane.shape), 0.5),
            edge_color=REGIONS["count"][0],
            face_color=REGIONS["count"][1],
            opacity=1.0,
            text={"string": "{label}", "color": "white", "size": 9, "anchor": "upper_left"},
            metadata=tag("regions", image),
            **spatial(image),
        )
        layer = add_beside(viewer, layer)
    if regions:
        set_regions(layer, plane, regions)
    return layer


def set_regions(layer: Shapes, plane: Plane, regions: Iterable[Region]) -> None:
    """Add regions to our layer, all in one plane."""
    added = list(regions)
    _add(layer, added, [lifted(region.polygon, plane) for region in added])


def _add(layer: Shapes, regions: Sequence[Region], corners: Sequence[NDArray[Any]]) -> None:
    if not regions:
        return
    before = layer.features.to_dict("list")
    layer.add(list(corners), shape_type="polygon")
    new = [_defaults(region.name, region.kind, region.stated, region.id) for region in regions]
    layer.features = pd.DataFrame({c: [*before[c], *(row[c] for row in new)] for c in _COLUMNS})
    tidy_regions(layer)


def replace_regions(layer: Shapes, plane: Plane, regions: Sequence[Region]) -> None:
    """Have our layer hold these regions, each in its own plane, and no others."""
    mode, chosen = layer.mode, {str(layer.features["id"].iloc[i]) for i in layer.selected_data}
    layer.selected_data = set(range(layer.nshapes))
    layer.remove_selected()
    _add(layer, regions, [_own_corners(region, plane) for region in regions])
    layer.selected_data = {i for i, region in enumerate(regions) if region.id in chosen}
    if layer.mode != mode:
        layer.mode = mode
    layer.refresh()


def _own_corners(region: Region, plane: Plane) -> NDArray[Any]:
    """Corners ``(n, ndim)`` of a region where it lies along the image's axes."""
    corners = lifted(region.polygon, plane)
    for i, letter in enumerate(plane.axes):
        if letter in ("T", "Z"):
            corners[:, i] = region.t if letter == "T" else region.z
    return corners


def regions_of(layer: Shapes, plane: Plane) -> list[tuple[int, Region]]:
    """Regions that a layer of ours holds in a plane, each with the number of its shape.

    Lines and paths are closed, ellipses become polygons of the same area.
    """
    return [(i, region) for i, lead, region in _read(layer, plane) if plane.are_at([lead])[0]]


def all_regions_of(layer: Shapes, plane: Plane) -> list[Region]:
    """Regions that a layer of ours holds, in whichever plane; ``plane`` tells the axes."""
    return [region for _, _, region in _read(layer, plane)]


def _read(layer: Shapes, plane: Plane) -> list[tuple[int, NDArray[Any], Region]]:
    """Give each shape's number, its place along the axes before the last two, and its region."""
    types, features = layer.shape_type, layer.features
    columns = [list(features[column]) for column in ("name", "kind", "stated", "id")]
    found = []
    for i, (data, name, kind, stated, id_) in enumerate(zip(layer.data, *columns, strict=True)):
        corners = np.asarray(data, dtype=float)
        lead = np.rint(corners[0, :-2])
        at = {letter: int(index) for letter, index in zip(plane.axes, lead, strict=True)}
        region = Region(
            outline_of(corners[:, -2:], types[i]),
            kind if kind in REGION_KINDS else "count",
            "" if pd.isna(name) else str(name),
            None if pd.isna(stated) else float(stated),
            **({} if pd.isna(id_) or not id_ else {"id": str(id_)}),
            t=at.get("T", 0),
            z=at.get("Z", 0),
        )
        found.append((i, lead, region))
    return found


def outline_of(corners: NDArray[np.float64], shape_type: str) -> NDArray[np.float64]:
    """Polygon ``(n, 2)`` of a shape as napari keeps it."""
    if shape_type == "ellipse" and len(corners) == 4:
        middle = corners.mean(axis=0)
        # Half axes; longer by what the chords cut off, so that the area is the ellipse's.
        axes = np.stack([corners[1] - corners[0], corners[3] - corners[0]]) / 2
        angle = 2 * np.pi / ELLIPSE_CORNERS
        axes *= np.sqrt(angle / np.sin(angle))
        turn = angle * np.arange(ELLIPSE_CORNERS)
        return middle + np.stack([np.cos(turn), np.sin(turn)], axis=1) @ axes
    if shape_type == "rectangle" and len(corners) == 4:
        # napari keeps single precision, in which a resized one may be askew by a hair.
        low, high = corners.min(axis=0), corners.max(axis=0)
        nearest = np.where(corners - low < high - corners, low, high)
        return nearest if np.abs(nearest - corners).max() < 1e-3 else corners
    same = np.all(corners[1:] == corners[:-1], axis=1)
    return corners[np.append(True, ~same)] if len(corners) else corners


def name_regions(layer: Shapes) -> tuple[list[str], list[RegionKind]]:
    """Give every region a name, an id and a label of its own; return names and kinds.

    What was copied keeps neither name nor id of its original.
    """
    features = layer.features
    kinds: list[RegionKind] = [k if k in REGION_KINDS else "count" for k in features["kind"]]
    names: list[str] = []
    for name, of_kind in zip(features["name"], kinds, strict=True):
        text = "" if pd.isna(name) else str(name).strip()
        names.append(free_name(of_kind, names) if not text or text in names else text)
    ids: list[str] = []
    for id_ in features["id"]:
        known = "" if pd.isna(id_) else str(id_)
        ids.append(uuid.uuid4().hex if not known or known in ids else known)
    labels = [
        name if pd.isna(stated) else f"{name}: {float(stated):g} stated"
        for name, stated in zip(names, features["stated"], strict=True)
    ]
    tidy = {"name": names, "kind": kinds, "id": ids, "label": labels}
    if any(values != list(features[column]) for column, values in tidy.items()):
        layer.features = pd.DataFrame({**features, **tidy})
    return names, kinds


def tidy_regions(layer: Shapes, kind: RegionKind | None = None) -> None:
    """Give every region a name of its own and its kind's colours.

    napari gives a new shape what the last selected one has, its name included.

    Parameters
    ----------
    kind
        Of the next region that is drawn; None: as before.
    """
    names, kinds = name_regions(layer)
    default = kind or str(layer.feature_defaults["kind"].iloc[0])
    following: RegionKind = default if default in REGION_KINDS else "count"  # type: ignore[assignment]
    layer.feature_defaults = _defaults(free_name(following, names), following)
    with layer.block_update_properties():
        layer.current_edge_color, layer.current_face_color = REGIONS[following]
    if kinds:
        for which, attribute in enumerate(("edge_color", "face_color")):
            colours = np.array([rgba(REGIONS[k][which]) for k in kinds])
            if not np.allclose(getattr(layer, attribute), colours, atol=1e-3):
                setattr(layer, attribute, colours)


def rename_region(layer: Shapes, index: int, name: str) -> None:
    """Give one region another name."""
    _change(layer, index, name=name)


def set_region_kind(layer: Shapes, index: int, kind: RegionKind) -> None:
    """Make one region one of another kind; a name that we gave it goes with its kind."""
    features = layer.features
    name, before = str(features["name"].iloc[index]), features["kind"].iloc[index]
    given = KIND_NAMES.get(before, "")
    renamed = name.removeprefix(given).strip().isdigit() and name.startswith(given)
    _change(layer, index, kind=kind, **({"name": ""} if renamed else {}))


def state_count(layer: Shapes, index: int, stated: float | None) -> None:
    """State how many cells are in one region; None: no longer."""
    _change(layer, index, stated=np.nan if stated is None else stated)


def _change(layer: Shapes, index: int, **values: Any) -> None:
    features = layer.features.copy()
    for column, value in values.items():
        features[column] = [value if i == index else old for i, old in enumerate(features[column])]
    layer.features = features
    tidy_regions(layer)


def free_name(kind: RegionKind, taken: Sequence[str]) -> str:
    """Return the first name with a number that no region has."""
    number = 1
    while f"{KIND_NAMES[kind]} {number}" in taken:
        number += 1
    return f"{KIND_NAMES[kind]} {number}"


def rgba(colour: str) -> list[float]:
    """``#rrggbb`` or ``#rrggbbaa`` → four numbers from 0 to 1."""
    digits = colour.removeprefix("#").ljust(8, "f")
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4, 6)]


def _defaults(
    name: str, kind: RegionKind, stated: float | None = None, id_: str = ""
) -> dict[str, Any]:
    stated_ = np.nan if stated is None else stated
    return {"name": name, "kind": kind, "stated": stated_, "id": id_, "label": name}

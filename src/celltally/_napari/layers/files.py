"""Files ⇄ layers that belong to no image of ours: regions, densities, points of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celltally._napari.colours import DENSITY, REGIONS
from celltally._napari.layers.density import top_of
from celltally._napari.layers.own import TAG
from celltally._napari.layers.regions import outline_of, rgba
from celltally.io import StoredDensity
from celltally.types import REGION_KINDS, Dots, Region

__all__ = ["densities_of_file", "dots_of_others", "regions_of_file", "regions_of_shapes"]

LayerTuple = tuple[Any, dict[str, Any], str]


def regions_of_file(regions: Sequence[Region], name: str) -> LayerTuple:
    """Return a Shapes layer for regions that were read from a file.

    Time and plane become axes only where the regions differ in them.
    """
    columns = [("T", [r.t for r in regions]), ("Z", [r.z for r in regions])]
    lead = [(axis, values) for axis, values in columns if len(set(values)) > 1]
    corners = []
    for i, region in enumerate(regions):
        at = np.array([values[i] for _, values in lead], dtype=float)
        corners.append(
            np.concatenate([np.tile(at, (len(region.polygon), 1)), region.polygon], axis=1)
        )
    features = pd.DataFrame(
        {
            "name": [r.name for r in regions],
            "kind": [r.kind for r in regions],
            "stated": [np.nan if r.stated is None else r.stated for r in regions],
            "id": [r.id for r in regions],
        }
    )
    settings = {
        "name": f"{name} regions",
        "shape_type": "polygon",
        "features": features,
        "edge_color": np.array([rgba(REGIONS[r.kind][0]) for r in regions]),
        "face_color": np.array([rgba(REGIONS[r.kind][1]) for r in regions]),
        "edge_width": 2,
        "opacity": 1.0,
        "metadata": {TAG: {"role": "file", "axes": tuple(axis for axis, _ in lead)}},
    }
    return corners, settings, "shapes"


def regions_of_shapes(data: Sequence[Any], meta: Mapping[str, Any]) -> list[Region]:
    """Regions that a Shapes layer holds, ours or another's; lines are closed.

    Parameters
    ----------
    data, meta
        As napari gives them to writers.
    """
    features = pd.DataFrame(meta.get("features"))
    kinds = meta.get("shape_type", "polygon")
    types = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
    regions = []
    for i, (corners, shape) in enumerate(zip(data, types, strict=True)):
        values = np.asarray(corners, dtype=float)
        row = features.iloc[i] if i < len(features) else {}
        kind, name, stated, id_ = (row.get(c) for c in ("kind", "name", "stated", "id"))
        at = _planes(values[:1, :-2], meta)
        regions.append(
            Region(
                outline_of(values[:, -2:], shape),
                kind if kind in REGION_KINDS else "count",
                "" if name is None or pd.isna(name) else str(name),
                None if stated is None or pd.isna(stated) else float(stated),
                **({"id": str(id_)} if isinstance(id_, str) and id_ else {}),
                t=int(at["T"][0]),
                z=int(at["Z"][0]),
            )
        )
    return regions


def dots_of_others(data: Any, meta: Mapping[str, Any]) -> Dots:
    """Dots of a Points layer that is none of ours: places, and classes where it has any."""
    places = np.asarray(data, dtype=float)
    features = pd.DataFrame(meta.get("features"))
    labels = list(features["class"]) if "class" in features else ["cell"] * len(places)
    at = _planes(places[:, :-2], meta)
    return Dots.new(
        places[:, -2:],
        t=at["T"],
        z=at["Z"],
        label=np.array(["cell" if pd.isna(v) or v == "" else str(v) for v in labels], np.str_),
        state="added",
    )


def _planes(lead: NDArray[np.float64], meta: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Return time point and plane: of our layers as their axes say, else the last two before y."""
    own = meta.get("metadata")
    tag = own.get(TAG) if isinstance(own, Mapping) else None
    axes = tag.get("axes") if isinstance(tag, Mapping) else None
    letters = list("TZ"[-lead.shape[1] :] if lead.shape[1] else "") if axes is None else list(axes)
    found = {letter: np.zeros(len(lead), np.int64) for letter in "TZ"}
    for letter, column in zip(reversed(letters), reversed(range(lead.shape[1])), strict=False):
        if letter in found:
            found[letter] = np.rint(lead[:, column]).astype(np.int64)
    return found


def densities_of_file(found: StoredDensity, axes: str, name: str) -> list[LayerTuple]:
    """Return an Image layer per class for a density, in pixels of the image that it is of.

    Parameters
    ----------
    found
        Its density has the axes before the last three that ``axes`` names.
    axes
        Such as ``TZCYX``; axes of length 1 before the last two are left out.
    """
    layers = []
    title = name if name.endswith("density") else f"{name} density"
    for k, of_class in enumerate(found.classes):
        values = found.density[..., k, :, :]
        lead = [n for n in values.shape[:-2] if n > 1]
        values = values.reshape(*lead, *values.shape[-2:])
        grid = found.grid
        settings = {
            "name": title + (f" {of_class}" if len(found.classes) > 1 else ""),
            "colormap": DENSITY,
            "blending": "translucent",
            "interpolation2d": "linear",
            "contrast_limits": (0.0, top_of(np.nan_to_num(values))),
            "scale": [*(1.0 for _ in lead), *grid.step],
            "translate": [
                *(0.0 for _ in lead),
                *(origin + step / 2 for origin, step in zip(grid.origin, grid.step, strict=True)),
            ],
            "metadata": {
                TAG: {"role": "file"},
                "image": found.image,
                "model": found.model,
                "model_sha256": found.model_sha256,
                "pixel_size_um": found.pixel_size_um,
            },
        }
        layers.append((values, settings, "image"))
    return layers

"""A Points layer → dots, with what a human changed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from napari.layers import Points
from numpy.typing import NDArray

from celltally._napari.layers.dots import dots_data, joined
from celltally._napari.layers.own import TAG, kept
from celltally.types import DOT_STATES, Dots

__all__ = ["dots_of", "dots_of_points", "every_dot_of_points", "is_edited"]


def is_edited(layer: Points) -> bool:
    """Whether a dots layer of ours holds something else than what we wrote last.

    Compares contents, for napari reports neither a paste nor a change in place. Quick: it is
    asked after everything that happens to the layer.
    """
    written: Dots = kept(layer, "written")
    data = np.asarray(layer.data)
    if len(data) != len(written):
        return True
    if not np.array_equal(data, dots_data(written, kept(layer, "axes"), kept(layer, "position"))):
        return True
    features = layer.features
    for name, column in (("id", written.id), ("class", written.label), ("state", written.state)):
        if name not in features or not np.array_equal(
            features[name].to_numpy(dtype=object), column.astype(object)
        ):
            return True
    return False


def dots_of(layer: Points) -> Dots:
    """Dots of a Points layer of ours, with what a human changed; see ``dots_of_points``."""
    return dots_of_points(layer.data, layer.features, layer.metadata)


def dots_of_points(data: Any, features: Any, metadata: Mapping[str, Any]) -> Dots:
    """Dots that a Points layer of ours holds, with what a human changed since we wrote it.

    A dot that was moved, added or pasted says so in its state. One that is gone comes
    last, as it was, and is ``removed``: nothing that was found is lost.

    Parameters
    ----------
    data
        ``(n, ndim)`` positions.
    features
        A table, or columns by name.
    metadata
        The layer's.
    """
    written: Dots = metadata[TAG]["written"]
    axes: tuple[str, ...] = metadata[TAG]["axes"]
    data = np.asarray(data, dtype=float)

    def column(name: str) -> list[str]:
        if name not in features:
            return [""] * len(data)
        values = np.asarray(features[name], dtype=object)
        return [str(value) for value in np.where(pd.isna(values), "", values).tolist()]

    def index(letter: str, before: NDArray[np.int64]) -> NDArray[np.int64] | int:
        if letter in axes:
            return np.rint(data[:, axes.index(letter)]).astype(np.int64)
        return int(before[0]) if len(before) else 0

    now = Dots.new(
        data[:, -2:],
        id=np.full(len(data), "", dtype="<U32"),  # drawn for those that are new only
        t=index("T", written.t),
        z=index("Z", written.z),
        label=[label or "cell" for label in column("class")],
        state="added",
    )
    origins = _origins(column("id"), written)
    stays = np.array([row is not None for row in origins], dtype=bool)
    new = now[~stays]
    new = replace(new, id=np.array([uuid.uuid4().hex for _ in range(len(new))], dtype="<U32"))
    before, here = written[[row for row in origins if row is not None]], now[stays]
    gone = written[np.setdiff1d(np.arange(len(written)), [r for r in origins if r is not None])]
    said = np.array(column("state"), dtype=np.str_)[stays]
    state = np.where(np.isin(said, DOT_STATES), said, before.state)
    moved = (here.yx != before.yx).any(axis=1) | (here.t != before.t) | (here.z != before.z)
    state = np.where(moved & ~np.isin(state, ("added", "removed")), "moved", state)
    return joined(
        replace(here, id=before.id, score=before.score, source=before.source, state=state),
        new,
        replace(gone, state=np.full(len(gone), "removed")),
    )


def every_dot_of_points(data: Any, features: Any, metadata: Mapping[str, Any]) -> Dots:
    """Dots of an image, those included that its layer does not show because they are many.

    See ``dots_of_points`` for the parameters.
    """
    now, work = dots_of_points(data, features, metadata), metadata[TAG].get("work")
    if work is None:
        return now
    return joined(now, work.dots[~np.isin(work.dots.id, metadata[TAG]["written"].id)])


def _origins(ids: Sequence[str], written: Dots) -> list[int | None]:
    """Row of ``written`` that each id stands for; None for a dot that is new.

    napari keeps the order of its points and puts new ones last. It may give them the
    id of a dot that was selected before, even of one that is gone by now.
    """
    rows = {name: row for row, name in enumerate(written.id.tolist())}
    origins: list[int | None] = []
    last = -1
    for name in ids:
        row = rows.get(name, -1)
        origins.append(row if row > last else None)
        last = max(last, row)
    return origins

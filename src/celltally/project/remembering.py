"""Figures of the images of a project, worked out once and remembered.

What is remembered of an image holds while its last step, its newest prediction and the level
are those that it was made from; an edit, another count or another level makes it stale.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from celltally.errors import UserError
from celltally.project import schema
from celltally.project.figures import Figures, level_of
from celltally.project.measuring import work_out
from celltally.project.store import Store
from celltally.types import Interval, Progress

__all__ = ["Remembered", "iter_refresh", "of_image", "remembered"]

#: Images whose figures are written in one transaction.
_BATCH = 50
#: What an image's figures are made from: its last step, its newest prediction.
_State = tuple[int, int | None]


@dataclass(frozen=True)
class Remembered:
    """Figures as they were last worked out.

    Attributes
    ----------
    figures
        By the image's number: those of its planes, each followed by its regions'.
    stale
        Numbers of the images whose figures are missing, or older than what was done since.
    """

    figures: Mapping[int, tuple[Figures, ...]]
    stale: frozenset[int]


def remembered(store: Store, *, level: float | None = None) -> Remembered:
    """Return what is remembered of every image, and for which it is stale; works nothing out.

    Parameters
    ----------
    level
        Nominal coverage; without, the project's.
    """
    return _remembered(store, level_of(store) if level is None else level)


def _remembered(store: Store, level: float, image_id: int | None = None) -> Remembered:
    """Return what is remembered of every image, or of one."""
    states = _states(store, image_id)
    query = sa.select(schema.figures).order_by(*schema.figures.primary_key)
    if image_id is not None:
        query = query.where(schema.figures.c.image_id == image_id)
    found: dict[int, list[Figures]] = {}
    made_from: dict[int, set[tuple[int, int | None, float]]] = {}
    with store.read() as connection:
        for row in connection.execute(query).mappings():
            content = json.loads(row["content"])
            made_from.setdefault(row["image_id"], set()).add(
                (row["step_seq"], row["prediction_id"], content["level"])
            )
            found.setdefault(row["image_id"], []).extend(_unpacked(row, content))
    stale = {
        number for number, state in states.items() if made_from.get(number) != {(*state, level)}
    }
    return Remembered({n: tuple(rows) for n, rows in found.items()}, frozenset(stale))


def of_image(store: Store, image_id: int, *, level: float | None = None) -> tuple[Figures, ...]:
    """Figures of an image as it is now: those of its planes, each followed by its regions'.

    What is not remembered is worked out, and remembered unless the project is open for reading
    only.

    Raises
    ------
    UserError
        When there is no such image, or the project cannot be read or written.
    """
    level = level_of(store) if level is None else level
    known = _remembered(store, level, image_id)
    if image_id in known.figures and image_id not in known.stale:
        return known.figures[image_id]
    state = _states(store, image_id).get(image_id, (0, None))
    found = work_out(store, image_id, level)
    if not store.read_only:
        _remember(store, {image_id: (state, found)}, level)
    return found


def iter_refresh(
    store: Store, *, level: float | None = None
) -> Generator[Progress, None, dict[int, tuple[Figures, ...]]]:
    """Work out the figures of every image for which they are stale.

    They are remembered as it goes, unless the project is open for reading only; an image that
    is edited meanwhile stays stale.

    Parameters
    ----------
    level
        Nominal coverage; without, the project's.

    Yields
    ------
    Progress
        After every image.

    Returns
    -------
    dict
        By the image's number, what was worked out: to be given to ``study.rows`` where it could
        not be remembered.
    """
    level = level_of(store) if level is None else level
    stale = sorted(remembered(store, level=level).stale)
    all_found: dict[int, tuple[Figures, ...]] = {}
    batch: dict[int, tuple[_State, tuple[Figures, ...]]] = {}
    try:
        for done, number in enumerate(stale, start=1):
            state = _states(store, number).get(number, (0, None))
            all_found[number] = work_out(store, number, level)
            batch[number] = state, all_found[number]
            if len(batch) >= _BATCH and not store.read_only:
                _remember(store, batch, level)
                batch.clear()
            yield Progress(done, len(stale), "working out the counts")
    except GeneratorExit:  # cancelled: what is worked out is kept, unless the project was closed
        with contextlib.suppress(UserError):
            if batch and not store.read_only:
                _remember(store, batch, level)
        raise
    if batch and not store.read_only:
        _remember(store, batch, level)
    return all_found


# ---- what figures are made from ----


def _states(store: Store, image_id: int | None = None) -> dict[int, _State]:
    """Last step and newest prediction of every image, or of one."""

    def newest(column: sa.Column[Any], owner: sa.Column[Any]) -> sa.Select[Any]:
        query = sa.select(owner, sa.func.max(column)).group_by(owner)
        return query.where(owner.is_not(None) if image_id is None else owner == image_id)

    query = sa.select(schema.images.c.id)
    if image_id is not None:
        query = query.where(schema.images.c.id == image_id)
    with store.read() as connection:
        numbers = connection.execute(query).scalars().all()
        steps = newest(schema.steps.c.seq, schema.steps.c.image_id)
        last = _by_owner(connection, steps)
        predictions = newest(schema.predictions.c.id, schema.predictions.c.image_id)
        counted = _by_owner(connection, predictions)
    return {number: (int(last.get(number, 0)), counted.get(number)) for number in numbers}


def _by_owner(connection: sa.Connection, query: sa.Select[Any]) -> dict[int, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


# ---- the table ----


def _remember(
    store: Store,
    found: Mapping[int, tuple[_State, tuple[Figures, ...]]],
    level: float,
) -> None:
    table = schema.figures
    rows = []
    for number, ((step, prediction), figures) in found.items():
        planes: dict[tuple[int, int], list[Figures]] = {}
        for one in figures:
            planes.setdefault((one.t, one.z), []).append(one)
        rows += [
            {
                "image_id": number,
                "t": t,
                "z": z,
                "step_seq": step,
                "prediction_id": prediction,
                "content": json.dumps({"level": level, "figures": [_packed(f) for f in of_plane]}),
            }
            for (t, z), of_plane in planes.items()
        ]
    with store.write() as connection:
        connection.execute(table.delete().where(table.c.image_id.in_(list(found))))
        if rows:
            connection.execute(table.insert(), rows)


def _packed(figures: Figures) -> dict[str, Any]:
    interval = figures.interval
    return {
        "z_method": figures.z_method,
        "region_id": figures.region_id,
        "name": figures.name,
        "stated": figures.stated,
        "count": _null(figures.count),
        "interval": [_null(interval.low), _null(interval.high), interval.level],
        "kind": interval.kind,
        "reason": interval.reason,
        "density_count": _null(figures.density_count),
        "n_dots": figures.n_dots,
        "states": dict(figures.states),
        "classes": dict(figures.classes),
        "class_counts": dict(figures.class_counts),
        "area_px": _null(figures.area_px),
        "reviewed_share": figures.reviewed_share,
        "in_tissue": figures.in_tissue,
        "prediction_id": figures.prediction_id,
    }


def _unpacked(row: Mapping[Any, Any], content: Mapping[str, Any]) -> list[Figures]:
    found = []
    for packed in content["figures"]:
        low, high, level = packed["interval"]
        values = {
            name: value
            for name, value in packed.items()
            if name not in ("interval", "kind", "reason")
        }
        for name in ("count", "density_count", "area_px"):
            values[name] = _nan(values[name])
        interval = Interval(_nan(low), _nan(high), level, packed["kind"], packed["reason"])
        place = (row["image_id"], row["t"], row["z"])
        found.append(Figures(*place, interval=interval, **values))
    return found


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value

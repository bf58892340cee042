"""A human's work in the project: dots, regions, and the log that tells how they came to be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from celltally.project.edits import Change, Edit, Record, Work, region_of_record
from celltally.project.schema import changes, dots, regions, sources, steps
from celltally.project.store import Store, inserted, now
from celltally.types import Dots, Region

__all__ = ["last_step", "load_dots", "load_regions", "load_work", "log", "record"]


def record(
    store: Store,
    image_id: int | None,
    edit: Edit,
    *,
    author: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> int:
    """Write an edit into the log and make it, in one transaction.

    When this returns it is on the disk. Of what counting does (kind ``system``) the log has
    no single changes: they follow from model and image. An edit that is in the log already is
    not made again, so that one of which it was not told whether it was written may be tried
    once more.

    Parameters
    ----------
    image_id
        None for what concerns the whole project.
    author
        Who; without, the store's.
    detail
        What no change tells, as JSON has it.

    Returns
    -------
    int
        Number of the step; later ones have higher numbers.

    Raises
    ------
    UserError
        When it cannot be written; then nothing of it is.
    """
    with store.write() as connection:
        known = sa.select(steps.c.seq).where(steps.c.id == edit.id)
        if (seq := connection.execute(known).scalar()) is not None:
            return int(seq)
        step = steps.insert().values(
            id=edit.id,
            made=now(),
            author=store.author if author is None else author,
            image_id=image_id,
            kind=edit.kind,
            action=edit.action,
            target=edit.target,
            detail=json.dumps(dict(detail or {})),
        )
        seq = inserted(connection, step)
        if edit.kind != "system" and edit.changes:
            connection.execute(
                changes.insert(),
                [
                    {
                        "step_seq": seq,
                        "place": place,
                        "item": change.item,
                        "item_id": change.id,
                        "before": _json(change.before),
                        "after": _json(change.after),
                    }
                    for place, change in enumerate(edit.changes)
                ],
            )
        if image_id is not None:
            _apply_to_dots(connection, image_id, edit.changes)
            _apply_to_regions(connection, image_id, edit.changes)
    return seq


def _json(value: Record | None) -> str | None:
    return None if value is None else json.dumps(value)


def _apply_to_dots(
    connection: sa.Connection, image_id: int, edit_changes: Iterable[Change]
) -> None:
    after = {c.id: c.after for c in edit_changes if c.item == "dot"}
    if gone := [{"key": name} for name, value in after.items() if value is None]:
        row = dots.delete().where(dots.c.image_id == image_id, dots.c.id == sa.bindparam("key"))
        connection.execute(row, gone)
    there = {name: value for name, value in after.items() if value is not None}
    if not there:
        return
    source_ids = _sources(connection, {value["source"] for value in there.values()})
    query = insert(dots)
    rest = ("t", "z", "y", "x", "class", "score", "state", "source_id")
    connection.execute(
        query.on_conflict_do_update(
            index_elements=["image_id", "id"], set_={name: query.excluded[name] for name in rest}
        ),
        [
            {
                "image_id": image_id,
                "id": name,
                **{column: value[column] for column in rest[:-1]},
                "source_id": source_ids[value["source"]],
            }
            for name, value in there.items()
        ],
    )


def _sources(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Numbers of sources; new ones are added."""
    wanted = sorted(names)
    connection.execute(
        insert(sources).on_conflict_do_nothing(), [{"name": name} for name in wanted]
    )
    query = sa.select(sources.c.name, sources.c.id).where(sources.c.name.in_(wanted))
    return {row.name: row.id for row in connection.execute(query)}


def _apply_to_regions(
    connection: sa.Connection, image_id: int, edit_changes: Iterable[Change]
) -> None:
    last = sa.select(sa.func.coalesce(sa.func.max(regions.c.place), 0) + 1)
    for change in edit_changes:
        if change.item != "region":
            continue
        if change.after is None:
            row = regions.delete().where(regions.c.image_id == image_id, regions.c.id == change.id)
            connection.execute(row)
            continue
        values: dict[str, Any] = {name: change.after[name] for name in ("t", "z", "kind", "name")}
        values |= {
            "stated": change.after["stated"],
            "polygon": json.dumps(change.after["polygon"]),
        }
        place = last.where(regions.c.image_id == image_id).scalar_subquery()
        query = insert(regions).values(image_id=image_id, id=change.id, place=place, **values)
        connection.execute(
            query.on_conflict_do_update(index_elements=["image_id", "id"], set_=values)
        )


def load_work(store: Store, image_id: int) -> Work:
    """Return an image's dots and regions, with every edit of theirs that can be undone."""
    return Work(
        load_dots(store, image_id),
        load_regions(store, image_id),
        log(store, image_id),
    )


def load_dots(store: Store, image_id: int) -> Dots:
    """Return every dot of an image, those that were removed included, in the order of their ids.

    Their order says nothing, but it is the same every time.
    """
    columns = [dots.c[n] for n in ("id", "y", "x", "t", "z", "class", "score", "state")]
    query = (
        sa.select(*columns, sources.c.name)
        .join(sources, sources.c.id == dots.c.source_id)
        .where(dots.c.image_id == image_id)
        .order_by(dots.c.id)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
    if not rows:
        return Dots.new()
    names, y, x, t, z, label, score, state, source = zip(*rows, strict=True)
    return Dots.new(
        np.column_stack([y, x]),
        id=np.array(names, dtype=np.str_),
        t=t,
        z=z,
        label=np.array(label, dtype=np.str_),
        score=np.array([np.nan if s is None else s for s in score]),
        state=np.array(state, dtype=np.str_),
        source=np.array(source, dtype=np.str_),
    )


def load_regions(store: Store, image_id: int) -> tuple[Region, ...]:
    """Return every region of an image, in the order in which they were made."""
    query = sa.select(regions).where(regions.c.image_id == image_id).order_by(regions.c.place)
    with store.read() as connection:
        return tuple(
            region_of_record(row["id"], {**row, "polygon": json.loads(row["polygon"])})
            for row in connection.execute(query).mappings()
        )


def log(store: Store, image_id: int) -> list[Edit]:
    """Return a human's edits of an image, and what undid and redid them, the oldest first."""
    query = (
        sa.select(steps, changes)
        .outerjoin(changes, changes.c.step_seq == steps.c.seq)
        .where(steps.c.image_id == image_id, steps.c.kind != "system")
        .order_by(steps.c.seq, changes.c.place)
    )
    found: dict[str, tuple[Any, list[Change]]] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            _, made = found.setdefault(row.id, (row, []))
            if row.item is not None:
                before = None if row.before is None else json.loads(row.before)
                after = None if row.after is None else json.loads(row.after)
                made.append(Change(row.item, row.item_id, before, after))
    return [
        Edit(row.action, tuple(made), row.kind, row.target, id=name)
        for name, (row, made) in found.items()
    ]


def last_step(store: Store, image_id: int) -> int:
    """Return the number of the last step of an image; 0 where there is none."""
    query = sa.select(sa.func.max(steps.c.seq)).where(steps.c.image_id == image_id)
    with store.read() as connection:
        return int(connection.execute(query).scalar() or 0)

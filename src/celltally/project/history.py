"""The log of a project, as a person reads it: who did what, when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from celltally.project.schema import changes, images, steps
from celltally.project.store import Store

__all__ = ["LogEntry", "history", "people"]


@dataclass(frozen=True)
class LogEntry:
    """A step of the log.

    Attributes
    ----------
    seq
        Its number; later ones have higher numbers.
    made
        When (ISO 8601, UTC).
    author
        Who.
    image_id, image
        The image; None and "" for what concerns the whole project.
    kind
        ``edit``, ``undo``, ``redo`` or ``system``.
    action
        What was done, in a word or two.
    changes
        Number of dots and regions that it changed, as far as the log has them one by one.
    detail
        What no change tells.
    """

    seq: int
    made: str
    author: str
    image_id: int | None
    image: str
    kind: str
    action: str
    changes: int
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """The action in words: ``undo of add``, ``add``."""
        return f"{self.kind} of {self.action}" if self.kind in ("undo", "redo") else self.action


def history(
    store: Store, image_id: int | None = None, *, last: int | None = None
) -> list[LogEntry]:
    """Return the steps of a project or of one image, the oldest first.

    Parameters
    ----------
    image_id
        None for all images, and what concerns the whole project.
    last
        No more than this many, the newest; None for all.
    """
    chosen = sa.select(steps).order_by(steps.c.seq.desc())
    if image_id is not None:
        chosen = chosen.where(steps.c.image_id == image_id)
    if last is not None:
        chosen = chosen.limit(last)
    chosen_steps = chosen.subquery()
    number = (
        sa.select(sa.func.count()).where(changes.c.step_seq == chosen_steps.c.seq).scalar_subquery()
    )
    query = (
        sa.select(chosen_steps, images.c.name, number.label("changes"))
        .outerjoin(images, images.c.id == chosen_steps.c.image_id)
        .order_by(chosen_steps.c.seq)
    )
    with store.read() as connection:
        return [
            LogEntry(
                seq=row.seq,
                made=row.made,
                author=row.author,
                image_id=row.image_id,
                image=row.name or "",
                kind=row.kind,
                action=row.action,
                changes=row.changes,
                detail=json.loads(row.detail),
            )
            for row in connection.execute(query)
        ]


def people(store: Store) -> list[str]:
    """Return everybody who edited dots or regions, by name."""
    query = sa.select(steps.c.author).where(steps.c.kind != "system").distinct()
    with store.read() as connection:
        return sorted(connection.execute(query).scalars())

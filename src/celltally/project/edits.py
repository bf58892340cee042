"""What a human does to dots and regions, and how it is undone. Free of files and Qt.

An ``Edit`` is a list of changes, each with the whole record before and after, so that it can
be applied, reversed and told from the log without anything else.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from celltally.types import Dots, Region

__all__ = [
    "Change",
    "Edit",
    "EditKind",
    "Item",
    "Record",
    "Work",
    "apply_to_dots",
    "apply_to_regions",
    "diff_dots",
    "diff_regions",
    "dot_record",
    "dots_of_records",
    "region_of_record",
    "region_record",
]

Item = Literal["dot", "region"]
#: ``edit``: by a human, can be undone; ``undo`` and ``redo``: of such a one; ``system``: what
#: counting or a setting did, which is no human's work.
EditKind = Literal["edit", "undo", "redo", "system"]
#: A dot's or region's columns as JSON has them.
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One dot or region, before and after.

    Attributes
    ----------
    item
        ``dot`` or ``region``.
    id
        Its id.
    before, after
        Its record; None where it was not there, or is no more.
    """

    item: Item
    id: str
    before: Record | None
    after: Record | None


@dataclass(frozen=True)
class Edit:
    """Changes that belong together: they are made, undone and redone as one.

    Attributes
    ----------
    action
        What was done, in a word or two: ``add``, ``move``, ``remove``, ``confirm``, ….
    changes
        In the order in which they were made; no dot and no region occurs twice.
    kind
        See ``EditKind``.
    target
        Id of the edit that is undone or redone; "" for others.
    id
        A UUID (hex).
    """

    action: str
    changes: tuple[Change, ...]
    kind: EditKind = "edit"
    target: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def undo(self) -> Edit:
        """Return the edit that takes this one back."""
        back = tuple(replace(c, before=c.after, after=c.before) for c in reversed(self.changes))
        return Edit(self.action, back, "undo", self.id)

    def redo(self) -> Edit:
        """Return the edit that makes this one again."""
        return Edit(self.action, self.changes, "redo", self.id)


class Work:
    """The dots and regions of one image as they are now, and the edits that made them.

    Parameters
    ----------
    dots
        Every dot, those that were removed included.
    regions
        Every region.
    edits
        Earlier edits of every kind, the oldest first; they are in ``dots`` and ``regions``
        already.
    """

    def __init__(
        self,
        dots: Dots | None = None,
        regions: Iterable[Region] = (),
        edits: Iterable[Edit] = (),
    ) -> None:
        self.dots = Dots.new() if dots is None else dots
        self.regions = tuple(regions)
        self._done: list[Edit] = []
        self._undone: list[Edit] = []
        for edit in edits:
            self._remember(edit)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits that stand, the oldest first."""
        return tuple(self._done)

    @property
    def undoable(self) -> Edit | None:
        """The edit that ``undo`` would take back."""
        return self._done[-1] if self._done else None

    @property
    def redoable(self) -> Edit | None:
        """The edit that ``redo`` would make again."""
        return self._undone[-1] if self._undone else None

    def do(self, edit: Edit) -> Edit:
        """Apply an edit, and remember it."""
        self.dots = apply_to_dots(self.dots, edit.changes)
        self.regions = apply_to_regions(self.regions, edit.changes)
        self._remember(edit)
        return edit

    def undo(self) -> Edit | None:
        """Take the last edit back; return what did so, None where there is nothing to undo."""
        return self.do(self._done[-1].undo()) if self._done else None

    def redo(self) -> Edit | None:
        """Make the edit again that was taken back last; None where there is none."""
        return self.do(self._undone[-1].redo()) if self._undone else None

    def _remember(self, edit: Edit) -> None:
        if edit.kind == "edit":
            self._done.append(edit)
            self._undone.clear()
        elif edit.kind == "undo" and self._done and self._done[-1].id == edit.target:
            self._undone.append(self._done.pop())
        elif edit.kind == "redo" and self._undone and self._undone[-1].id == edit.target:
            self._done.append(self._undone.pop())


# ---- dots ----


def dot_record(dots: Dots, row: int) -> dict[str, Any]:
    """One dot as JSON has it; a score that there is not is None."""
    score = float(dots.score[row])
    return {
        "y": float(dots.yx[row, 0]),
        "x": float(dots.yx[row, 1]),
        "t": int(dots.t[row]),
        "z": int(dots.z[row]),
        "class": str(dots.label[row]),
        "score": None if np.isnan(score) else score,
        "state": str(dots.state[row]),
        "source": str(dots.source[row]),
    }


def dots_of_records(ids: Sequence[str], records: Sequence[Record]) -> Dots:
    """Dots from their ids and records."""
    return Dots.new(
        np.array([(r["y"], r["x"]) for r in records], dtype=np.float64).reshape(-1, 2),
        id=np.array(ids, dtype=np.str_),
        t=[r["t"] for r in records],
        z=[r["z"] for r in records],
        label=np.array([r["class"] for r in records], dtype=np.str_),
        score=[np.nan if r["score"] is None else r["score"] for r in records],
        state=np.array([r["state"] for r in records], dtype=np.str_),
        source=np.array([r["source"] for r in records], dtype=np.str_),
    )


def apply_to_dots(dots: Dots, changes: Iterable[Change]) -> Dots:
    """Dots after changes; a dot that stays keeps its row, new ones come last."""
    after = {c.id: c.after for c in changes if c.item == "dot"}
    if not after:
        return dots
    rows = np.flatnonzero(np.isin(dots.id, list(after)))
    known = {str(dots.id[row]): int(row) for row in rows}
    gone = [row for name, row in known.items() if after[name] is None]
    changed = {n: r for n, r in after.items() if r is not None and n in known}
    added = {n: r for n, r in after.items() if r is not None and n not in known}
    put = dots_of_records(list(changed), list(changed.values()))
    new = dots_of_records(list(added), list(added.values()))
    at = np.array([known[name] for name in changed], dtype=np.intp)
    stays = np.ones(len(dots), dtype=bool)
    stays[gone] = False
    columns = {}
    for f in fields(Dots):  # what stays the same is not copied: there may be very many dots
        column, values = getattr(dots, f.name), getattr(put, f.name)
        if not np.array_equal(column[at], values):
            column = column.astype(np.result_type(column, values))
            column[at] = values
        column = column[stays] if gone else column
        columns[f.name] = np.concatenate([column, getattr(new, f.name)]) if added else column
    return Dots(**columns)


def diff_dots(before: Dots, after: Dots) -> tuple[Change, ...]:
    """Return the changes that make ``after`` of ``before``."""
    if np.array_equal(before.id, after.id):  # the same in the same order: whole columns at once
        changed = np.flatnonzero(~_same(before, after))
        return tuple(
            Change("dot", str(after.id[row]), dot_record(before, row), dot_record(after, row))
            for row in changed.tolist()
        )
    old = {name: row for row, name in enumerate(before.id.tolist())}
    new = {name: row for row, name in enumerate(after.id.tolist())}
    gone = [
        Change("dot", name, dot_record(before, row), None)
        for name, row in old.items()
        if name not in new
    ]
    both = [name for name in new if name in old]
    same = _same(before[[old[n] for n in both]], after[[new[n] for n in both]])
    changed_ids = {name for name, is_same in zip(both, same.tolist(), strict=True) if not is_same}
    rest = [
        Change(
            "dot",
            name,
            dot_record(before, old[name]) if name in old else None,
            dot_record(after, row),
        )
        for name, row in new.items()
        if name not in old or name in changed_ids
    ]
    return (*gone, *rest)


def _same(before: Dots, after: Dots) -> NDArray[np.bool_]:
    """Whether dots, row by row, are alike in everything."""
    same = (before.yx == after.yx).all(axis=1)
    for name in ("t", "z", "label", "state", "source"):
        same &= getattr(before, name) == getattr(after, name)
    score = (before.score == after.score) | (np.isnan(before.score) & np.isnan(after.score))
    return np.asarray(same & score, dtype=bool)


# ---- regions ----


def region_record(region: Region) -> dict[str, Any]:
    """One region as JSON has it."""
    return {
        "polygon": region.polygon.tolist(),
        "kind": region.kind,
        "name": region.name,
        "stated": None if region.stated is None else float(region.stated),
        "t": int(region.t),
        "z": int(region.z),
    }


def region_of_record(name: str, record: Record) -> Region:
    """Return the region of an id and its record."""
    return Region(
        np.array(record["polygon"], dtype=np.float64).reshape(-1, 2),
        record["kind"],
        record["name"],
        record["stated"],
        id=name,
        t=record["t"],
        z=record["z"],
    )


def apply_to_regions(regions: Sequence[Region], changes: Iterable[Change]) -> tuple[Region, ...]:
    """Regions after changes; one that stays keeps its place, new ones come last."""
    after = {c.id: c.after for c in changes if c.item == "region"}
    if not after:
        return tuple(regions)
    kept: dict[str, Region] = {region.id: region for region in regions}
    for name, record in after.items():
        if record is None:
            kept.pop(name, None)
        else:
            kept[name] = region_of_record(name, record)
    return tuple(kept.values())


def diff_regions(before: Sequence[Region], after: Sequence[Region]) -> tuple[Change, ...]:
    """Return the changes that make ``after`` of ``before``."""
    old = {region.id: region_record(region) for region in before}
    new = {region.id: region_record(region) for region in after}
    gone = [Change("region", name, record, None) for name, record in old.items() if name not in new]
    rest = [
        Change("region", name, old.get(name), record)
        for name, record in new.items()
        if old.get(name) != record
    ]
    return (*gone, *rest)

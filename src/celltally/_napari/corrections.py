"""What a human's action makes of dots and regions: the edits. Free of Qt and napari.

Every dot that a human has touched is in another state than ``proposed``, so that counting
again, which replaces proposals, never touches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltally.density.inside import inside_any
from celltally.project.edits import Change, Edit, diff_dots, diff_regions, dot_record
from celltally.types import Dots, Region

__all__ = [
    "add_dots",
    "change_class",
    "change_regions",
    "confirm_dots",
    "edit_of",
    "from_layer",
    "move_dots",
    "remove_dots",
    "words",
]

#: Kinds of regions in which a human vouches for the dots.
REVIEWED = ("reviewed", "audit")
#: What of a region decides which dots a human vouches for.
_REVIEWS = ("kind", "polygon", "stated", "t", "z")


def edit_of(changes: Iterable[Change], action: str = "") -> Edit | None:
    """Return the edit that makes changes; None where there are none."""
    found = tuple(changes)
    if not found:
        return None
    if not action:
        kinds = {_action(change) for change in found if change.item == "dot"}
        action = kinds.pop() if len(kinds) == 1 else "change"
    return Edit(action, found)


def add_dots(
    yx: ArrayLike, *, t: int = 0, z: int = 0, label: str = "cell", author: str = ""
) -> Edit | None:
    """Add dots at positions ``(n, 2)``."""
    dots = Dots.new(yx, t=t, z=z, label=label, state="added", source=author)
    return edit_of(diff_dots(dots[:0], dots), "add")


def move_dots(dots: Dots, rows: ArrayLike, yx: ArrayLike) -> Edit | None:
    """Move dots to other places ``(n, 2)``; those that were removed stay so."""
    places = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
    changes = []
    for row, (y, x) in zip(np.asarray(rows, dtype=int).tolist(), places.tolist(), strict=True):
        record = dot_record(dots, row)
        state = record["state"] if record["state"] in ("added", "removed") else "moved"
        if (y, x) != (record["y"], record["x"]):
            changes.append(_change(dots, row, y=y, x=x, state=state))
    return edit_of(changes, "move")


def remove_dots(dots: Dots, rows: ArrayLike) -> Edit | None:
    """Remove dots; where all were removed before, bring them back.

    What a human added is no more, everything else stays as a removed dot. What is brought
    back is confirmed, for a human said of it that it is a cell.
    """
    chosen = np.asarray(rows, dtype=int)
    there = chosen[dots.state[chosen] != "removed"].tolist()
    if not there:
        return edit_of([_change(dots, r, state="confirmed") for r in chosen.tolist()], "bring back")
    return edit_of([_removed(dots, row) for row in there], "remove")


def confirm_dots(dots: Dots, rows: ArrayLike) -> Edit | None:
    """Confirm what is proposed; where all of it was confirmed before, take that back."""
    chosen = np.asarray(rows, dtype=int)
    proposed = chosen[dots.state[chosen] == "proposed"].tolist()
    if proposed:
        return edit_of([_change(dots, row, state="confirmed") for row in proposed], "confirm")
    confirmed = chosen[dots.state[chosen] == "confirmed"].tolist()
    return edit_of([_change(dots, row, state="proposed") for row in confirmed], "unconfirm")


def change_class(dots: Dots, rows: ArrayLike, label: str) -> Edit | None:
    """Say of which class dots are, which confirms those that were proposed."""
    changes = []
    for row in np.asarray(rows, dtype=int).tolist():
        if str(dots.label[row]) != label:
            state = str(dots.state[row])
            state = "confirmed" if state == "proposed" else state
            changes.append(_change(dots, row, **{"class": label, "state": state}))
    return edit_of(changes, "classify")


def from_layer(shown: Dots, now: Dots, known: Dots, author: str = "") -> Edit | None:
    """Return the edit that explains how a layer came to hold other dots than were shown in it.

    Parameters
    ----------
    shown
        What we wrote.
    now
        What is there, see ``layers.dots_of``.
    known
        All dots of the image as they are: those that were shown may have changed since.
    author
        Who changed it.
    """
    changes = []
    for change in diff_dots(shown, now):
        before, after = change.before, change.after
        if before is not None:
            row = np.flatnonzero(known.id == change.id)
            before = dot_record(known, int(row[0])) if len(row) else None
            if before is None and (after is None or after["state"] == "removed"):
                continue
        if before is None and after is not None:
            if change.before is None:
                after = {**after, "source": author, "state": "added", "score": None}
        elif before is not None and after is not None:
            if before["state"] == "added" and after["state"] == "removed":
                after = None
            elif before["state"] == after["state"] == "proposed":
                after = {**after, "state": "confirmed"}
        changes.append(replace(change, before=before, after=after))
    return edit_of(changes)


def change_regions(before: Sequence[Region], after: Sequence[Region], dots: Dots) -> Edit | None:
    """Return the edit of regions; what becomes reviewed has its proposed dots confirmed."""
    changes = diff_regions(before, after)
    if not changes:
        return None
    now = {region.id: region for region in after}
    reviewed = [
        now[change.id]
        for change in changes
        if change.after is not None
        and now[change.id].by_dots
        and (change.before is None or any(change.before[k] != change.after[k] for k in _REVIEWS))
    ]
    inside = np.zeros(len(dots), dtype=bool)
    for region in reviewed:
        inside |= within(dots, [region]) & (dots.state == "proposed")
    confirmed = [_change(dots, row, state="confirmed") for row in np.flatnonzero(inside).tolist()]
    actions = {_region_action(change) for change in changes}
    action = actions.pop() if len(actions) == 1 else "change"
    return Edit(action, (*changes, *confirmed))


def within(dots: Dots, regions: Sequence[Region]) -> NDArray[np.bool_]:
    """Whether dots lie in any of some regions, and in their plane."""
    found = np.zeros(len(dots), dtype=bool)
    for region in regions:
        rows = np.flatnonzero((dots.t == region.t) & (dots.z == region.z))
        found[rows[inside_any(dots.yx[rows], [region.polygon])]] = True
    return found


def words(edit: Edit) -> str:
    """Say what an edit does, in words: ``remove 3 dots``, ``review 1 region``."""
    regions = sum(change.item == "region" for change in edit.changes)
    number = regions or len(edit.changes)
    noun = "region" if regions else "dot"
    verb = "change the class of" if edit.action == "classify" else edit.action
    return f"{verb} {number} {noun}{'s' * (number != 1)}"


def _change(dots: Dots, row: int, **values: Any) -> Change:
    before = dot_record(dots, row)
    return Change("dot", str(dots.id[row]), before, {**before, **values})


def _removed(dots: Dots, row: int) -> Change:
    before = dot_record(dots, row)
    after = None if before["state"] == "added" else {**before, "state": "removed"}
    return Change("dot", str(dots.id[row]), before, after)


def _action(change: Change) -> str:
    """Return what happened to a dot, in a word."""
    before, after = change.before, change.after
    if before is None:
        return "add"
    if after is None:
        return "remove"
    if before["state"] != "removed" and after["state"] == "removed":
        return "remove"
    if before["state"] == "removed" and after["state"] != "removed":
        return "bring back"
    if any(before[key] != after[key] for key in ("y", "x", "t", "z")):
        return "move"
    if before["class"] != after["class"]:
        return "classify"
    return "confirm" if after["state"] == "confirmed" else "change"


def _region_action(change: Change) -> str:
    """Return what happened to a region, in a word."""
    before, after = change.before, change.after
    if before is None or after is None:
        record: Mapping[str, Any] = after or before or {}
        if before is None:
            return "review" if record["kind"] in REVIEWED else "draw"
        return "delete"
    if before["kind"] != after["kind"]:
        return "review" if after["kind"] in REVIEWED else "change the kind of"
    if before["stated"] != after["stated"]:
        return "state the count of"
    if before["polygon"] != after["polygon"]:
        return "reshape"
    return "rename"

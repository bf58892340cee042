"""What the table of a study shows: its columns, texts, order and filter. Free of Qt.

A line stands for a ``StudyRow``; the lines of regions follow their plane's, however the table
is sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from celltally._napari import texts

if TYPE_CHECKING:
    from celltally.project.study import StudyRow

__all__ = ["Column", "Key", "Line", "Mark", "arranged", "columns_of", "lines_of", "tell_apart"]

#: What sets a line apart most: its file is missing, it was counted otherwise than the study is
#: locked to (or not at all), it has another flag, or it is being worked out.
Mark = Literal["", "missing", "otherwise", "note", "stale"]
#: What tells a line from all others: image, time point, plane, region.
Key = tuple[int, int, int, str]
#: Sorts numbers before words, and what there is not last.
_Sortable = tuple[int, float, str]

STALE = "being worked out"
_NONE = "–"
#: How flags begin that say that a row was counted otherwise than the study is locked to.
_OTHERWISE = ("counted with another", "other diameter", "threshold moved")


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    head, tip
        Its head, and what it means in a sentence.
    text
        What is written into a cell.
    key
        What the column is sorted by: a number, or text.
    number
        Whether its cells are numbers, which stand on the right.
    """

    head: str
    tip: str
    text: Callable[[StudyRow], str]
    key: Callable[[StudyRow], float | str]
    number: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the table, ready to be shown.

    Attributes
    ----------
    row
        What it stands for.
    cells, keys
        Text of every column, and what it is sorted by.
    mark
        What sets it apart.
    tip
        Sentences on it.
    words
        What the filter looks through, in small letters; of a region its image's text, too.
    """

    row: StudyRow
    cells: tuple[str, ...]
    keys: tuple[_Sortable, ...]
    mark: Mark
    tip: str
    words: str

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        figures = self.row.figures
        return (self.row.entry.id, figures.t, figures.z, figures.region_id)


# ---- columns ----


def columns_of(rows: Sequence[StudyRow], level: float) -> tuple[Column, ...]:
    """Return the columns of a study: those that are empty in every row are left out."""
    over_time = any(row.figures.t for row in rows)
    over_z = any(row.figures.z or row.figures.z_method != "plane" for row in rows)
    further = {name: None for row in rows for name in row.entry.further}
    found = [Column("Name", "Image, or region of it. Press Enter to open it.", _name, _name)]
    found += [_told(name) for name in ("plate", "well", "site") if _any(rows, name)]
    found += [_told(name) for name in ("condition", "replicate")]
    found += [_told(name) for name in further if _any(rows, name)]
    if over_time:
        found.append(_figure("t", "Time point.", lambda r: str(r.figures.t), lambda r: r.figures.t))
    if over_z:
        found.append(_figure("z", "Plane, or how planes are put together.", _z, _z_key))
    found += [
        _figure(
            "Count",
            "Cells after corrections: the density, and the dots where it was reviewed.",
            lambda row: texts.number(row.figures.count),
            lambda row: row.figures.count,
        ),
        _figure(
            texts.percent(level),
            "Interval of the count. Sorted by its width.",
            _interval,
            lambda row: row.figures.interval.high - row.figures.interval.low,
        ),
        _figure(
            "Dots",
            "Dots, without removed and excluded ones.",
            lambda row: texts.number(_n_dots(row)),
            _n_dots,
        ),
        _figure(
            "Reviewed",
            "Share of the area that a person reviewed.",
            lambda row: f"{100 * row.figures.reviewed_share:.0f}{texts.SPACE}%",
            lambda row: row.figures.reviewed_share,
        ),
    ]
    if any(math.isfinite(row.area_mm2) for row in rows):
        found += [
            _figure(
                "mm²",
                "Area, without excluded regions; that of the tissue where some is drawn.",
                lambda row: f"{row.area_mm2:.3g}" if math.isfinite(row.area_mm2) else _NONE,
                lambda row: row.area_mm2,
            ),
            _figure(
                "per mm²",
                "Cells per square millimetre: count by area.",
                lambda row: texts.number(row.cells_per_mm2),
                lambda row: row.cells_per_mm2,
            ),
        ]
    found += [
        Column("Model", "What counted it.", _model, _model),
        Column("Flags", "What sets it apart.", _flags, _flags),
    ]
    return tuple(found)


def _told(name: str) -> Column:
    """Return a column of the plate map."""

    def text(row: StudyRow) -> str:
        return row.column(name)

    head = name[:1].upper() + name[1:].replace("_", " ")
    return Column(head, "From the plate map.", text, text)


def _figure(
    head: str,
    tip: str,
    text: Callable[[StudyRow], str],
    key: Callable[[StudyRow], float],
) -> Column:
    return Column(head, tip, text, key, number=True)


def _any(rows: Sequence[StudyRow], name: str) -> bool:
    return any(row.column(name) for row in rows)


def _name(row: StudyRow) -> str:
    return (row.figures.name or "region") if row.is_region else row.entry.name


def _z(row: StudyRow) -> str:
    method = row.figures.z_method
    return str(row.figures.z) if method == "plane" else method


def _z_key(row: StudyRow) -> float:
    return row.figures.z if row.figures.z_method == "plane" else -1


def _interval(row: StudyRow) -> str:
    interval = row.figures.interval
    if interval.kind == "exact":
        return "exact"
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return _NONE
    return texts.interval_range(interval)


def _n_dots(row: StudyRow) -> float:
    """Return the number of dots; of what was never counted nobody knows it."""
    unknown = row.counted is None and not row.figures.by_hand
    return math.nan if unknown else float(row.figures.n_dots)


def _model(row: StudyRow) -> str:
    return _NONE if row.counted is None else row.counted.model


def _flags(row: StudyRow) -> str:
    return "; ".join((*row.flags, *((STALE,) if row.stale else ())))


# ---- lines ----


def lines_of(rows: Sequence[StudyRow], columns: Sequence[Column]) -> list[Line]:
    """Return the lines of rows, in their order."""
    return [_line(row, columns) for row in rows]


def _line(row: StudyRow, columns: Sequence[Column]) -> Line:
    cells = [column.text(row) for column in columns]
    words = " ".join((row.entry.name, *cells)).lower()
    if row.is_region:  # what it shares with its image stands there
        shared = range(1, next(i for i, column in enumerate(columns) if column.number))
        cells = ["" if i in shared else cell for i, cell in enumerate(cells)]
    keys = tuple(_sortable(column.key(row)) for column in columns)
    return Line(row, tuple(cells), keys, _mark(row), _tip(row), words)


def _sortable(value: float | str) -> _Sortable:
    if not isinstance(value, str):
        return (0, float(value), "") if math.isfinite(value) else (2, 0.0, "")
    if value in ("", _NONE):
        return 2, 0.0, ""
    try:
        return 0, float(value), ""  # numbers of replicates and doses
    except ValueError:
        return 1, 0.0, natural(value.casefold())


def natural(text: str) -> str:
    """Return what sorts ``A2`` before ``A10``: every number gets zeros in front."""
    parts, digits = [], ""
    for char in f"{text}\0":
        if char.isdecimal():
            digits += char
            continue
        parts.append(digits.zfill(12) if digits else "")
        parts.append(char)
        digits = ""
    return "".join(parts)


def _mark(row: StudyRow) -> Mark:
    if row.missing:
        return "missing"
    if tell_apart(row):
        return "otherwise"
    if row.flags:
        return "note"
    return "stale" if row.stale else ""


def tell_apart(row: StudyRow) -> tuple[str, ...]:
    """Say in what a row was counted otherwise than the study is locked to; empty where not."""
    return tuple(flag for flag in row.flags if flag.startswith(_OTHERWISE))


def _tip(row: StudyRow) -> str:
    """Sentences on a row, for those who point at it."""
    figures = row.figures
    said = [row.label if row.entry.path is None else str(row.entry.path)]
    said += [f"{flag[:1].upper()}{flag[1:]}." for flag in row.flags]
    if row.missing:
        said.append("Press “Find moved files…” to look for it.")
    if row.stale:
        said.append("It is being worked out anew: the figures are older than the last change.")
    if why := texts.interval_words(figures.interval):
        said.append(why)
    if figures.stated is not None:
        said.append(f"A person stated {figures.stated:g} here.")
    if figures.in_tissue:
        said.append("The figures are those of the tissue.")
    if figures.by_hand:
        named = [f"{n} {state}" for state, n in figures.states.items() if state != "proposed" and n]
        said.append(f"By hand: {', '.join(named)}.")
    if row.last_edit is not None:
        at = row.last_edit.at[:16].replace("T", " ")
        said.append(f"Edited last by {row.last_edit.by}, {at} UTC.")
    return "\n".join(said)


# ---- order and filter ----


def arranged(
    lines: Sequence[Line],
    *,
    column: int | None = None,
    descending: bool = False,
    words: str = "",
    only_flagged: bool = False,
) -> list[int]:
    """Return which lines are shown, in their order.

    Planes are sorted, and regions among those of their plane. What has no value comes last,
    whichever way it is sorted. A region that is found by the filter brings its plane's line
    with it.

    Parameters
    ----------
    lines
        All of them; a plane's before its regions'.
    column
        Which one to sort by; None for the order in which the images came.
    descending
        The largest first.
    words
        Text that a line must have: each of its words somewhere.
    only_flagged
        Leave out lines without flags.
    """
    asked = words.lower().split()

    def wanted(line: Line) -> bool:
        return all(word in line.words for word in asked) and not (
            only_flagged and not line.row.flags
        )

    families: list[tuple[int, list[int]]] = []
    for i, line in enumerate(lines):
        if line.row.is_region and families:
            families[-1][1].append(i)
        else:
            families.append((i, []))
    kept = []
    for head, children in families:
        found = [i for i in children if wanted(lines[i])]
        if found or wanted(lines[head]):
            kept.append((head, found))
    if column is None:
        return [i for head, children in kept for i in (head, *children)]

    def ordered(items: list[Any], of: Callable[[Any], int]) -> list[Any]:
        def key(item: Any) -> _Sortable:
            return lines[of(item)].keys[column]

        there = [item for item in items if key(item)[0] < 2]
        rest = [item for item in items if key(item)[0] == 2]
        return sorted(there, key=key, reverse=descending) + rest

    return [
        i
        for head, children in ordered(kept, lambda item: item[0])
        for i in (head, *ordered(children, lambda item: item))
    ]

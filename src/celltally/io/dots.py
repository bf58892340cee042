"""Dots in files: one ``DotFormat`` a format; the header decides, then the suffix.

A further format is a ``DotFormat`` of three small functions in ``DOT_FORMATS``;
put the narrower header before the wider one.
"""

from __future__ import annotations

import csv
import io
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import read_head, reason, write_atomically
from celltally.types import DOT_STATES, Dots

__all__ = ["DOT_FORMATS", "DotFormat", "is_celltally_dots", "read_dots", "write_dots"]

COLUMNS = ("y", "x", "id", "t", "z", "class", "score", "state", "source")
_HEAD = 4096
#: No image is larger; beyond it a float no longer tells pixels apart.
_LARGEST = 1e9


@dataclass(frozen=True)
class DotFormat:
    """How one program writes points.

    Attributes
    ----------
    name
        What ``--from`` and ``--to`` call it.
    suffixes
        Lower case, with the dot; used where no header is recognised.
    recognises
        Given a file's first bytes, whether it is this format.
    read
        File → dots, in our coordinates.
    write
        Dots → the file's content; None for formats that are only read.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    read: Callable[[Path], Dots]
    write: Callable[[Dots], bytes] | None


def read_dots(path: str | Path, *, format: str | None = None) -> Dots:  # noqa: A002
    """Read dots.

    Parameters
    ----------
    path
        The file.
    format
        Name of one of ``DOT_FORMATS``; without, the file's header decides, then
        its suffix.

    Returns
    -------
    Dots
        In pixels of the full-resolution image, origin at the centre of the
        top-left pixel. Missing ids are drawn, and an id that occurs twice is
        kept by its first dot only.

    Raises
    ------
    UserError
        When the file is missing, empty, of an unknown format, or has a
        coordinate that is no finite number (it names the row).
    """
    path = Path(path)
    head = read_head(path, _HEAD)
    if format is not None:
        return _named(format).read(path)
    for known in DOT_FORMATS:
        if known.recognises(head):
            return known.read(path)
    for known in DOT_FORMATS:
        if path.suffix.lower() in known.suffixes:
            return known.read(path)
    raise UserError(
        f"{path} is in no format of dots that can be read ({_names()}); "
        "a CSV file with the columns y,x is enough"
    )


def is_celltally_dots(path: str | Path) -> bool:
    """Whether a file begins as those do that ``write_dots`` writes in our own format."""
    try:
        return _is_celltally(read_head(Path(path), _HEAD))
    except UserError:
        return False


def write_dots(path: str | Path, dots: Dots, *, format: str = "celltally") -> None:  # noqa: A002
    """Write dots; the file is complete or, on any error, as it was before.

    ``celltally`` and ``napari`` keep everything; ``spotiflow`` keeps positions
    (z only where there is one) and scores.

    Raises
    ------
    UserError
        When the format is unknown or cannot be written, or the folder cannot.
    """
    known = _named(format)
    if known.write is None:
        raise UserError(f"dots cannot be written as {format!r}, only read; choose another format")
    write_atomically(Path(path), known.write(dots))


def _names() -> str:
    return ", ".join(known.name for known in DOT_FORMATS)


def _named(name: str) -> DotFormat:
    for known in DOT_FORMATS:
        if known.name == name.strip().lower():
            return known
    raise UserError(f"unknown format of dots {name!r}; valid: {_names()}")


# --- CSV, in general -----------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """A CSV file's columns, by lower-case name, as text."""

    path: Path
    columns: dict[str, list[str]]
    rows: int
    first_lines: list[int]

    def row(self, i: int) -> str:
        """Where the i-th record stands, as a text editor counts."""
        return f"{self.path}, row {i + 1} (line {self.first_lines[i]})"


def _header(head: bytes) -> list[str]:
    """Names in a CSV file's first line, lower case; empty for a binary file."""
    if b"\0" in head:
        return []
    text = head.decode("utf-8-sig", errors="replace")
    line = text.splitlines()[0] if text.strip() else ""
    return [name.strip().strip('"').lower() for name in line.split(_delimiter(line))]


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _read_table(path: Path) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is no CSV file: it is not text in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(text.partition("\n")[0]), strict=True
    )
    try:
        names = [name.strip().lower() for name in next(lines, [])]
        records: list[list[str]] = []
        first_lines: list[int] = []
        for record in lines:
            if not any(cell.strip() for cell in record):
                continue
            if len(record) < len(names):
                raise UserError(
                    f"{path}, row {len(records) + 1} (line {lines.line_num}) has {len(record)} "
                    f"of {len(names)} values; the file may be truncated"
                )
            records.append(record)
            first_lines.append(lines.line_num)
    except csv.Error as error:
        raise UserError(
            f"{path} is a broken CSV file at line {lines.line_num} ({reason(error)})"
        ) from error
    columns = {name: [record[i] for record in records] for i, name in enumerate(names) if name}
    return _Table(path, columns, len(records), first_lines)


def _numbers(
    table: _Table, name: str, *, blank: float | None = None, limit: float = _LARGEST
) -> NDArray[np.float64]:
    """Return a column as finite numbers; an empty cell is ``blank`` where that is given."""
    if name not in table.columns:
        found = ", ".join(table.columns) or "none"
        raise UserError(f"{table.path} has no column {name!r}; its columns are {found}")
    cells = table.columns[name]
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        text = cell.strip()
        if blank is not None and text.lower() in ("", "nan"):
            values[i] = blank
            continue
        try:
            values[i] = float(text)
        except ValueError:
            raise UserError(
                f"{table.row(i)}: {name} is {cell[:40]!r}, which is no number; correct it"
            ) from None
        if not math.isfinite(values[i]) or abs(values[i]) > limit:
            raise UserError(
                f"{table.row(i)}: {name} is {cell[:40]!r}, which is no place in an image; "
                "correct it"
                if limit == _LARGEST
                else f"{table.row(i)}: {name} is {cell[:40]!r}, which is too large; correct it"
            )
    return values


def _whole(table: _Table, name: str) -> NDArray[np.int64]:
    """Return a column as whole numbers: a z between two planes is its nearest plane."""
    if name not in table.columns:
        return np.zeros(table.rows, np.int64)
    return np.rint(_numbers(table, name, blank=0.0)).astype(np.int64)


def _dots(table: _Table, y: str, x: str, t: str = "t", z: str = "z") -> Dots:
    """Dots from a table, with whatever of our columns it has."""
    yx = np.stack([_numbers(table, y), _numbers(table, x)], axis=1)
    columns = table.columns
    states = [cell.strip().lower() for cell in columns.get("state", [])]
    for i, state in enumerate(states):
        if state and state not in DOT_STATES:
            raise UserError(
                f"{table.row(i)}: unknown state {state[:40]!r}; valid: {', '.join(DOT_STATES)}"
            )
    score = next((name for name in ("score", "probability") if name in columns), None)
    largest = float(np.finfo(np.float32).max)
    scores = np.nan if score is None else _numbers(table, score, blank=np.nan, limit=largest)
    return Dots.new(
        yx,
        id=_ids(columns.get("id", [""] * table.rows)),
        t=_whole(table, t),
        z=_whole(table, z),
        label=_filled(columns.get("class"), "cell"),
        score=scores,
        state=_filled(states or None, "proposed"),
        source=_filled(columns.get("source"), ""),
    )


def _filled(cells: Sequence[str] | None, default: str) -> NDArray[np.str_] | str:
    return default if cells is None else np.array([cell or default for cell in cells], np.str_)


def _ids(cells: Sequence[str]) -> NDArray[np.str_]:
    seen: set[str] = set()
    ids = []
    for cell in cells:
        name = cell.strip()
        if not name or name in seen:
            name = uuid.uuid4().hex
        seen.add(name)
        ids.append(name)
    return np.array(ids, np.str_)


def _write_table(columns: dict[str, Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _coordinates(dots: Dots) -> tuple[list[str], list[str]]:
    """Return y and x as the shortest text that reads back as the same float."""
    return [repr(y) for y in dots.yx[:, 0].tolist()], [repr(x) for x in dots.yx[:, 1].tolist()]


def _features(dots: Dots) -> dict[str, Sequence[Any]]:
    return {
        "id": dots.id.tolist(),
        "class": dots.label.tolist(),
        "score": _scores(dots),
        "state": dots.state.tolist(),
        "source": dots.source.tolist(),
    }


def _scores(dots: Dots) -> list[str]:
    return ["" if np.isnan(score) else str(score) for score in dots.score]


# --- celltally: y,x,id,t,z,class,score,state,source; origin as in memory ---------


def _is_celltally(head: bytes) -> bool:
    """Whether the first line has what we always write; other programs' have y and x only."""
    return {"y", "x", "id", "state", "source"} <= set(_header(head))


def _read_celltally(path: Path) -> Dots:
    return _dots(_read_table(path), "y", "x")


def _write_celltally(dots: Dots) -> bytes:
    y, x = _coordinates(dots)
    columns = {"y": y, "x": x, "t": dots.t.tolist(), "z": dots.z.tolist(), **_features(dots)}
    return _write_table({name: columns[name] for name in COLUMNS})


# --- napari Points: index,axis-0,axis-1[,…][,features]; origin as in memory ------


def _is_napari(head: bytes) -> bool:
    return {"axis-0", "axis-1"} <= set(_header(head))


def _read_napari(path: Path) -> Dots:
    """Read the last two axes as y and x, the one before as z, the one before that as t."""
    table = _read_table(path)
    axes = sorted((n for n in table.columns if n.startswith("axis-")), key=lambda n: (len(n), n))
    if len(axes) < 2:
        raise UserError(f"{path} has no columns axis-0 and axis-1; choose another format")
    before = ["", "", *axes[:-2]][-2:]
    return _dots(table, axes[-2], axes[-1], t=before[0] or "t", z=before[1] or "z")


def _write_napari(dots: Dots) -> bytes:
    y, x = _coordinates(dots)
    axes: list[Sequence[Any]] = [y, x]
    if dots.z.any() or dots.t.any():
        axes.insert(0, dots.z.tolist())
    if dots.t.any():
        axes.insert(0, dots.t.tolist())
    named = {f"axis-{i}": axis for i, axis in enumerate(axes)}
    return _write_table({"index": range(len(dots)), **named, **_features(dots)})


# --- Spotiflow: y,x or z,y,x[,…,probability]; origin as in memory -----------------


def _is_spotiflow(head: bytes) -> bool:
    return {"y", "x"} <= set(_header(head)) and not _is_celltally(head)


def _write_spotiflow(dots: Dots) -> bytes:
    y, x = _coordinates(dots)
    columns: dict[str, Sequence[Any]] = {"z": dots.z.tolist()} if dots.z.any() else {}
    columns |= {"y": y, "x": x}
    if not np.isnan(dots.score).all():
        columns["probability"] = _scores(dots)
    return _write_table(columns)


DOT_FORMATS: tuple[DotFormat, ...] = (
    DotFormat("napari", (), _is_napari, _read_napari, _write_napari),
    DotFormat("celltally", (".csv",), _is_celltally, _read_celltally, _write_celltally),
    DotFormat("spotiflow", (), _is_spotiflow, _read_celltally, _write_spotiflow),
)

"""CSV, in general: tables with named columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import reason
from celltally.io._numbers import LARGEST, number, plane
from celltally.io._text import read_text, whole
from celltally.io.dots._rows import filled, fresh_ids
from celltally.types import DOT_STATES, Dots

__all__ = [
    "Table",
    "coordinates",
    "dots_of",
    "features",
    "header",
    "numbers",
    "read_table",
    "scores",
    "whole_numbers",
    "write_table",
]


@dataclass(frozen=True)
class Table:
    """A CSV file's columns, by lower-case name, as text."""

    path: Path
    columns: dict[str, list[str]]
    rows: int
    first_lines: list[int]

    def row(self, i: int) -> str:
        """Where the i-th record stands, as a text editor counts."""
        return f"{self.path}, row {i + 1} (line {self.first_lines[i]})"


def header(head: bytes) -> list[str]:
    """Names in a CSV file's first line, lower case; empty for a binary file."""
    if b"\0" in head:
        return []
    text = head.decode("utf-8-sig", errors="replace")
    line = text.splitlines()[0] if text.strip() else ""
    return [name.strip().strip('"').lower() for name in line.split(_delimiter(line))]


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def read_table(path: Path, *, quoted: bool = True) -> Table:
    """Read a table; ``quoted``: whether quotation marks hold cells together.

    Raises
    ------
    UserError
        When it is no CSV file, or a row is shorter than the header.
    """
    text = read_text(path, "no CSV file")
    lines = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_delimiter(text.partition("\n")[0]),
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
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
    return Table(path, columns, len(records), first_lines)


def numbers(
    table: Table, name: str, *, blank: float | None = None, limit: float = LARGEST
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
        else:
            values[i] = number(text, table.row(i), name, limit)
    return values


def whole_numbers(table: Table, name: str, what: str = "planes") -> NDArray[np.int64]:
    """Return a column as numbers of planes, or of ``what``; those of empty cells are 0.

    A z between two planes is its nearest plane.

    Raises
    ------
    UserError
        When one is no number, too large, or negative.
    """
    if name not in table.columns:
        return np.zeros(table.rows, np.int64)
    cells = [cell.strip() for cell in table.columns[name]]
    found = np.zeros(table.rows, np.int64)
    for i, cell in enumerate(cells):
        if cell.lower() not in ("", "nan"):
            found[i] = plane(cell, table.row(i), name, what)
    return found


def dots_of(table: Table, y: str, x: str, t: str = "t", z: str = "z", shift: float = 0.0) -> Dots:
    """Dots from a table, with whatever of our columns it has; ``shift`` is added to y and x."""
    yx = np.stack([numbers(table, y), numbers(table, x)], axis=1) + shift
    columns = table.columns
    states = [cell.strip().lower() for cell in columns.get("state", [])]
    for i, state in enumerate(states):
        if state and state not in DOT_STATES:
            raise UserError(
                f"{table.row(i)}: unknown state {state[:40]!r}; valid: {', '.join(DOT_STATES)}"
            )
    score = next((name for name in ("score", "probability") if name in columns), None)
    largest = float(np.finfo(np.float32).max)
    found = np.nan if score is None else numbers(table, score, blank=np.nan, limit=largest)
    return Dots.new(
        yx,
        id=fresh_ids(columns.get("id", [""] * table.rows)),
        t=whole_numbers(table, t, "time points"),
        z=whole_numbers(table, z),
        label=filled(columns.get("class"), "cell"),
        score=found,
        state=filled(states or None, "proposed"),
        source=filled(columns.get("source"), ""),
    )


def write_table(columns: dict[str, Sequence[Any]]) -> bytes:
    """Return columns as CSV in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "replace")


def coordinates(dots: Dots) -> tuple[list[str], list[str]]:
    """Return y and x as the shortest text that reads back as the same float."""
    return [repr(y) for y in dots.yx[:, 0].tolist()], [repr(x) for x in dots.yx[:, 1].tolist()]


def features(dots: Dots) -> dict[str, Sequence[Any]]:
    """Return what we know of dots besides their places, by our names of the columns."""
    return {
        "id": list(map(whole, dots.id.tolist())),
        "class": list(map(whole, dots.label.tolist())),
        "score": scores(dots),
        "state": dots.state.tolist(),
        "source": list(map(whole, dots.source.tolist())),
    }


def scores(dots: Dots) -> list[str]:
    """Return scores as text, empty where nobody scored."""
    return ["" if np.isnan(score) else str(score) for score in dots.score]

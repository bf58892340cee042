"""Rows → CSV, a Markdown table with mean ± standard deviation over seeds, and plots."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from accuracy_lib.store import Row, Store
from celltally.errors import UserError
from celltally.evaluate.plots import write_comparison

__all__ = ["BEGIN", "END", "NAME", "markdown", "replace_between_marks", "write_tables"]

#: What stands between these in a document is replaced.
MARKS = "<!-- {name}: begin -->", "<!-- {name}: end -->"
#: Those of this table.
NAME = "accuracy table"
BEGIN, END = (mark.format(name=NAME) for mark in MARKS)

#: Columns of ``accuracy.csv``.
CSV_COLUMNS = (
    *("set", "split", "system", "kind", "seed", "n", "failed", "mae", "rmse", "mre", "bias"),
    *("slope", "r2", "precision", "recall", "f1", "match_radius_px", "coverage", "mean_width"),
    *("interval_score", "parameters", "train_minutes", "mpx_per_s", "diameter", "device"),
    *("settings", "sha256", "key"),
)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.{1 if abs(value) >= 10 else 2}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _millions(value: float) -> str:
    return f"{value / 1e6:.2f} M"


#: Headings of the Markdown table, with the row's figure and how it is written.
MARKDOWN_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "MAE": ("mae", _digits),
    "RMSE": ("rmse", _digits),
    "MRE": ("mre", _percent),
    "bias": ("bias", _digits),
    "slope": ("slope", _digits),
    "R²": ("r2", _digits),
    "F1": ("f1", _digits),
    "coverage": ("coverage", _percent),
    "interval score": ("interval_score", _digits),
    "parameters": ("parameters", _millions),
    "training min": ("train_minutes", _digits),
    "Mpx/s": ("mpx_per_s", _digits),
}
_KINDS = ("model", "network", "baseline")


def _place(row: Row) -> tuple[Any, ...]:
    return row["set"], row["split"], _KINDS.index(row["kind"]), row["system"]


def markdown(rows: Sequence[Row]) -> str:
    """Write a line per set and system; of several seeds the mean ± standard deviation."""
    lines = [
        "| set | images | system | seeds | " + " | ".join(MARKDOWN_COLUMNS) + " |",
        "|---|--:|---|" + "--:|" * (1 + len(MARKDOWN_COLUMNS)),
    ]
    for _, members in groupby(sorted(rows, key=_place), key=_place):
        group = list(members)
        first = group[0]
        cells = [f"{first['set']} {first['split']}", str(first["n"]), first["system"]]
        cells.append("–" if first["seed"] is None else str(len(group)))
        cells += [
            _cell([row.get(name) for row in group], write)
            for name, write in MARKDOWN_COLUMNS.values()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float | None], write: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = write(statistics.fmean(known))
    spread = statistics.stdev(known) if len(known) > 1 else 0.0
    return mean if math.isclose(spread, 0, abs_tol=1e-12) else f"{mean} ± {write(spread)}"


def write_tables(store: Store, out: Path) -> tuple[str, ...]:
    """Write ``accuracy.csv``, ``accuracy.md`` and ``plots/<set>-<split>.png`` of all rows.

    Returns
    -------
    tuple of str
        Sentences for the user: which plots are missing, and why.
    """
    rows = sorted(store.rows(), key=lambda row: (*_place(row), row["seed"] or 0))
    table = pd.DataFrame(rows, columns=list(CSV_COLUMNS))
    table["seed"] = table["seed"].astype("Int64")
    table.to_csv(out / "accuracy.csv", index=False)
    (out / "accuracy.md").write_text(markdown(rows), encoding="utf-8")
    plots = out / "plots"
    plots.mkdir(exist_ok=True)
    notes: dict[str, None] = {}
    for (name, split), members in groupby(rows, key=lambda row: (row["set"], row["split"])):
        systems: dict[str, list[pd.DataFrame]] = {}
        for row in members:
            systems.setdefault(row["system"], []).append(store.per_image(row))
        images = {system: pd.concat(tables) for system, tables in systems.items()}
        notes |= dict.fromkeys(write_comparison(images, 0.95, plots / f"{name}-{split}.png"))
    return tuple(notes)


def replace_between_marks(path: Path, text: str, name: str = NAME) -> None:
    """Put a text in the place of what stands between the marks of a document.

    Parameters
    ----------
    path
        The document.
    text
        What goes there.
    name
        Of the marks; a document may have several pairs.

    Raises
    ------
    UserError
        When the document cannot be read or has no such marks.
    """
    first, last = (mark.format(name=name) for mark in MARKS)
    try:
        before, begin, rest = path.read_text(encoding="utf-8").partition(first)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({str(error.strerror).lower()}); give a document that is there"
        ) from None
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise UserError(f"{path} has no place for the table; put {first} and {last} where it goes")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")

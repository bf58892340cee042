"""Rows → Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from accuracy_lib.store import Row

from explanations_lib.variants import VARIANTS

__all__ = ["ABLATION", "MODELS", "ablation", "models"]

#: Names in the marks around the tables in a document.
MODELS, ABLATION = "explanations table", "ablation table"

Write = Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _cosine(value: float) -> str:
    return f"{value:.3f}"


def _count(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"


def _cells(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1}f}"


#: Headings, with the row's figures (several are set apart by a slash) and how they are written.
OF_MODELS: dict[str, tuple[tuple[str, ...], Write]] = {
    "MAE": (("mae",), _cells),
    "cell boxes": (("cell_boxes",), _count),
    "cell boxes pure": (("cell_purity",), _percent),
    "background boxes": (("background_boxes",), _count),
    "background boxes pure": (("background_purity",), _percent),
    "mixed prototypes, cell / background": (
        ("mixed_cell_prototypes", "mixed_background_prototypes"), _percent,
    ),
    "mean / excess cosine": (("mean_cosine", "excess_cosine"), _cosine),
    "distinct": (("distinct_prototypes",), _count),
    "additivity": (("additivity_error",), lambda value: f"{value:.0e}"),
    "boxes in blank fields": (("blank_boxes",), _count),
    "count lost without boxes / random places": (
        ("removed_share", "removed_share_random"), _percent,
    ),
    "same boxes with noise, prototype / kind": (("noise_same", "noise_same_kind"), _percent),
    "turned by 90°, prototype / kind": (("turn_same", "turn_same_kind"), _percent),
}  # fmt: skip
OF_VARIANTS: dict[str, tuple[tuple[str, ...], Write]] = {
    "steps": (("steps",), _count),
    "MAE": (("mae",), _cells),
    "excess cosine, learned / projected": (("excess_cosine_before", "excess_cosine"), _cosine),
    "distinct, learned / projected": (("distinct_before", "distinct_prototypes"), _count),
    "astray": (("astray_before",), _count),
    "cell boxes pure": (("cell_purity",), _percent),
    "background boxes pure": (("background_purity",), _percent),
    "mixed prototypes, cell / background": (
        ("mixed_cell_prototypes", "mixed_background_prototypes"), _percent,
    ),
}  # fmt: skip


def models(rows: Sequence[Row]) -> str:
    """Write the figures of given models, a line each."""
    chosen = sorted((r for r in rows if r["kind"] == "model"), key=lambda r: (r["set"], r["split"]))
    lines = _head(("model", "set", "images"), OF_MODELS)
    for row in chosen:
        first = (f"`{row['system']}`", f"{row['set']} {row['split']}", str(row["n"]))
        lines.append(_line(first, [row], OF_MODELS))
    return "\n".join(lines) + "\n"


def ablation(rows: Sequence[Row]) -> str:
    """Write the variants of every network and set; of several seeds the means."""

    def place(row: Row) -> tuple[Any, ...]:
        return row["network"], row["set"], row["split"], list(VARIANTS).index(row["losses"])

    chosen = sorted((r for r in rows if r["kind"] == "variant"), key=place)
    lines = _head(("network", "set", "losses", "seeds"), OF_VARIANTS)
    for _, members in groupby(chosen, key=place):
        group = list(members)
        row = group[0]
        first = (row["network"], f"{row['set']} {row['split']}", row["losses"], str(len(group)))
        lines.append(_line(first, group, OF_VARIANTS))
    return "\n".join(lines) + "\n"


def _head(first: Sequence[str], columns: dict[str, tuple[tuple[str, ...], Write]]) -> list[str]:
    names = [*first, *columns]
    return [f"| {' | '.join(names)} |", "|---" * len(first) + "|--:" * len(columns) + "|"]


def _line(
    first: Sequence[str],
    rows: Sequence[Row],
    columns: dict[str, tuple[tuple[str, ...], Write]],
) -> str:
    cells = [
        " / ".join(_cell([row.get(name) for row in rows], write) for name in names)
        for names, write in columns.values()
    ]
    return f"| {' | '.join([*first, *cells])} |"


def _cell(values: Sequence[float | None], write: Write) -> str:
    known = [value for value in values if value is not None]
    return write(statistics.fmean(known)) if known else "–"

"""What was studied → Markdown, a text for each pair of marks in the document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from celltally.evaluate import count_metrics
from errors_lib.study import FACTORS, subgroups

__all__ = [
    "blank_table",
    "by_image",
    "by_place",
    "diameter_errors",
    "diameter_table",
    "dot_table",
    "worst_table",
]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Write a table whose first ``words`` columns are words, the others numbers."""
    rule = ["---"] * words + ["--:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def _percent(part: float, whole: float, sign: str = "") -> str:
    if not (whole and math.isfinite(part)):
        return "–"
    percent = round(100 * part / whole)
    return f"{percent:{sign if percent else ''}d} %"


def by_image(images: pd.DataFrame) -> str:
    """Write the errors of each set and of its subgroups."""
    rows = []
    for name, members in images.groupby("set"):
        whole = members["error"].abs().sum()
        for group, some in subgroups(members):
            figures = count_metrics(some["true"], some["count"])
            rows.append(
                [
                    str(name),
                    group,
                    str(len(some)),
                    _number(some["true"].mean()),
                    _number(figures["mae"]),
                    _number(figures["bias"], "+"),
                    _percent(figures["mre"], 1),
                    _percent(some["error"].abs().sum(), whole),
                ]
            )
    head = ("set", "images", "number", "cells", "MAE", "bias", "MRE", "share of the error")
    return _table(head, rows, words=2)


def by_place(images: pd.DataFrame) -> str:
    """Write how far off the density is near the border and inside; sets with dots only."""
    rows = []
    for name, members in _with_dots(images):
        cells = [str(name), _percent(members["border_area"].mean(), 1)]
        for place in ("border", "inner"):
            true = members[f"{place}_true"].sum()
            error = members[f"{place}_count"].sum() - true
            cells += [
                _number(true / len(members)),
                _number(error / len(members), "+"),
                _percent(error, true, "+"),
            ]
        rows.append(cells)
    part = ("cells", "counted − true", "in %")
    head = (
        "set",
        "border: area",
        *(f"{where}: {what}" for where in ("border", "inner") for what in part),
    )
    return _table(head, rows)


def dot_table(images: pd.DataFrame) -> str:
    """Write how many dots are missing and how many are too many, per image."""
    rows = []
    for name, members in _with_dots(images):
        true = members["border_true"] + members["inner_true"]
        cells = [str(name), _number(true.mean())]
        for kind in ("missed", "beside", "false"):
            n = members[kind].mean()
            cells.append(f"{_number(n)} ({_percent(n, true.mean())})")
        rows.append(cells)
    return _table(("set", "true cells", "missed", "beside a cell", "false objects"), rows)


def _with_dots(images: pd.DataFrame) -> Iterable[tuple[object, pd.DataFrame]]:
    if "missed" not in images:
        return []
    return images[images["missed"].notna()].groupby("set")


def blank_table(counts: Mapping[str, Mapping[str, float]]) -> str:
    """Write the counts of empty fields, a line per model."""
    fields = next(iter(counts.values()))
    rows = [[model, *map(_number, found.values())] for model, found in counts.items()]
    return _table(("model", *fields), rows)


def diameter_errors(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error (``mae``) and ``bias``, both over the mean true count.

    Returns
    -------
    DataFrame
        Indexed by ``set`` and ``factor``; a set without cells has NaN.
    """
    error = trials["count"] - trials["true"]
    sums = trials.assign(mae=error.abs(), bias=error).groupby(["set", "factor"])
    means = sums[["mae", "bias", "true"]].mean()
    return means[["mae", "bias"]].div(means["true"].replace(0, np.nan), axis=0)


def diameter_table(errors: pd.DataFrame) -> str:
    """Write the absolute error at each factor, the bias in brackets."""
    rows = [
        [
            str(name),
            *(f"{_percent(line['mae'], 1)} ({_percent(line['bias'], 1, '+')})"
              for _, line in lines.iterrows()),
        ]
        for name, lines in errors.groupby(level="set")
    ]  # fmt: skip
    return _table(("set", *(f"× {factor:g}" for factor in FACTORS)), rows)


def worst_table(worst: pd.DataFrame) -> str:
    """Write the worst images of each set."""
    rows = [
        [row["set"], f"`{row['image']}`", _number(row["count"]), f"{row['true']:g}",
         _percent(row["error"], max(row["true"], 1), "+")]
        for _, row in worst.iterrows()
    ]  # fmt: skip
    return _table(("set", "image", "counted", "true", "error"), rows, words=2)

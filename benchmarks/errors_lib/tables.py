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
    "number",
    "percent",
    "table",
    "worst_table",
]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Write a table whose first ``words`` columns are words, the others numbers."""
    rule = ["---"] * words + ["--:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"


def number(value: float, sign: str = "") -> str:
    """Write a number with about three digits."""
    return f"{value:{sign}.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def percent(part: float, whole: float, sign: str = "") -> str:
    """Write a part in per cent of the whole; a dash where there is no such figure."""
    if not (whole and math.isfinite(part)):
        return "–"
    rounded = round(100 * part / whole)
    return f"{rounded:{sign if rounded else ''}d} %"


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
                    number(some["true"].mean()),
                    number(figures["mae"]),
                    number(figures["bias"], "+"),
                    percent(figures["mre"], 1),
                    percent(some["error"].abs().sum(), whole),
                ]
            )
    head = ("set", "images", "number", "cells", "MAE", "bias", "MRE", "share of the error")
    return table(head, rows, words=2)


def by_place(images: pd.DataFrame) -> str:
    """Write how far off the density is near the border and inside; sets with dots only."""
    rows = []
    for name, members in _with_dots(images):
        cells = [str(name), percent(members["border_area"].mean(), 1)]
        for place in ("border", "inner"):
            true = members[f"{place}_true"].sum()
            error = members[f"{place}_count"].sum() - true
            cells += [
                number(true / len(members)),
                number(error / len(members), "+"),
                percent(error, true, "+"),
            ]
        rows.append(cells)
    part = ("cells", "counted − true", "in %")
    head = (
        "set",
        "border: area",
        *(f"{where}: {what}" for where in ("border", "inner") for what in part),
    )
    return table(head, rows)


def dot_table(images: pd.DataFrame) -> str:
    """Write how many dots are missing and how many are too many, per image."""
    rows = []
    for name, members in _with_dots(images):
        true = members["border_true"] + members["inner_true"]
        cells = [str(name), number(true.mean())]
        for kind in ("missed", "beside", "false"):
            n = members[kind].mean()
            cells.append(f"{number(n)} ({percent(n, true.mean())})")
        rows.append(cells)
    return table(("set", "true cells", "missed", "beside a cell", "false objects"), rows)


def _with_dots(images: pd.DataFrame) -> Iterable[tuple[object, pd.DataFrame]]:
    if "missed" not in images:
        return []
    return images[images["missed"].notna()].groupby("set")


def blank_table(counts: Mapping[str, Mapping[str, float]]) -> str:
    """Write the counts of empty fields, a line per model."""
    fields = next(iter(counts.values()))
    rows = [[model, *map(number, found.values())] for model, found in counts.items()]
    return table(("model", *fields), rows)


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
            *(f"{percent(line['mae'], 1)} ({percent(line['bias'], 1, '+')})"
              for _, line in lines.iterrows()),
        ]
        for name, lines in errors.groupby(level="set")
    ]  # fmt: skip
    return table(("set", *(f"× {factor:g}" for factor in FACTORS)), rows)


def worst_table(worst: pd.DataFrame) -> str:
    """Write the worst images of each set."""
    rows = [
        [row["set"], f"`{row['image']}`", number(row["count"]), f"{row['true']:g}",
         percent(row["error"], max(row["true"], 1), "+")]
        for _, row in worst.iterrows()
    ]  # fmt: skip
    return table(("set", "image", "counted", "true", "error"), rows, words=2)

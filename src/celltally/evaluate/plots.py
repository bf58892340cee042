"""Plots of an evaluation, where matplotlib is installed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["write_comparison", "write_plots"]

_MISSING = "there are no plots because matplotlib is missing: pip install matplotlib"


def write_plots(
    per_image: pd.DataFrame, level: float, folder: Path, reliability: pd.DataFrame | None = None
) -> tuple[str, ...]:
    """Draw how counts and intervals compare with the truth.

    ``predicted_vs_true.png``; ``bland_altman.png``, the difference against the mean of
    both counts; and, where there are intervals, ``interval_widths.png`` and
    ``reliability.png``.

    Parameters
    ----------
    per_image, reliability
        As in ``Report``.
    level
        Nominal coverage of the intervals.
    folder
        Where to.

    Returns
    -------
    tuple of str
        Sentences for the user: which plots are missing, and why.
    """
    figure_type = _figure_type()
    if figure_type is None:
        return (_MISSING,)
    good = per_image[per_image["status"] == "ok"]
    if good.empty:
        return ("there are no plots because no image was counted",)
    _predicted_vs_true(figure_type, good, level).savefig(folder / "predicted_vs_true.png")
    _bland_altman(figure_type, good).savefig(folder / "bland_altman.png")
    known = good[good["ci_low"].notna() & good["ci_high"].notna()]
    if known.empty:
        return ("there is no plot of the intervals because there are none: calibrate the model",)
    _interval_widths(figure_type, known, level).savefig(folder / "interval_widths.png")
    if reliability is not None and len(reliability):
        _reliability(figure_type, reliability).savefig(folder / "reliability.png")
    return ()


def write_comparison(
    per_image: Mapping[str, pd.DataFrame], level: float, path: Path
) -> tuple[str, ...]:
    """Draw predicted against true counts, a panel per system, all on the same scale.

    Parameters
    ----------
    per_image
        As in ``Report``, by the name of what counted.
    level
        Nominal coverage of the intervals.
    path
        The picture.

    Returns
    -------
    tuple of str
        Sentences for the user: why there is no plot.
    """
    figure_type = _figure_type()
    if figure_type is None:
        return (_MISSING,)
    good = {name: table[table["status"] == "ok"] for name, table in per_image.items()}
    good = {name: table for name, table in good.items() if len(table)}
    if not good:
        return (f"there is no {path.name} because no image was counted",)
    figure = figure_type(figsize=(4 * len(good), 4.2), dpi=120, layout="constrained")
    highest = max(map(_highest, good.values()))
    panels = figure.subplots(1, len(good), squeeze=False)[0]
    for axes, (name, table) in zip(panels, good.items(), strict=True):
        _draw_counts(axes, table, level, highest)
        axes.set_title(name)
    panels[0].legend(loc="upper left", frameon=False)
    figure.savefig(path)
    return ()


def _figure_type() -> Any:
    try:
        # Not pyplot: it would pick a window system.
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        return None


def _predicted_vs_true(figure_type: Any, good: pd.DataFrame, level: float) -> Any:
    figure = figure_type(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw_counts(axes, good, level, _highest(good))
    axes.legend(loc="upper left", frameon=False)
    return figure


def _draw_counts(axes: Any, good: pd.DataFrame, level: float, highest: float) -> None:
    below = (good["count"] - good["ci_low"]).fillna(0).clip(lower=0)
    above = (good["ci_high"] - good["count"]).fillna(0).clip(lower=0)
    known = good["ci_low"].notna().any()
    axes.errorbar(
        good["true"],
        good["count"],
        yerr=[below, above],
        fmt="o",
        markersize=4,
        linewidth=0.8,
        label=f"image, with its {100 * level:.10g} % interval" if known else "image",
    )
    axes.plot([0, highest], [0, highest], color="grey", linewidth=1, label="predicted = true")
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="true count", ylabel="predicted count")


def _highest(good: pd.DataFrame) -> float:
    """End of the axes: a little more than the largest count or upper bound."""
    return float(good[["true", "count", "ci_high"]].max().max()) * 1.05 or 1.0


def _bland_altman(figure_type: Any, good: pd.DataFrame) -> Any:
    """Bland and Altman 1986: bias and 95 % limits of agreement."""
    figure = figure_type(figsize=(5, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    difference = good["count"] - good["true"]
    axes.scatter((good["count"] + good["true"]) / 2, difference, s=18)
    bias, spread = difference.mean(), 1.96 * difference.std(ddof=1) if len(good) > 1 else 0.0
    axes.axhline(bias, color="black", linewidth=1, label=f"bias {bias:.3g}")
    for sign, label in ((1, f"± 1.96 SD: {spread:.3g}"), (-1, None)):
        axes.axhline(bias + sign * spread, color="grey", linewidth=1, linestyle="--", label=label)
    axes.set(xlabel="mean of predicted and true count", ylabel="predicted − true")
    axes.legend(loc="best", frameon=False)
    return figure


def _reliability(figure_type: Any, table: pd.DataFrame) -> Any:
    figure = figure_type(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for what, mark in (("image", "o"), ("region", "s")):
        rows = table[table["of"] == what]
        if len(rows):
            label = f"{what}s ({rows['n'].max()})"
            axes.plot(rows["level"], rows["observed"], marker=mark, markersize=4, label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as stated")
    axes.set(
        xlim=(0.45, 1.0),
        ylim=(0.0, 1.02),
        xlabel="stated level of the interval",
        ylabel="share of intervals that hold the truth",
    )
    axes.legend(loc="lower right", frameon=False)
    return figure


def _interval_widths(figure_type: Any, known: pd.DataFrame, level: float) -> Any:
    figure = figure_type(figsize=(5, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    inside = (known["ci_low"] <= known["true"]) & (known["true"] <= known["ci_high"])
    for rows, mark, label in (
        (known[inside], "o", "truth inside"),
        (known[~inside], "x", "outside"),
    ):
        axes.scatter(
            rows["count"], rows["ci_high"] - rows["ci_low"], marker=mark, s=18, label=label
        )
    axes.set(
        xlabel="predicted count",
        ylabel=f"width of the {100 * level:.10g} % interval",
        ylim=(0, None),
    )
    axes.legend(loc="upper left", frameon=False)
    return figure

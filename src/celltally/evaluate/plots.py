"""Plots of an evaluation, where matplotlib is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["write_plots"]


def write_plots(per_image: pd.DataFrame, level: float, folder: Path) -> tuple[str, ...]:
    """Draw ``predicted_vs_true.png`` and ``interval_widths.png``.

    Parameters
    ----------
    per_image
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
    try:
        # Not pyplot: it would pick a window system.
        figure_type = importlib.import_module("matplotlib.figure").Figure
    except ImportError:
        return ("there are no plots because matplotlib is missing: pip install matplotlib",)
    good = per_image[per_image["status"] == "ok"]
    if good.empty:
        return ("there are no plots because no image was counted",)
    _predicted_vs_true(figure_type, good, level).savefig(folder / "predicted_vs_true.png")
    known = good[good["ci_low"].notna() & good["ci_high"].notna()]
    if known.empty:
        return ("there is no plot of the intervals because there are none: calibrate the model",)
    _interval_widths(figure_type, known, level).savefig(folder / "interval_widths.png")
    return ()


def _predicted_vs_true(figure_type: Any, good: pd.DataFrame, level: float) -> Any:
    figure = figure_type(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    below = (good["count"] - good["ci_low"]).fillna(0).clip(lower=0)
    above = (good["ci_high"] - good["count"]).fillna(0).clip(lower=0)
    axes.errorbar(
        good["true"],
        good["count"],
        yerr=[below, above],
        fmt="o",
        markersize=4,
        linewidth=0.8,
        label=f"image, with its {100 * level:g} % interval",
    )
    highest = float(max(good["true"].max(), (good["count"] + above).max())) * 1.05 or 1.0
    axes.plot([0, highest], [0, highest], color="grey", linewidth=1, label="predicted = true")
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="true count", ylabel="predicted count")
    axes.legend(loc="upper left", frameon=False)
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
        xlabel="predicted count", ylabel=f"width of the {100 * level:g} % interval", ylim=(0, None)
    )
    axes.legend(loc="upper left", frameon=False)
    return figure

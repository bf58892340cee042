"""Plots of an evaluation and of an agreement, where matplotlib is installed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celltally.evaluate.agreement import Agreement
from celltally.evaluate.comparison import LIMIT, limits_of_agreement

__all__ = [
    "draw_agreement",
    "draw_bland_altman",
    "write_agreement",
    "write_comparison",
    "write_plots",
]

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
    figure, axes = _small(figure_type)
    draw_bland_altman(axes, good["true"], good["count"], ("true", "predicted"))
    figure.savefig(folder / "bland_altman.png")
    known = good[good["ci_low"].notna() & good["ci_high"].notna()]
    if known.empty:
        return ("there is no plot of the intervals because there are none: calibrate the model",)
    _interval_widths(figure_type, known, level).savefig(folder / "interval_widths.png")
    if reliability is not None and len(reliability):
        _reliability(figure_type, reliability).savefig(folder / "reliability.png")
    return ()


def write_agreement(
    found: Agreement, folder: Path, names: tuple[str, str] = ("A", "B")
) -> tuple[str, ...]:
    """Draw how the counts of two annotators agree: ``bland_altman.png`` and ``counts.png``.

    Parameters
    ----------
    found
        What ``agreement`` found.
    folder
        Where to.
    names
        What the two are called.

    Returns
    -------
    tuple of str
        Sentences for the user: why there are no plots.
    """
    figure_type = _figure_type()
    if figure_type is None:
        return (_MISSING,)
    a, b = ([getattr(f, side) for f in found.fields] for side in ("count_a", "count_b"))
    figure, axes = _small(figure_type)
    draw_bland_altman(axes, a, b, names)
    figure.savefig(folder / "bland_altman.png")
    figure, axes = _square(figure_type)
    draw_agreement(axes, found, names)
    figure.savefig(folder / "counts.png")
    return ()


def draw_bland_altman(
    axes: Any, first: ArrayLike, second: ArrayLike, names: tuple[str, str] = ("A", "B")
) -> None:
    """Draw differences of counts over their means, with bias and limits (Bland & Altman 1986).

    Parameters
    ----------
    axes
        Of matplotlib.
    first, second
        ``(n,)`` counts of the same fields; the difference is second − first.
    names
        What the two are called.
    """
    one, two = (np.asarray(counts, dtype=np.float64) for counts in (first, second))
    limits = limits_of_agreement(one, two)
    axes.scatter((one + two) / 2, two - one, s=18)
    axes.axhline(limits.bias, color="black", linewidth=1, label=f"bias {limits.bias:.3g}")
    if math.isfinite(limits.sd):
        label = f"± 1.96 SD: {LIMIT * limits.sd:.3g}"
        for at, said in ((limits.high, label), (limits.low, None)):
            axes.axhline(at, color="grey", linewidth=1, linestyle="--", label=said)
    axes.set(xlabel=f"mean of {names[0]} and {names[1]} count", ylabel=f"{names[1]} − {names[0]}")
    # Above: inside, it would lie on a line.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def draw_agreement(axes: Any, found: Agreement, names: tuple[str, str] = ("A", "B")) -> None:
    """Draw the counts of B over those of A, with Deming's line.

    Parameters
    ----------
    axes
        Of matplotlib.
    found
        What ``agreement`` found.
    names
        What the two are called.
    """
    a, b = ([getattr(f, side) for f in found.fields] for side in ("count_a", "count_b"))
    highest = 1.05 * max(*a, *b) or 1.0
    axes.scatter(a, b, s=18)
    _draw_equal(axes, highest, f"{names[1]} = {names[0]}")
    if math.isfinite(found.line.slope):
        axes.axline(
            (0, found.line.intercept),
            slope=found.line.slope,
            color="black",
            linewidth=1,
            label=f"slope {found.line.slope:.3g}",
        )
    _set_counts(axes, highest, *names)
    axes.legend(loc="upper left", frameon=False)


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


def _square(figure_type: Any) -> tuple[Any, Any]:
    figure = figure_type(figsize=(5, 5), dpi=150, layout="constrained")
    return figure, figure.add_subplot()


def _small(figure_type: Any) -> tuple[Any, Any]:
    figure = figure_type(figsize=(5, 4), dpi=150, layout="constrained")
    return figure, figure.add_subplot()


def _predicted_vs_true(figure_type: Any, good: pd.DataFrame, level: float) -> Any:
    figure, axes = _square(figure_type)
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
    _draw_equal(axes, highest, "predicted = true")
    _set_counts(axes, highest, "true", "predicted")


def _draw_equal(axes: Any, highest: float, label: str) -> None:
    axes.plot([0, highest], [0, highest], color="grey", linewidth=1, label=label)


def _set_counts(axes: Any, highest: float, first: str, second: str) -> None:
    axes.set(
        xlim=(0, highest),
        ylim=(0, highest),
        xlabel=f"{first} count",
        ylabel=f"{second} count",
    )


def _highest(good: pd.DataFrame) -> float:
    """End of the axes: a little more than the largest count or upper bound."""
    return float(good[["true", "count", "ci_high"]].max().max()) * 1.05 or 1.0


def _reliability(figure_type: Any, table: pd.DataFrame) -> Any:
    figure, axes = _square(figure_type)
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
    figure, axes = _small(figure_type)
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

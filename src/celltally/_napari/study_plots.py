"""Plots of a study: groups with their replicates, a histogram, counts over time. Free of Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from celltally._napari.pictures import Ink, axes_in, colour_words
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.project.study import StudyRow, Value

__all__ = ["KINDS", "VALUES", "Plot", "draw"]

Kind = Literal["groups", "histogram", "time"]
#: Kinds of plots, and what they are called.
KINDS: dict[Kind, str] = {
    "groups": "Groups",
    "histogram": "Histogram",
    "time": "Over time",
}
#: What may be drawn, and what its axis is called.
VALUES: dict[Value, str] = {
    "count": "cells per image",
    "cells_per_mm2": "cells per mm²",
    "n_dots": "dots per image",
}
#: Told apart with any kind of colour vision, on dark and on white (Wong 2011, without yellow
#: and black).
_COLOURS = ("#0f8fd1", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
#: Images that have curves of their own; of more, the means of groups are drawn.
MOST_CURVES = 12
#: Replicates of a group are drawn this far apart at most.
_SPREAD = 0.26
_GOLDEN = 0.6180339887


@dataclass(frozen=True)
class Plot:
    """What is to be drawn.

    Attributes
    ----------
    kind
        One of ``KINDS``.
    value
        One of ``VALUES``.
    by
        Columns of the plate map by which images are put into groups.
    """

    kind: Kind
    value: Value = "count"
    by: tuple[str, ...] = ("condition",)


def draw(figure: Any, rows: Sequence[StudyRow], plot: Plot, ink: Ink) -> str:
    """Draw a plot into a figure of matplotlib; return a sentence on what is drawn.

    Raises
    ------
    UserError
        When there is nothing to draw.
    """
    planes = [row for row in rows if not row.is_region]
    if plot.value == "cells_per_mm2" and not any(math.isfinite(r.area_mm2) for r in planes):
        raise UserError("there are no areas: set the size of a pixel in napari, and count again")
    if not any(_known(row, plot.value) for row in planes):
        raise UserError("nothing was counted yet: open an image and press Count")
    axes = axes_in(figure, ink)
    drawn = {"groups": _groups, "histogram": _histogram, "time": _over_time}[plot.kind]
    said = drawn(axes, planes, plot, ink)
    colour_words(axes, ink)
    return said


def _known(row: StudyRow, value: Value) -> bool:
    counted = row.counted is not None or bool(row.figures.by_hand)
    return counted and math.isfinite(row.value(value))


# ---- groups ----


def _groups(axes: Any, rows: Sequence[StudyRow], plot: Plot, ink: Ink) -> str:
    """Every replicate as a point, the mean and Student's interval of the mean beside them."""
    from celltally.project.study_groups import groups

    every = groups(rows, plot.by, value=plot.value)
    found = [group for group in every if group.n]
    labels = []
    keys = list(dict.fromkeys(group.key for group in found))
    for i, group in enumerate(found):
        colour = _COLOURS[keys.index(group.key) % len(_COLOURS)]
        axes.scatter(
            [i - 0.12 + x for x in _apart(group.n)],
            group.values,
            s=30,
            color=colour,
            alpha=0.75,
            linewidths=0,
            zorder=3,
        )
        at = i + 0.26
        if math.isfinite(group.low):
            error = [[group.mean - group.low], [group.high - group.mean]]
            axes.errorbar(at, group.mean, error, color=ink.words, capsize=4, linewidth=1.3)
        axes.plot([at - 0.09, at + 0.09], [group.mean] * 2, color=ink.words, linewidth=2.2)
        unit = f"{group.unit}{'s' * (group.n != 1)}"
        labels.append(f"{_broken(group.label)}\nn = {group.n} {unit}")
    steep = len(found) > 6
    axes.set_xticks(
        range(len(found)), labels, rotation=35 if steep else 0, ha="right" if steep else "center"
    )
    axes.set_xlim(-0.6, len(found) - 0.4)
    _from_zero(axes)
    axes.set_ylabel(VALUES[plot.value])
    said = f"{_points_are({group.unit for group in found})} Bars: mean and its 95 % interval."
    if any(not math.isfinite(group.low) for group in found):
        said += " One point alone has no interval."
    if left := sum(group.left_out for group in every):
        said += f" {left} image{'s' * (left != 1)} without a value left out."
    return said


def _points_are(units: set[str]) -> str:
    """Say what a point is: what n counts."""
    if units == {"image"}:
        return "Points: images."
    named = " or ".join(f"{unit}s" for unit in sorted(units, reverse=True))
    return f"Points: {named}, means of their images."


def _apart(n: int) -> list[float]:
    """Places beside each other in no order, so that equal values are all seen."""
    if n < 2:
        return [0.0] * n
    width = min(_SPREAD, 0.05 * n)
    return [width * ((0.5 + i * _GOLDEN) % 1 - 0.5) for i in range(n)]


def _broken(label: str, width: int = 16) -> str:
    """Break a long label at its spaces."""
    lines = [""]
    for word in label.split():
        fits = len(lines[-1]) + len(word) < width or not lines[-1]
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if fits else [lines[-1], word]
    return "\n".join(lines)


def _from_zero(axes: Any) -> None:
    """Let the axis begin at zero: heights are compared."""
    top = axes.get_ylim()[1]
    axes.set_ylim(0, top if top > 0 else 1)


# ---- histogram ----


def _histogram(axes: Any, rows: Sequence[StudyRow], plot: Plot, ink: Ink) -> str:
    import numpy as np

    values = np.array([row.value(plot.value) for row in rows if _known(row, plot.value)])
    whole = plot.value != "cells_per_mm2" and np.ptp(values) <= 20
    if whole:  # one bar a number of cells
        low, high = math.floor(values.min()), math.ceil(values.max())
        bins: Any = np.arange(low, high + 2) - 0.5
    else:
        bins = np.histogram_bin_edges(values, bins="auto")
        if len(bins) > 41:
            bins = 40
    axes.hist(values, bins=bins, color=_COLOURS[0], edgecolor=ink.ground, linewidth=1)
    axes.axvline(
        float(np.median(values)), color=ink.words, linewidth=1.3, linestyle="--",
        label=f"median {np.median(values):.4g}",
    )  # fmt: skip
    # Above: inside, it would lie on a bar.
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.set_xlabel(VALUES[plot.value])
    axes.set_ylabel("number of images")
    axes.yaxis.get_major_locator().set_params(integer=True)
    n = len(values)
    what = "image" if len({row.figures.t for row in rows}) == 1 else "plane"
    return f"{n} {what}{'s' * (n != 1)}."


# ---- time ----


def _over_time(axes: Any, rows: Sequence[StudyRow], plot: Plot, ink: Ink) -> str:
    """Curves of images with their intervals; of many images, of the means of groups."""
    series: dict[int, list[StudyRow]] = {}
    for row in rows:
        if _known(row, plot.value):
            series.setdefault(row.entry.id, []).append(row)
    over_time = [s for s in series.values() if len({row.figures.t for row in s}) > 1]
    if not over_time:
        raise UserError("no image was counted at several time points")
    axes.set_xlabel("time point")
    axes.set_ylabel(VALUES[plot.value])
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(over_time) > MOST_CURVES:
        said = _curves_of_groups(axes, [row for s in over_time for row in s], plot)
    else:
        said = _curves_of_images(axes, over_time, plot)
    _from_zero(axes)
    axes.legend(loc="best", frameon=False, fontsize="small")
    return said


def _curves_of_images(axes: Any, series: Sequence[Sequence[StudyRow]], plot: Plot) -> str:
    bands = False
    for i, rows in enumerate(series):
        colour, name = _COLOURS[i % len(_COLOURS)], rows[0].entry.name
        points = [_point([r for r in rows if r.figures.t == t], plot.value) for t in _times(rows)]
        axes.plot(
            _times(rows), [p[0] for p in points], color=colour, marker="o", markersize=3, label=name
        )
        low, high = [p[1] for p in points], [p[2] for p in points]
        bands |= any(math.isfinite(value) for value in low)
        axes.fill_between(_times(rows), low, high, color=colour, alpha=0.25, linewidth=0)
    return "A curve an image. Bands: intervals of the counts." if bands else "A curve an image."


def _times(rows: Sequence[StudyRow]) -> list[int]:
    return sorted({row.figures.t for row in rows})


def _point(rows: Sequence[StudyRow], value: Value) -> tuple[float, float, float]:
    """Value of a time point and its interval; of several planes their mean, without one."""
    mean = sum(row.value(value) for row in rows) / len(rows)
    if len(rows) > 1 or value == "n_dots":
        return mean, math.nan, math.nan
    (row,) = rows
    scale, interval = _scale(row, value), row.figures.interval
    return mean, scale * interval.low, scale * interval.high


def _scale(row: StudyRow, value: Value) -> float:
    """Return what turns a count into the value."""
    if value == "count":
        return 1.0
    return 1 / row.area_mm2 if row.area_mm2 > 0 else math.nan


def _curves_of_groups(axes: Any, rows: Sequence[StudyRow], plot: Plot) -> str:
    from celltally.project.study_groups import groups

    curves: dict[tuple[str, ...], list[Any]] = {}
    for group in groups(rows, plot.by, value=plot.value):
        if group.n:
            curves.setdefault(group.key, []).append(group)
    for i, points in enumerate(curves.values()):
        colour = _COLOURS[i % len(_COLOURS)]
        name = " · ".join(part or "(none)" for part in points[0].key) or "all images"
        n = max(point.n for point in points)
        label = f"{name}, n = {n} {points[0].unit}{'s' * (n != 1)}"
        t = [point.t for point in points]
        axes.plot(t, [p.mean for p in points], color=colour, marker="o", markersize=3, label=label)
        low, high = [p.low for p in points], [p.high for p in points]
        axes.fill_between(t, low, high, color=colour, alpha=0.25, linewidth=0)
    return "Means over replicates. Bands: 95 % intervals of the means."

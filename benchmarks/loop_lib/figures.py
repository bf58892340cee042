"""The results as curves and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from pathlib import Path
from textwrap import wrap

import matplotlib
import pandas as pd

__all__ = ["draw", "table"]

COLOURS = {
    "random": "#999999",
    "suggested": "#0072b2",
    "random, in turn": "#009e73",
    "suggested, in turn": "#56b4e9",
}
MARKS = {"dots": "o", "stated": "s"}


def draw(csv: Path, png: Path) -> None:
    """Error of the count against corrected regions: a panel a target and start."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    rows = pd.read_csv(csv, keep_default_na=False)
    runs = rows[rows["order"] != "specialist"]
    panels = list(dict.fromkeys(zip(runs["target"], runs["start"], strict=True)))
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(4.2 * columns, 3.2 * lines), squeeze=False, layout="constrained"
    )
    for axis, (target, start) in zip(axes.flat, panels, strict=False):
        own = runs[(runs["target"] == target) & (runs["start"] == start)]
        before = _before(own)
        for (order, labels, share), part in _runs(own):
            curve = part.astype({"regions": int, "mae": float}).groupby("regions")["mae"].mean()
            axis.plot(
                [0, *curve.index], [before, *curve], MARKS[labels] + "-", color=COLOURS[order],
                mfc="none" if labels == "stated" else None,
                label=f"{order}, {'dots' if labels == 'dots' else 'stated counts'}{_of(share)}",
            )  # fmt: skip
        for left, line in ((0.4, ":"), (0.25, "--")):
            axis.axhline(
                left * before, color="#d55e00", lw=0.8, ls=line, label=f"{left:.0%} of the start's"
            )
        axis.set(ylim=(0, None))
        axis.set_title("\n".join(wrap(f"{target}, from {start}", 36)), fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("corrected regions")
        axis.set_ylabel("mean absolute error (cells)")
        axis.legend(fontsize=7)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.savefig(png, dpi=110)


def table(csv: Path) -> str:
    """Markdown: the error after so many regions, in cells and as a share of the start's."""
    rows = pd.read_csv(csv, keep_default_na=False)
    numbers = sorted({int(n) for n in rows["regions"] if str(n).isdigit() and int(n)})
    head = ["target", "start", "order", "labels", "start's error", *map(str, numbers), "covered"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for (target, start), own in rows.groupby(["target", "start"], sort=False):
        if (own["order"] == "specialist").any():
            one = own.iloc[0]
            cells = [target, start, "trained on it", "", f"{float(one['mae']):.1f}"]
            lines.append("| " + " | ".join([*cells, *[""] * (len(numbers) + 1)]) + " |")
            continue
        before = _before(own)
        for (order, labels, share), part in _runs(own):
            part = part.astype({"regions": int, "mae": float, "covered": int, "with_interval": int})
            mean = part.groupby("regions")["mae"].mean()
            shown = [_left(mean[n], before) if n in mean else "" for n in numbers]
            covered = f"{part['covered'].sum()} of {part['with_interval'].sum()}"
            first = "" if isnan(before) else f"{before:.1f}"
            cells = [target, start, order + _of(share), labels, first, *shown, covered]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _before(own: pd.DataFrame) -> float:
    """Error of the start model; NaN for models from nothing."""
    starts = own[own["regions"].astype(str) == "0"]["mae"]
    return float(starts.iloc[0]) if len(starts) else float("nan")


def _runs(own: pd.DataFrame) -> Iterator[tuple[tuple[str, str, float], pd.DataFrame]]:
    """Rows that are alike but for their draw and number of regions."""
    learned = own[own["order"] != ""].astype({"share": float})
    for (order, labels, share), part in learned.groupby(["order", "labels", "share"]):
        yield (str(order), str(labels), float(share)), part


def _left(error: float, before: float) -> str:
    return f"{error:.1f}" + ("" if isnan(before) else f" ({error / before:.0%})")


def _of(share: float) -> str:
    return "" if share == 1 else f", of {share:.0%} of the images"

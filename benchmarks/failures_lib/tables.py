"""What was studied → Markdown, a text for each pair of marks in the document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from celltally.record import ModelRecord
from errors_lib.tables import number, percent, table
from failures_lib.study import BLURS, Figure

__all__ = ["blur_table", "focus_table", "model_table", "overlap_table", "shape_table"]

Figures = Mapping[str, Figure]


def model_table(records: Sequence[ModelRecord], used: Mapping[str, Sequence[int]]) -> str:
    """Write which models were judged, and what they know of the images.

    Parameters
    ----------
    records
        Of the models.
    used
        By name of a set, for each model the number of images that judge it and of those
        that chose its weights; zeros where it was not judged.
    """
    rows = []
    for i, record in enumerate(records):
        cells = [f"`{record.name}` ({record.sha256[:12]})", f"`{record.network}`"]
        cells.append(f"{record.parameters / 1e6:.1f} M")
        for numbers in used.values():
            judged, chose = numbers[2 * i : 2 * i + 2]
            cells.append(f"{judged} ({chose})" if judged else "–")
        rows.append(cells)
    head = ("model", "family", "parameters", *(f"{name}: images (chose it)" for name in used))
    return table(head, rows, words=2)


def overlap_table(found: Mapping[tuple[str, str], tuple[Figures, Figure]]) -> str:
    """Write the errors of nuclei that lie alone and of those that touch, by model, family.

    Parameters
    ----------
    found
        What ``compare`` and ``from_images`` said.
    """
    rows = [
        [
            name,
            family,
            *_errors(figures, "usual"),
            *_errors(figures, "odd"),
            _interval(figures["difference"]),
            _interval(whole),
        ]
        for (name, family), (figures, whole) in found.items()
    ]
    head = (
        *("model", "family", "alone: bias", "alone: size (grid)"),
        *("touching: bias", "touching: size (grid)"),
        *("touching − alone", "the same from whole images"),
    )
    return table(head, rows, words=2)


def shape_table(found: Mapping[tuple[str, str], Mapping[str, Figures]]) -> str:
    """Write the errors of irregular and elongated nuclei beside those of round ones.

    Parameters
    ----------
    found
        By model and family, what ``compare`` said of ``irregular`` and of ``elongated``.
    """
    rows = []
    for (name, family), groups in found.items():
        cells = [name, family, *_errors(next(iter(groups.values())), "usual")]
        for figures in groups.values():
            cells += [*_errors(figures, "odd"), _interval(figures["difference"])]
        rows.append(cells)
    groups = next(iter(found.values()))
    head = ["model", "family", "round: bias", "round: size (grid)"]
    for name in groups:
        head += [f"{name}: bias", f"{name}: size (grid)", f"{name} − round"]
    return table(head, rows, words=2)


def focus_table(found: Mapping[tuple[str, str], Mapping[str, Figures]]) -> str:
    """Write the errors of whole images at each level of focus."""
    rows = []
    for (name, family), levels in found.items():
        cells = [name, family]
        for figures in levels.values():
            cells.append(f"{number(figures['mae'].value)} ({number(figures['bias'].value, '+')})")
        worst = list(levels.values())[-1]
        rows.append([*cells, _interval(worst["more"])])
    levels = list(next(iter(found.values())))
    head = ("model", "family", *levels, f"{levels[-1]} − {levels[0]}, of the cells")
    return table(head, rows, words=2)


def blur_table(found: Mapping[tuple[str, str], Mapping[int, Figures]]) -> str:
    """Write the errors of whole images by blur, in per cent of the cells."""
    rows = []
    for (name, family), levels in found.items():
        cells = [name, family]
        for figures in levels.values():
            cells.append(
                f"{percent(figures['mae share'].value, 1)} "
                f"({percent(figures['bias share'].value, 1, '+')})"
            )
        for level in BLURS[1:]:
            cells.append(_interval(levels[level]["more"]))
        rows.append(cells)
    head = (
        *("model", "family", "as it is", *(f"{sigma} px" for sigma in BLURS[1:])),
        *(f"{sigma} px − as it is" for sigma in BLURS[1:]),
    )
    return table(head, rows, words=2)


def _errors(figures: Figures, group: str) -> tuple[str, str]:
    size, grid = figures[f"{group} size"], figures[f"{group} grid"]
    return (
        percent(figures[group].value, 1, "+"),
        f"{percent(size.value, 1)} ({percent(grid.value, 1)})",
    )


def _interval(figure: Figure) -> str:
    """Write a value with its interval; bold where zero lies outside."""
    if not math.isfinite(figure.value):
        return "–"
    text = (
        f"{percent(figure.value, 1, '+')} "
        f"({percent(figure.low, 1, '+')} to {percent(figure.high, 1, '+')})"
    )
    return f"**{text}**" if figure.low > 0 or figure.high < 0 else text

"""What was studied → Markdown, a text for each pair of marks in the document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from errors_lib.tables import number, percent, table

from celltally.record import ModelRecord
from failures_lib.study import BLURS, Figure

__all__ = [
    "Used",
    "blur_table",
    "focus_table",
    "model_table",
    "overlap_table",
    "shape_table",
]

Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Used:
    """A model, and by name of a set the numbers of images that judge it and that chose it."""

    record: ModelRecord
    images: dict[str, tuple[int, int]]


def model_table(used: Sequence[Used]) -> str:
    """Write which models were judged, and on how many images of which set."""
    sets = list(dict.fromkeys(name for row in used for name in row.images))
    rows = []
    for row in used:
        record = row.record
        cells = [f"`{record.name}` ({record.sha256[:12]})", f"`{record.network}`"]
        cells.append(f"{record.parameters / 1e6:.1f} M")
        for name in sets:
            judged, chose = row.images.get(name, (0, 0))
            cells.append(f"{judged} ({chose})" if judged else "–")
        rows.append(cells)
    head = ("model", "family", "parameters", *(f"{name}: images (chose it)" for name in sets))
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
        rows.append([*cells, _interval(worst["more"], _finer)])
    names = list(next(iter(found.values())))
    head = ("model", "family", *names, f"{names[-1]} − {names[0]}, of the cells")
    return table(head, rows, words=2)


def blur_table(found: Mapping[tuple[str, str], Mapping[int, Figures]]) -> str:
    """Write the errors of whole images by blur, in per cent of the cells."""
    rows = []
    for (name, family), levels in found.items():
        cells = [name, family]
        for figures in levels.values():
            cells.append(
                f"{_finer(figures['mae share'].value)} ({_finer(figures['bias share'].value, '+')})"
            )
        for level in BLURS[1:]:
            cells.append(_interval(levels[level]["more"], _finer))
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


def _whole(share: float, sign: str = "") -> str:
    return percent(share, 1, sign)


def _finer(share: float, sign: str = "") -> str:
    """Write a share in per cent, small ones with a decimal."""
    return f"{100 * share:{sign}.{0 if abs(share) >= 0.0995 else 1}f} %"


def _interval(figure: Figure, write: Callable[[float, str], str] = _whole) -> str:
    """Write a value with its interval; bold where zero lies outside."""
    if not math.isfinite(figure.value):
        return "–"
    value, low, high = (write(part, "+") for part in (figure.value, figure.low, figure.high))
    text = f"{value} ({low} to {high})"
    return f"**{text}**" if figure.low > 0 or figure.high < 0 else text

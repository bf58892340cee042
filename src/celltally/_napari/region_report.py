"""Counts of regions as the user reads, copies and saves them. Free of Qt."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from celltally._napari import texts
from celltally._napari.counting import PlaneCount
from celltally._napari.measuring import Row, cells_per_mm2
from celltally._napari.planes import Plane

__all__ = ["COLUMNS", "cells_of", "corrections", "notes", "sentence_of", "told", "write_table"]

#: Of the table that is saved.
COLUMNS = (
    "image", "t", "z", "region", "kind", "count", "ci_low", "ci_high", "level",
    "interval_kind", "n_dots", "dots_rule", "area_px", "area_um2", "cells_per_mm2",
    "pixel_size_um", "stated", "model", "model_sha256", "calibration_sha256", "message",
)  # fmt: skip


def area_text(area_um2: float) -> str:
    """``1 234 µm²``, or ``1.23 mm²`` where it is large; a dash where it is not known."""
    if not math.isfinite(area_um2):
        return "–"
    if area_um2 >= 1e5:
        return f"{area_um2 / 1e6:.3g}{texts.SPACE}mm²"
    return f"{texts.number(area_um2)}{texts.SPACE}µm²"


def cells_of(row: Row, pixel_um: float | None) -> tuple[str, str, str, str, str]:
    """Return what a table shows of a row: count, interval, dots, area, cells per mm²."""
    if row.measured is None:
        return ("…",) * 5
    area = area_text(row.measured.area_px * pixel_um**2) if pixel_um else "–"
    if row.interval is None:  # nothing was counted
        return "–", "–", "–", area, "–"
    return (
        texts.number(row.measured.count),
        texts.interval_range(row.interval),
        texts.number(row.measured.n_dots),
        area,
        _density_text(row, pixel_um),
    )


def _density_text(row: Row, pixel_um: float | None) -> str:
    measured = row.measured
    if measured is None or row.kind == "exclude":
        return "–"
    density = cells_per_mm2(measured.count, measured.area_px, pixel_um)
    # Three digits: no count is known more precisely.
    return texts.number(float(f"{density:.3g}")) if math.isfinite(density) else "–"


def sentence_of(row: Row, level: float, pixel_um: float | None) -> str:
    """``All 3 regions: 240 cells (95 %: 220 – 260), 238 dots, 0.1 mm², 2 400 per mm²``."""
    if row.measured is None or row.interval is None:
        return ""
    dots, area = texts.number(row.measured.n_dots), cells_of(row, pixel_um)[3]
    word = "dot" if row.measured.n_dots == 1 else "dots"
    parts = [
        f"{row.name}: {texts.cells(row.measured.count)} "
        f"({texts.percent(level)}: {texts.interval_range(row.interval)})",
        f"{dots} {word}",
    ]
    if pixel_um:
        parts += [area, f"{_density_text(row, pixel_um)} cells per mm²"]
    return ", ".join(parts)


def corrections(n_excluded: int, n_reviewed: int, n_stated: int = 0) -> str:
    """``without 2 excluded regions, dots in 1 reviewed region``; empty where there are none."""
    parts = []
    if n_excluded:
        parts.append(f"without {_regions(n_excluded, 'excluded')}")
    if n_reviewed:
        parts.append(f"dots in {_regions(n_reviewed, 'reviewed')}")
    if n_stated:
        parts.append(f"stated counts of {_regions(n_stated, 'reviewed')}")
    return ", ".join(parts)


def _regions(number: int, word: str) -> str:
    return f"{number} {word} region{'s' * (number != 1)}"


def told(rows: Sequence[Row]) -> str:
    """Say what is to be known of the rows' intervals, each sentence once."""
    sentences: list[str] = []
    for row in rows:
        if row.interval is None or row.kind == "exclude":
            continue
        words = texts.interval_words(row.interval)
        if row.interval.kind == "calibrated" and row.interval.reason:
            words = (
                "Intervals of shapes other than rectangles are approximate: "
                "they were calibrated on rectangles."
            )
        if row.interval.kind != "exact" and words and words not in sentences:
            sentences.append(words)
    return "\n".join(sentences)


def notes(
    rows: Sequence[Row],
    sums: Sequence[Row],
    counted: PlaneCount | None,
    plane: Plane | None,
    regions: int,
) -> list[str]:
    """Say what is to be known of a table.

    Parameters
    ----------
    rows, sums
        Of the table, and below it.
    counted
        None before it was counted.
    plane
        What the rows are of; None where there is none in view.
    regions
        How many there are in all planes.
    """
    found = [told([*rows, *sums])]
    if rows and counted is None:
        found.append("Not counted yet: areas only.")
    if rows and counted is not None and counted.plane.z_method == "merged":
        found.append("Counts in regions are of the plane in view, before planes are merged.")
    elsewhere = regions - len(rows)
    if plane is not None and elsewhere:
        lie = "region lies" if elsewhere == 1 else "regions lie"
        found.append(f"{elsewhere} {lie} in other planes than {plane.text or 'this one'}.")
    return [note for note in found if note]


def records(
    rows: Sequence[Row], counted: PlaneCount | None, level: float, pixel_um: float | None,
    *, frame: bool,
) -> list[dict[str, str]]:  # fmt: skip
    """Rows of the table that is saved, as plain figures; empty before anything was counted."""
    from celltally.batch.table import number, one_line

    if counted is None:
        return []
    prediction, plane = counted.prediction, counted.plane
    found = []
    for row in rows:
        measured, interval = row.measured, row.interval
        if measured is None or interval is None:
            continue
        area = measured.area_px * pixel_um**2 if pixel_um else math.nan
        density = cells_per_mm2(measured.count, measured.area_px, pixel_um)
        found.append(
            {
                "image": one_line(prediction.image),
                "t": str(plane.index("T")),
                "z": plane.z_word,
                "region": one_line(row.name),
                "kind": row.kind or "sum",
                "count": number(measured.count, 4),
                "ci_low": number(interval.low, 4),
                "ci_high": number(interval.high, 4),
                "level": str(level),
                "interval_kind": interval.kind,
                "n_dots": str(measured.n_dots),
                "dots_rule": "counting frame" if frame else "position",
                "area_px": number(measured.area_px, 2),
                "area_um2": number(area, 3),
                "cells_per_mm2": "" if row.kind == "exclude" else number(density, 3),
                "pixel_size_um": number(pixel_um or math.nan, 6),
                "stated": "" if row.stated is None else number(row.stated, 4),
                "model": prediction.model,
                "model_sha256": prediction.model_sha256,
                "calibration_sha256": prediction.calibration_sha256,
                "message": one_line(interval.reason),
            }
        )
    return found


def write_table(found: Sequence[dict[str, str]], path: str | Path | None = None) -> str:
    """Write the table as CSV, or return it for the clipboard, between tabs, where no path is.

    Raises
    ------
    UserError
        When the file cannot be written.
    """
    from celltally.io._files import write_atomically

    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, COLUMNS, lineterminator="\n", delimiter="\t" if path is None else ","
    )
    writer.writeheader()
    writer.writerows(found)
    if path is not None:
        write_atomically(Path(path), text.getvalue().encode())
    return text.getvalue()

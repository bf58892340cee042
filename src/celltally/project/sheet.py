"""A study's table as one tidy CSV file, and as an Excel file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from celltally.io._files import write_atomically
from celltally.project.history import LogEntry
from celltally.project.images import COLUMNS as OF_IMAGE
from celltally.project.study import StudyRow
from celltally.project.study_groups import Group

__all__ = ["ALL", "columns", "csv_text", "records", "write_csv", "write_excel", "write_table"]

#: What stands in the column ``class`` where a row is of all classes together.
ALL = "all"
#: Columns that come before the further ones of the plate map, and those after them.
_BEFORE = ("image", "path", "scene", "file_sha256", "pixel_sha256", *OF_IMAGE)
_AFTER = (
    *("t", "z", "z_method", "region", "class", "count", "ci_low", "ci_high", "level"),
    *("interval_kind", "interval_reason", "density_count", "stated", "n_dots"),
    *("proposed", "confirmed", "added", "moved", "removed"),
    *("model", "model_sha256", "model_lineage", "calibration_sha256", "channel"),
    *("diameter_px", "threshold"),
    *("reviewed_share", "area_px", "area_mm2", "cells_per_mm2", "in_tissue", "stale", "flags"),
    *("counted", "last_edit", "last_edit_by"),
)
#: What a spreadsheet takes for a formula when a text begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: Excel holds no more rows in a sheet.
_MOST_ROWS = 1_048_576
_WIDEST = 60
_MOST_TEXT = 32_767  # of a cell

Record = Mapping[str, Any]


def columns(study: Iterable[StudyRow]) -> tuple[str, ...]:
    """Columns of a study's sheet, in their order; further ones of the plate map among them."""
    return (*_BEFORE, *_further(study), *_AFTER)


def _further(study: Iterable[StudyRow]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for row in study:
        found.update(dict.fromkeys(row.entry.further))
    return tuple(_further_name(name) for name in found)


def _further_name(name: str) -> str:
    """Keep a plate map's column apart from one of ours."""
    return f"plate_map_{name}" if name in (*_BEFORE, *_AFTER) else name


def records(
    study: Sequence[StudyRow], *, lineages: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the sheet's rows: numbers as numbers, None where there is nothing.

    A row per counted plane and region; where its dots are of several classes, that one is of
    class ``all``, and one per class follows. So sums are of rows of one kind: do not add
    ``all`` to the classes, regions to images, or time points to each other.

    Parameters
    ----------
    study
        Rows of the study.
    lineages
        Where models come from, by their sha256 (``lineage.lineages``).
    """
    return [record for row in study for record in _records(row, lineages or {})]


def _records(row: StudyRow, lineages: Mapping[str, str]) -> list[dict[str, Any]]:
    entry, figures, counted = row.entry, row.figures, row.counted
    whole: dict[str, Any] = {
        "image": entry.name,
        "path": None if entry.path is None else str(entry.path),
        "scene": entry.scene,
        "file_sha256": entry.file_sha256,
        "pixel_sha256": entry.pixel_sha256,
        **{name: getattr(entry, name) for name in OF_IMAGE},
        **{_further_name(name): text for name, text in entry.further.items()},
        "t": figures.t,
        # Of a projection, and of merged planes, there is no single one.
        "z": figures.z if figures.z_method == "plane" else None,
        "z_method": figures.z_method,
        "region": (figures.name or "region") if row.is_region else None,
        "class": ALL,
        "count": figures.count,
        "ci_low": figures.interval.low,
        "ci_high": figures.interval.high,
        "level": figures.interval.level,
        "interval_kind": figures.interval.kind,
        "interval_reason": figures.interval.reason,
        "density_count": figures.density_count,
        "stated": figures.stated,
        "n_dots": figures.n_dots,
        **figures.states,
        "reviewed_share": figures.reviewed_share,
        "area_px": figures.area_px,
        "area_mm2": row.area_mm2,
        "cells_per_mm2": row.cells_per_mm2,
        "in_tissue": figures.in_tissue,
        "stale": row.stale,
        "flags": "; ".join(row.flags),
        "last_edit": None if row.last_edit is None else row.last_edit.at,
        "last_edit_by": None if row.last_edit is None else row.last_edit.by,
    }
    if counted is not None:
        whole |= {
            "model": counted.model,
            "model_sha256": counted.model_sha256,
            "model_lineage": lineages.get(counted.model_sha256, ""),
            "calibration_sha256": counted.calibration_sha256,
            "channel": counted.channel,
            "diameter_px": counted.diameter_px,
            "threshold": counted.threshold,
            "counted": counted.made,
        }
    whole = {name: _value(value) for name, value in whole.items()}
    classes = list(dict.fromkeys([*figures.classes, *figures.class_counts]))
    if len(classes) < 2:
        known = classes or list(() if counted is None else counted.classes)
        return [whole | {"class": known[0] if len(known) == 1 else ALL}]
    apart = [whole]
    for label in classes:
        count = _value(figures.class_counts.get(label))
        exact = figures.interval.kind == "exact"
        area = row.area_mm2
        bounds = {"ci_low": count, "ci_high": count} if exact else dict.fromkeys(_BOUNDS)
        apart.append(
            whole
            | dict.fromkeys(_NOT_BY_CLASS)
            | bounds
            | {
                "class": label,
                "count": count,
                "n_dots": figures.classes.get(label, 0),
                "cells_per_mm2": count / area if count is not None and area > 0 else None,
            }
        )
    return apart


_BOUNDS = ("ci_low", "ci_high", "interval_kind", "interval_reason")
#: What is not known class by class.
_NOT_BY_CLASS = (
    *("density_count", "stated", "proposed", "confirmed", "added", "moved", "removed"),
)


def _value(value: Any) -> Any:
    """Give None for what there is not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value == "" else value


# ---- CSV ----


def csv_text(study: Sequence[StudyRow], *, lineages: Mapping[str, str] | None = None) -> str:
    """Return the sheet as CSV; see ``records``.

    Truth is ``true`` or ``false``, and nothing is an empty cell. A text that a spreadsheet would
    take for a formula gets an apostrophe in front.
    """
    return _table_text(columns(study), records(study, lineages=lineages))


def write_csv(
    path: str | Path, study: Sequence[StudyRow], *, lineages: Mapping[str, str] | None = None
) -> None:
    """Write the sheet as CSV; the file is whole, or as it was before.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    _write_text(path, csv_text(study, lineages=lineages))


def write_table(path: str | Path, rows: Sequence[Record]) -> None:
    """Write rows with the same columns as CSV, as sheets are written.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    _write_text(path, _table_text(tuple(rows[0]) if rows else (), rows))


def _write_text(path: str | Path, text: str) -> None:
    write_atomically(Path(path), text.encode("utf-8", "surrogateescape"))


def _table_text(names: Sequence[str], rows: Sequence[Record]) -> str:
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, names, restval="", lineterminator="\n")
    writer.writerow({name: _csv_cell(name) for name in names})
    for row in rows:
        writer.writerow({name: _csv_cell(value) for name, value in row.items()})
    return content.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


# ---- Excel ----


def write_excel(
    path: str | Path,
    study: Sequence[StudyRow],
    *,
    groups: Sequence[Group] = (),
    methods: str = "",
    log: Sequence[LogEntry] = (),
    lineages: Mapping[str, str] | None = None,
) -> None:
    """Write an Excel file: sheets *counts*, *groups*, *regions*, *methods* and *log*.

    Numbers are numbers, texts are texts even where they begin like a formula, and the first
    line of each sheet stays in view.

    Parameters
    ----------
    path
        Where to; a file that is there is replaced only once all is written.
    study
        Rows of the study.
    groups
        From ``study_groups.groups``.
    methods
        The paragraph.
    log
        From ``history``; of a very long one the newest million steps.
    lineages
        As of ``records``.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    images = [row for row in study if not row.is_region]
    regions = [row for row in study if row.is_region]
    names = columns(study)
    of_images = tuple(name for name in names if name not in ("region", "stated"))
    _sheet(book, "counts", of_images, records(images, lineages=lineages))
    _sheet(book, "groups", _GROUPS, [_group(group) for group in groups])
    _sheet(book, "regions", names, records(regions, lineages=lineages))
    lines = [{"methods": line} for line in methods.splitlines()]
    _sheet(book, "methods", ("methods",), lines, wrap=True)
    entries = log[-(_MOST_ROWS - 1) :]
    _sheet(book, "log", _LOG, [_entry(entry) for entry in entries])
    content = io.BytesIO()
    book.save(content)
    write_atomically(Path(path), content.getvalue())


_GROUPS = (
    *("group", "columns", "t", "n", "unit", "mean", "sd", "ci_low", "ci_high", "level"),
    *("images", "images_without_value", "replicates", "values"),
)
_LOG = ("number", "when", "who", "image", "action", "changes", "detail")


def _group(group: Group) -> Record:
    return {
        "group": group.label,
        "columns": ", ".join(group.by),
        "t": group.t,
        "n": group.n,
        "unit": group.unit,
        "mean": group.mean,
        "sd": group.sd,
        "ci_low": group.low,
        "ci_high": group.high,
        "level": group.level,
        "images": group.images,
        "images_without_value": group.left_out,
        "replicates": "; ".join(group.names),
        "values": "; ".join(f"{value:.6g}" for value in group.values),
    }


def _entry(entry: LogEntry) -> Record:
    detail = "; ".join(f"{name}: {value}" for name, value in entry.detail.items())
    return {
        "number": entry.seq,
        "when": entry.made,
        "who": entry.author,
        "image": entry.image,
        "action": entry.what,
        "changes": entry.changes,
        "detail": detail,
    }


def _sheet(
    book: Any, title: str, names: Sequence[str], rows: Sequence[Record], *, wrap: bool = False
) -> None:
    from openpyxl.styles import Alignment, Font

    sheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    for i, name in enumerate(names):
        texts = [_shown(row.get(name)) for row in rows[:1000]]
        width = max([len(name), *(len(text) for text in texts)]) + 2
        sheet.column_dimensions[_letter(i)].width = 100 if wrap else min(width, _WIDEST)
    sheet.append([_cell(sheet, name, font=Font(bold=True)) for name in names])
    style = {"alignment": Alignment(wrap_text=True, vertical="top")} if wrap else {}
    for row in rows:
        sheet.append([_cell(sheet, _value(row.get(name)), **style) for name in names])


def _letter(index: int) -> str:
    from openpyxl.utils import get_column_letter

    return str(get_column_letter(index + 1))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value or "")


def _cell(sheet: Any, value: Any, **style: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    if isinstance(value, str):
        value = "".join(c if c.isprintable() or c in "\n\t" else "�" for c in value)[:_MOST_TEXT]
    cell = WriteOnlyCell(sheet, value=value)
    if isinstance(value, str):
        cell.data_type = "s"  # never a formula
        cell.quotePrefix = value.startswith(_FORMULA)
    for name, setting in style.items():
        setattr(cell, name, setting)
    return cell

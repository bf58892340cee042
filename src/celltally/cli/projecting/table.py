"""The table of a project: shown, grouped or written."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson
from celltally.cli._output import print_json, print_table, say
from celltally.cli.projecting._open import File, command, fresh_rows, model_lineages, reading
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celltally.project.study import StudyRow
    from celltally.project.study_groups import Group
    from celltally.types import Interval

__all__ = ["register"]

By = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMNS", help="Group by these columns, such as condition or plate,well."
    ),
]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, table, "table study.celltally --out study.xlsx")


def table(
    file: File,
    out: Annotated[
        Path | None, typer.Option(help="Write it: one tidy .csv, or .xlsx with groups and log.")
    ] = None,
    by: By = None,
    value: Annotated[
        str, typer.Option(help="What groups are of: count, cells_per_mm2 or n_dots.")
    ] = "count",
    as_json: AsJson = False,
) -> None:
    """Show or write the corrected counts of every image.

    With --by the means of groups, with n = replicates: fields of a replicate are averaged
    first.
    """
    values = ("count", "cells_per_mm2", "n_dots")
    if value not in values:
        raise UserError(f"groups cannot be of {value!r}; valid: {', '.join(values)}")
    suffix = "" if out is None else out.suffix.lower()
    if out is not None and suffix not in (".csv", ".xlsx"):
        raise UserError(f"{out} cannot be written: give a name that ends in .csv or .xlsx")
    from celltally.project.figures import level_of
    from celltally.project.study_groups import groups

    with reading(file) as store:
        study = fresh_rows(store)
        made = model_lineages(store)
        columns = _columns(by, study)
        found = groups(study, columns, value=value, level=level_of(store))  # type: ignore[arg-type]
        if out is not None and suffix == ".xlsx":
            from celltally.project.history import history
            from celltally.project.methods import methods
            from celltally.project.sheet import write_excel

            text = methods(store, study, lineages=made)
            log = history(store)
            write_excel(out, study, groups=found, methods=text, log=log, lineages=made)
    if out is not None and suffix == ".csv":
        from celltally.project.sheet import write_csv

        write_csv(out, study, lineages=made)
    if as_json:
        from celltally.project.sheet import records

        rows = records(study, lineages=made)
        print_json(rows if by is None else [_group(group) for group in found])
    elif out is not None:
        say(f"Wrote {out}.")
    elif by is None:
        _print_study(study)
    else:
        _print_groups(found)


def _columns(by: str | None, study: Sequence[StudyRow]) -> list[str]:
    """Return what is grouped by; left out, the condition, where one is known."""
    if by is None:
        return ["condition"] if any(row.entry.condition for row in study) else []
    names = [name.strip() for name in by.split(",") if name.strip()]
    from celltally.project.images import COLUMNS

    known = list(dict.fromkeys([*COLUMNS, *(k for row in study for k in row.entry.further)]))
    for name in names:
        if name not in known:
            raise UserError(
                f"there is no column {name!r} to group by; there are {', '.join(known)}"
            )
    return names


def _group(group: Group) -> dict[str, Any]:
    return {"label": group.label, "n": group.n, **asdict(group)}


def _print_study(study: Sequence[StudyRow]) -> None:
    shown = []
    for row in study:
        f = row.figures
        plate = " ".join(part for part in (row.entry.plate, row.entry.well) if part)
        shown.append(
            [
                row.label,
                plate,
                row.entry.condition,
                row.entry.replicate,
                _number(f.count),
                _interval(f.interval),
                str(f.n_dots),
                f"{100 * f.reviewed_share:.0f} %",
                _number(row.cells_per_mm2),
                "; ".join(row.flags),
            ]
        )
    heads = ("image", "well", "condition", "replicate", "count", "interval", "dots")
    print_table((*heads, "reviewed", "per mm²", "flags"), shown)


def _print_groups(found: Sequence[Group]) -> None:
    rows = [
        [
            group.label,
            f"{group.n} {group.unit}{'s' * (group.n != 1)}",
            _number(group.mean),
            _number(group.sd),
            "" if math.isnan(group.low) else f"{group.low:.1f}–{group.high:.1f}",
            str(group.images),
        ]
        for group in found
    ]
    print_table(("group", "n", "mean", "sd", "interval of the mean", "images"), rows)


def _interval(interval: Interval) -> str:
    if math.isnan(interval.low):
        return interval.kind
    kind = "" if interval.kind == "calibrated" else f" ({interval.kind})"
    return f"{interval.low:.1f}–{interval.high:.1f}{kind}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"

"""``celltally total``."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from celltally.cli._options import AsJson, Level
from celltally.cli._output import print_json, print_table, say
from celltally.errors import UserError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally total counts.csv audits.csv --group well")(total)


def total(
    counts: Annotated[
        Path, typer.Argument(metavar="COUNTS", help="Table of 'celltally count', of all images.")
    ],
    audits: Annotated[
        Path,
        typer.Argument(
            metavar="AUDITS",
            help="Table (CSV) with the columns image and count: what you counted by hand in "
            "images that were drawn at random.",
        ),
    ],
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of COUNTS that names the well or slide, where these were drawn, and "
            "each drawn one counted whole.",
        ),
    ] = None,
    level: Level = 0.95,
    as_json: AsJson = False,
) -> None:
    """Give the total of a study, corrected by a few images that were counted by hand.

    It is right on the average however far off the model is, as long as the images that were
    counted by hand were drawn at random.
    """
    from celltally.intervals import audited_total

    rows = _read(counts, ("image", "count", *([group] if group is not None else [])))
    by_hand = _audits(audits)
    names = [row["image"] for row in rows]
    _check_alike(rows, counts)
    _check_once(names, counts)
    if unknown := [name for name in by_hand if name not in set(names)]:
        raise UserError(
            f"{audits} has a count of {unknown[0]!r}, which is not in {counts}; give it the "
            "name that it has there"
        )
    if group is not None and (bare := [row["image"] for row in rows if not row[group].strip()]):
        raise UserError(f"{counts} names no {group} of {bare[0]}; fill that column in")
    predicted = []
    for row in rows:
        if row.get("status", "ok") != "ok" or not row["count"]:
            raise UserError(
                f"{row['image']} could not be counted (see {counts}): the total needs every image; "
                "mend it and count again with --resume, or take its row out"
            )
        predicted.append(_number(row["count"], row["image"], counts))
    found = audited_total(
        predicted,
        [by_hand.get(name, math.nan) for name in names],
        groups=None if group is None else [row[group] for row in rows],
        level=level,
    )
    if as_json:
        print_json(asdict(found))
        return
    units = "images" if group is None else f"groups ({group})"
    print_table(
        ("figure", "value"),
        [
            ("total", f"{found.total:.1f}"),
            (f"{level * 100:.10g} % interval", f"{found.low:.1f}–{found.high:.1f}"),
            ("sum of the model's counts", f"{found.predicted:.1f}"),
            ("audited", f"{found.audited} of {found.units} {units}"),
        ],
    )
    if found.reason:
        say(f"The interval is a rough guide: it is {found.reason}.")


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a table that has some columns."""
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}; give a table (CSV)")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{k: v or "" for k, v in row.items() if k is not None} for row in reader]
            named = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no table of text"
        raise UserError(f"{path} cannot be read ({reason}); give a table (CSV)") from None
    for column in columns:
        if column not in named:
            raise UserError(f"{path} has no column {column!r}; it has {', '.join(named) or 'none'}")
    if not rows:
        raise UserError(f"{path} has no rows; give a table with a row per image")
    return rows


def _audits(path: Path) -> dict[str, float]:
    """Read counts by hand; rows without one are images that were not counted."""
    rows = [row for row in _read(path, ("image", "count")) if row["count"].strip()]
    _check_once([row["image"] for row in rows], path)
    return {row["image"]: _number(row["count"], row["image"], path) for row in rows}


def _check_alike(rows: list[dict[str, str]], path: Path) -> None:
    """Refuse counts that are no parts of a total, or not of the same thing."""
    from celltally.batch.settings import Z_OF_STACK

    times: dict[str, set[str]] = {}
    for row in rows:
        found = times.setdefault(row["image"], set())
        found.add(row.get("t", ""))
        if len(found) > 1:
            raise UserError(
                f"{path} has several time points of {row['image']!r}, which show the same cells "
                "again and cannot be summed; leave the rows of one time point"
            )
    what = {row.get("z", "") if row.get("z") in Z_OF_STACK.values() else "" for row in rows}
    if len(what) > 1:
        raise UserError(
            f"{path} has counts of planes, of projections (z max) or of merged stacks (z merged) "
            "side by side, which cannot be summed; leave those of one kind"
        )


def _check_once(names: list[str], path: Path) -> None:
    """Refuse a table that names an image twice: it could not be told which row is meant."""
    name, often = Counter(names).most_common(1)[0] if names else ("", 1)
    if often > 1:
        raise UserError(f"{path} has {name!r} {often} times; leave one row of each image")


def _number(text: str, image: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UserError(f"{path} has {text!r} as the count of {image}; give a number of cells")
    return number

"""``celltally count``."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import (
    AsJson,
    Channel,
    Device,
    Diameter,
    Level,
    ModelName,
    Recursive,
)
from celltally.cli._output import (
    INTERRUPTED,
    failure,
    follow,
    print_json,
    print_table,
    say,
)
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    import pandas as pd

    from celltally.io.planes import PlaneChoice
    from celltally.types import Progress

__all__ = ["parse_channel", "parse_plane", "parse_planes", "register"]

_STILL_THERE = "go on with the same command and --resume"


class ZStack(StrEnum):
    """What of a z stack is counted."""

    PLANE = "plane"
    PROJECTION = "projection"
    MERGED = "merged"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally count plate_3/ --out counts.csv --dots dots/")(count)


def count(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images and folders.")],
    model: ModelName = "general",
    diameter: Diameter = None,
    channel: Channel = None,
    plane: Annotated[
        str | None,
        typer.Option(
            metavar="t=0,z=3",
            help="Plane of a stack; the first time point and the middle z if left out. "
            "t=all or t=0:10 (0 to 9) counts each time point: a row each.",
        ),
    ] = None,
    z_stack: Annotated[
        ZStack,
        typer.Option(
            help="Of a z stack count one plane, its maximum projection, or every plane with a "
            "cell's dots merged into one; --plane z=2:8 says which planes."
        ),
    ] = ZStack.PLANE,
    merge_distance: Annotated[
        float | None,
        typer.Option(
            metavar="PX",
            help="Merged: how far apart a cell's dots in neighbouring planes are at most; half "
            "the cell diameter if left out.",
        ),
    ] = None,
    merge_gap: Annotated[
        int, typer.Option(metavar="N", help="Merged: planes that a cell may be missed in.")
    ] = 0,
    level: Level = 0.95,
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write (CSV); it grows with every image that is done."),
    ] = None,
    dots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the cells' positions.")
    ] = None,
    density: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for density maps; a map's sum is the count."),
    ] = None,
    device: Device = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out what --out already has, try failed again.")
    ] = False,
    recursive: Recursive = False,
    as_json: AsJson = False,
) -> None:
    """Count the cells in images: a row an image, or a time point of it, with an interval.

    Ends with 0 when all images were counted, 1 when some failed, and 2 for wrong
    arguments, which are found before any image is opened.
    """
    chosen = parse_planes(plane)
    curve = isinstance(chosen.get("t"), slice)
    from celltally.batch import Counted, Row, iter_count, typed

    job = iter_count(
        paths,
        model=model,
        diameter_px=diameter,
        channel=parse_channel(channel),
        plane=chosen,
        z_stack=z_stack.value,
        merge_distance_px=merge_distance,
        merge_gap=merge_gap,
        level=level,
        out=out,
        dots_dir=dots,
        density_dir=density,
        device=device,
        resume=resume,
        recursive=recursive,
    )
    rows: list[Row] = []
    told: set[str] = set()

    def tell(draw: Callable[..., None], step: Progress) -> None:
        draw(step)
        if isinstance(step, Counted):
            rows.append(dict(step.row))
            for note in step.notes:
                if note not in told:
                    say(note)
                told.add(note)
        elif not step.values and step.done:
            say(step.message)

    try:
        table = follow(job, "counting", tell)
    except KeyboardInterrupt:
        _print(typed(rows), as_json, curve)
        kept = "" if out is None else f"; {out} has them, {_STILL_THERE}"
        say(f"Stopped after {len(rows)} {'rows' if curve else 'images'}{kept}.")
        raise typer.Exit(INTERRUPTED) from None
    except UserError as error:
        if not rows:
            raise
        _print(typed(rows), as_json, curve)
        failure(str(error))
        raise typer.Exit(1) from None
    _print(table, as_json, curve)
    failed = table[table["status"] != "ok"]
    for message in failed["message"]:
        failure(message)
    if len(failed):
        raise typer.Exit(1)


def parse_plane(text: str | None) -> dict[str, int]:
    """Turn ``t=0,z=3`` into ``{"t": 0, "z": 3}``.

    Raises
    ------
    UserError
        When the text is something else.
    """
    one = UserError(f"a plane cannot be chosen by {text!r}: write it as in t=0,z=3")
    try:
        planes = parse_planes(text)
    except UserError:
        raise one from None
    plane = {axis: index for axis, index in planes.items() if not isinstance(index, slice)}
    if len(plane) < len(planes):
        raise one
    return plane


def parse_planes(text: str | None) -> dict[str, PlaneChoice]:
    """Turn ``t=2:6,z=3`` into ``{"t": slice(2, 6), "z": 3}``; ``t=all`` is ``slice(None)``.

    Raises
    ------
    UserError
        When the text is something else.
    """
    planes: dict[str, PlaneChoice] = {}
    for part in text.split(",") if text is not None else ():
        axis, _, index = (word.strip().lower() for word in part.partition("="))
        run = re.fullmatch(r"([0-9]*):([0-9]*)|all", index)
        if axis not in ("t", "z") or axis in planes or not (run or re.fullmatch("[0-9]+", index)):
            raise UserError(
                f"a plane cannot be chosen by {text!r}: write it as in t=0,z=3, or as in t=all or "
                "t=0:10 for several time points"
            )
        if run is None:
            planes[axis] = int(index)
        else:
            first, end = (int(number) if number else None for number in run.groups())
            planes[axis] = slice(first, end)
    return planes


def parse_channel(text: str | None) -> int | str | None:
    """Take a whole number for a channel's index, anything else for its name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text.strip()


def _print(table: pd.DataFrame, as_json: bool, curve: bool) -> None:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        print_json(rows)
        return
    columns = ["image", "t", "count", "interval", "dots"]
    lines = [columns, *(_cells(row) for row in rows)]
    if not curve:  # the time point is the same for all
        lines = [[line[0], *line[2:]] for line in lines]
    print_table(lines[0], lines[1:])


def _cells(row: Mapping[Hashable, Any]) -> list[str]:
    name = [str(row["image"]), "" if row["t"] is None else str(row["t"])]
    if row["status"] != "ok":
        return [*name, "failed", "", ""]
    low, high = row["ci_low"], row["ci_high"]
    interval = str(row["interval_kind"])
    if isinstance(low, float) and isinstance(high, float):
        kind = "" if interval == "calibrated" else f" ({interval})"
        interval = f"{low:.1f}–{high:.1f}{kind}"
    return [*name, f"{row['count']:.1f}", interval, str(row["n_dots"])]

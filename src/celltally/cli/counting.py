"""``celltally count``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Device, Level, ModelName
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

    from celltally.types import Progress

__all__ = ["parse_channel", "parse_plane", "register"]

_STILL_THERE = "go on with the same command and --resume"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally count plate_3/ --out counts.csv --dots dots/")(count)


def count(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images and folders.")],
    model: ModelName = "general",
    diameter: Annotated[
        float | None,
        typer.Option(metavar="PX", help="Cell diameter in pixels; estimated if left out."),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(metavar="C", help="Channel by name or number from 0; guessed if left out."),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option(
            metavar="t=0,z=3",
            help="Plane of a stack; the first time point and the middle z if left out.",
        ),
    ] = None,
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
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Look into subfolders as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count the cells in images: a row an image, with an interval.

    Ends with 0 when all images were counted, 1 when some failed, and 2 for wrong
    arguments, which are found before any image is opened.
    """
    chosen = parse_plane(plane)
    from celltally.batch import Counted, Row, iter_count, typed

    job = iter_count(
        paths,
        model=model,
        diameter_px=diameter,
        channel=parse_channel(channel),
        plane=chosen,
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
        _print(typed(rows), as_json)
        kept = "" if out is None else f"; {out} has them, {_STILL_THERE}"
        say(f"Stopped after {len(rows)} images{kept}.")
        raise typer.Exit(INTERRUPTED) from None
    except UserError as error:
        if not rows:
            raise
        _print(typed(rows), as_json)
        failure(str(error))
        raise typer.Exit(1) from None
    _print(table, as_json)
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
    plane: dict[str, int] = {}
    for part in (text or "").split(",") if text is not None else ():
        axis, _, index = part.strip().partition("=")
        axis = axis.strip().lower()
        if axis not in ("t", "z") or axis in plane or not index.strip().isdecimal():
            raise UserError(f"a plane cannot be chosen by {text!r}: write it as in t=0,z=3")
        plane[axis] = int(index)
    return plane


def parse_channel(text: str | None) -> int | str | None:
    """Take a whole number for a channel's index, anything else for its name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text.strip()


def _print(table: pd.DataFrame, as_json: bool) -> None:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    if as_json:
        print_json(rows)
    else:
        print_table(("image", "count", "interval", "dots"), [_cells(row) for row in rows])


def _cells(row: Mapping[Hashable, Any]) -> list[str]:
    if row["status"] != "ok":
        return [str(row["image"]), "failed", "", ""]
    low, high = row["ci_low"], row["ci_high"]
    interval = str(row["interval_kind"])
    if isinstance(low, float) and isinstance(high, float):
        kind = "" if interval == "calibrated" else f" ({interval})"
        interval = f"{low:.1f}–{high:.1f}{kind}"
    return [str(row["image"]), f"{row['count']:.1f}", interval, str(row["n_dots"])]

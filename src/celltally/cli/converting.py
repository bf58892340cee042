"""``celltally convert``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from celltally.cli._options import AsJson
from celltally.cli._output import plain, print_json, say

__all__ = ["register"]

_FORMATS = (
    "celltally, napari, spotiflow, cell-counter (Fiji), cellfinder, cellfinder-yaml, "
    "imagej (RoiSet.zip), imagej-roi, qupath (GeoJSON), qupath-points"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally convert field_01.csv field_01.geojson")(convert)


def convert(
    dots: Annotated[
        Path, typer.Argument(metavar="DOTS", help="A file of dots, or a density of ours.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The new file; its suffix says the format, without --to."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FORMAT", help=f"Format of DOTS, else told by its header: {_FORMATS}."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="Format of OUT: one of the same."),
    ] = None,
    image: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Title of the image in Fiji, which Cell Counter compares."
        ),
    ] = "",
    pixel_size: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Pixel size in micrometres, for Cell Counter."),
    ] = None,
    planes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Planes (z) of a time point, for formats that number slices through.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write dots, or a density, in another program's format.

    What the new format cannot hold is said on stderr. A file is replaced only if it is of
    the same kind and nothing in it is lost.
    """
    from celltally.errors import UserError
    from celltally.io import dot_format
    from celltally.io.conversion import convert as converted

    if pixel_size is not None and not 0 < pixel_size < float("inf"):
        raise UserError(f"--pixel-size is {pixel_size:g}; give micrometres above 0")
    found = converted(
        dots,
        out,
        source=source,
        target=target,
        image=image,
        pixel_size_um=None if pixel_size is None else (pixel_size, pixel_size),
        planes=planes,
    )
    for sentence in found.lost:
        say(sentence)
    if as_json:
        print_json({"dots_file": str(dots), "out": str(out), **asdict(found)})
        return
    if found.dots is None:
        print(plain(f"Wrote {out}: {found.target}, {found.count:.1f} cells."))
        return
    title = dot_format(found.target).title
    number = "1 dot" if found.dots == 1 else f"{found.dots} dots"
    print(plain(f"Wrote {out}: {title}, {number}."))
    if target is None and found.target == "cell-counter":
        say("For cellfinder's XML add --to cellfinder.")

"""What was reviewed in a project becomes a data set to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celltally.cli._output import failure, follow, say
from celltally.cli.projecting._open import File, command, draw_step, reading

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, dataset, "dataset study.celltally --out my_cells/")


def dataset(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    name: Annotated[str | None, typer.Option(help="Of the data set; else the folder's.")] = None,
) -> None:
    """Write what was reviewed as a data set folder, to learn from.

    Ends with 1 when some reviewed images could not be read; the others are there.
    """
    from celltally.project.dataset import iter_export

    with reading(file) as store:
        made = follow(iter_export(store, out, name=name), "writing", draw_step)
    planes = f"{made.images} plane{'s' * (made.images != 1)}"
    regions = f"{made.regions} region{'s' * (made.regions != 1)}"
    say(f"Wrote {made.folder}: {planes}, {regions}, {made.dots} dots.")
    for sentence in made.missing:
        failure(sentence)
    if made.missing:
        raise typer.Exit(1)

"""What was done to a project, in what words a paper tells it, and whether it is whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from celltally.cli._options import AsJson
from celltally.cli._output import failure, print_json, print_table, say
from celltally.cli.projecting._open import (
    File,
    command,
    fresh_rows,
    images_named,
    model_lineages,
    n_images,
    reading,
)

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, log, "log study.celltally --last 20")
    command(project, methods, "methods study.celltally")
    command(project, check, "check study.celltally")


def log(
    file: File,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what was done to this image.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="The newest N only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell who did what, and when (UTC)."""
    from celltally.project.history import history

    with reading(file) as store:
        numbers = [None] if image is None else [entry.id for entry in images_named(store, image)]
        entries = [entry for number in numbers for entry in history(store, number, last=last)]
    entries = sorted(entries, key=lambda entry: entry.seq)[-(last or len(entries)) :]
    if as_json:
        print_json([{**asdict(entry), "detail": dict(entry.detail)} for entry in entries])
        return
    rows = [
        [
            entry.made[:19].replace("T", " "),
            entry.author,
            entry.image,
            entry.what,
            str(entry.changes or ""),
        ]
        for entry in entries
    ]
    print_table(("when", "who", "image", "what", "changes"), rows)


def methods(file: File) -> None:
    """Write a paragraph for the methods section of a paper."""
    from celltally.project.methods import methods as paragraph

    with reading(file) as store:
        print(paragraph(store, fresh_rows(store), lineages=model_lineages(store)))


def check(file: File) -> None:
    """Check that the file is whole, and that the images are in their places.

    Ends with 1 when the file is damaged.
    """
    from celltally.project.images import all_images
    from celltally.project.study import missing_files

    with reading(file) as store:
        wrong = store.check()
        entries = [] if wrong else all_images(store)
    for line in wrong:
        failure(f"{file}: {line}")
    if wrong:
        raise typer.Exit(1)
    missing = missing_files(entries)
    say(f"{file} is whole: {n_images(len(entries))}, {len(missing)} of them not in their places.")
    for entry in entries:
        if entry.id in missing:
            say(f"{entry.path} is missing; say where to look with 'celltally project find'.")

"""A project is made and gets its images, and what a plate map says of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celltally.cli._options import Recursive
from celltally.cli._output import failure, follow, plain, print_table, say
from celltally.cli.projecting._open import File, command, draw_step, n_images, reading, writing
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.project.plate_map import Preview
    from celltally.project.store import Store

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, new, "new study.celltally")
    command(project, add, "add study.celltally plate_3/")
    command(project, find, "find study.celltally /data/moved/")
    command(project, plate, "plate study.celltally --pattern '{plate}_{well}_s{site}.tif'")


def new(file: File) -> None:
    """Make a project."""
    from celltally.project.store import SUFFIX, Store

    if not file.suffix:
        file = file.with_suffix(SUFFIX)
    if file.exists():
        raise UserError(f"{file} exists already; give another name, or go on with it")
    with Store(file):
        say(f"Made {file}.")


def add(
    file: File,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Images and folders.")],
    recursive: Recursive = False,
) -> None:
    """Add images; those that it knows already, by their content, stay as they are.

    Ends with 1 when some could not be read; the others are added.
    """
    from celltally.errors import failure as sentence_of
    from celltally.io import find_images
    from celltally.project.images import all_images

    found = find_images(images, recursive=recursive)
    failed = 0
    with writing(file) as store:
        before = {entry.id for entry in all_images(store)}
        added: set[int] = set()
        for path in found:
            try:
                added |= set(_register(store, path))
            except Exception as error:  # the others are added all the same
                failure(sentence_of(error, path))
                failed += 1
    fresh = len(added - before)
    known = len(added & before)
    text = f"Added {n_images(fresh)}"
    say(
        f"{text}; {n_images(known)} {'was' if known == 1 else 'were'} known."
        if known
        else f"{text}."
    )
    if failed:
        raise typer.Exit(1)


def _register(store: Store, path: Path) -> list[int]:
    """Add a file, or each scene of it."""
    from celltally.io import list_scenes, read_image
    from celltally.project.images import register as register_image

    numbers = []
    scenes: list[str | None] = [*list_scenes(path)]
    for scene in scenes or [None]:
        image = read_image(path, scene=scene)
        sizes = image.sizes
        numbers.append(
            register_image(
                store,
                name=path.name,
                path=path,
                scene=scene,
                shape=(sizes["Y"], sizes["X"]),
                pixel_size_um=image.pixel_size_um,
            )
        )
    return numbers


def find(
    file: File,
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Where to look.")],
) -> None:
    """Find images again whose files were moved or renamed, by their content."""
    from celltally.project.images import find_again

    for folder in folders:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise UserError(f"{folder} {what}; give a folder to look in")
    with writing(file) as store:
        found, missing = follow(find_again(store, folders), "looking", draw_step)
    for entry in found:
        print(f"{plain(entry.name)}\t{plain(str(entry.path))}")
    say(f"Found {n_images(len(found))}; {n_images(len(missing))} still missing.")
    for entry in missing:
        failure(f"{entry.path} was not found in these folders; look in others")
    if missing:
        raise typer.Exit(1)


def plate(
    file: File,
    plate_map: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MAP]",
            help="Table (CSV) with a column image or well; its other columns are kept.",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="What file names tell, such as {plate}_{well}_s{site}.tif; or a regular "
            "expression with named groups."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be set.")
    ] = False,
) -> None:
    """Say which plate, well, condition or replicate images are of.

    With both, file names are read first, so that the map can go by their wells.
    """
    if plate_map is None and pattern is None:
        raise UserError("give a plate map (CSV) or --pattern, such as {well}_s{site}.tif")
    from celltally.project.plate_map import apply, from_names, from_plate_map, read_plate_map

    if dry_run and pattern is not None and plate_map is not None:
        raise UserError("show the map and the pattern one after the other: --dry-run takes one")
    read = None if plate_map is None else read_plate_map(plate_map)
    with reading(file) if dry_run else writing(file) as store:

        def use(preview: Preview) -> None:
            if dry_run:
                _print_preview(preview)
            else:
                apply(store, preview)
            for sentence in preview.sentences:
                say(sentence)

        if pattern is not None:
            use(from_names(store, pattern))
        if read is not None:
            use(from_plate_map(store, read))


def _print_preview(preview: Preview) -> None:
    rows = [
        [one.entry.name, *(one.values.get(name, "") for name in preview.columns)]
        for one in preview.assignments
    ]
    print_table(["image", *preview.columns], rows)

"""Files that counting leaves beside the table: what they are called, and what they may replace."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from celltally.errors import UserError
from celltally.io import is_celltally_density, is_celltally_dots, read_dots

__all__ = ["check_replaceable", "make_folder", "output_names"]


def output_names(images: Sequence[Path]) -> list[str]:
    """Names, without suffix, of the files that belong to images; no two are alike.

    The image's stem; where two clash their names with suffix; where these clash,
    too, the names of the folders above, as many as it takes. Names that differ by the
    case of letters only do clash (some file systems do not tell them apart) and
    are numbered in the end.
    """
    levels = [0] * len(images)
    places = [str(path.absolute()).casefold() for path in images]
    for _ in range(max((len(path.absolute().parts) for path in images), default=0)):
        names = [_name(p, level).casefold() for p, level in zip(images, levels, strict=True)]
        often = Counter(name for name, _ in set(zip(names, places, strict=True)))
        levels = [level + (often[name] > 1) for name, level in zip(names, levels, strict=True)]
    # What clashes still differs by the case of letters only: it is numbered.
    given: set[str] = set()
    unique = []
    for path, level in zip(images, levels, strict=True):
        name = stem = _name(path, level)
        n = 1
        while name.casefold() in given:
            n += 1
            name = f"{stem}-{n}"
        given.add(name.casefold())
        unique.append(name)
    return unique


def make_folder(folder: Path) -> None:
    """Make a folder for results, unless it is there.

    Raises
    ------
    UserError
        When it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(0, "Permission denied")
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be written to ({str(error.strerror).lower()}); choose another"
        ) from None


def check_replaceable(files: Iterable[Path], images: Sequence[Path], table: Path | None) -> None:
    """Refuse to write over anything that counting did not write itself.

    Parameters
    ----------
    files
        Dots (``.csv``) and densities (``.tif``) that are to be written.
    images
        What is counted.
    table
        Where the table of counts goes.

    Raises
    ------
    UserError
        When one of the files is an image or the table, holds dots that a human
        touched, or is of another kind.
    """
    taken = {path.resolve() for path in (*images, *([table] if table else []))}
    for file in files:
        if file.resolve() in taken:
            raise UserError(f"{file} would be written over; choose another folder for the results")
        if os.path.lexists(file) and not (
            _is_our_dots(file) if file.suffix == ".csv" else is_celltally_density(file)
        ):
            raise UserError(
                f"{file} exists and was not written by counting; "
                "choose another folder for the results"
            )


def _name(path: Path, level: int) -> str:
    if level == 0:
        return path.stem
    above = path.absolute().parts[1:-1]
    return "__".join([*above[max(0, len(above) - level + 1) :], path.name])


def _is_our_dots(path: Path) -> bool:
    """Whether a file holds dots as counting writes them, untouched by anyone since."""
    if not is_celltally_dots(path):
        return False
    try:
        dots = read_dots(path)
    except UserError:
        return False
    return bool((dots.state == "proposed").all() and (dots.source != "").all())

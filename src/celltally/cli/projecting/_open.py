"""What the commands of a project share: how it is opened, and what is said of it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from celltally.cli._output import follow
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celltally.project.images import ImageEntry
    from celltally.project.store import Store
    from celltally.project.study import StudyRow
    from celltally.types import Progress

__all__ = [
    "File",
    "command",
    "draw_step",
    "fresh_rows",
    "images_named",
    "model_lineages",
    "n_images",
    "reading",
    "writing",
]

File = Annotated[Path, typer.Argument(metavar="FILE", help="The project.")]


def command(project: typer.Typer, function: Callable[..., None], example: str) -> None:
    """Add a command with an example of its use."""
    project.command(epilog=f"Example: celltally project {example}")(function)


@contextmanager
def writing(file: Path) -> Iterator[Store]:
    """Open a project to change it; it must be there."""
    from celltally.project.store import Store

    if not file.exists():
        raise UserError(f"{file} does not exist; make it with 'celltally project new {file}'")
    with Store(file) as store:
        yield store


@contextmanager
def reading(file: Path) -> Iterator[Store]:
    """Open a project to look at it: another program may have it open."""
    from celltally.project.store import Store

    with Store(file, read_only=True) as store:
        yield store


def images_named(store: Store, name: str) -> list[ImageEntry]:
    """Images of a name.

    Raises
    ------
    UserError
        When there is none.
    """
    from celltally.project.images import all_images

    entries = all_images(store)
    found = [e for e in entries if e.name == name or str(e.path) == name]
    found = found or [e for e in entries if Path(e.name).stem == name]
    if not found:
        some = ", ".join(entry.name for entry in entries[:5]) or "no image"
        more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
        raise UserError(f"{store.path.name} has no image {name!r}; it has {some}{more}")
    return found


def fresh_rows(store: Store) -> list[StudyRow]:
    """Rows of a project that is open for reading, with figures as they are now."""
    from celltally.project.remembering import iter_refresh
    from celltally.project.study import rows

    fresh = follow(iter_refresh(store), "working out", draw_step)
    return rows(store, fresh=fresh)


def model_lineages(store: Store) -> dict[str, str]:
    """Where the models come from that counted, by their sha256; those that are gone included."""
    from celltally import zoo
    from celltally.project.lineage import lineages

    return lineages(store, zoo.available())


def draw_step(draw: Callable[..., None], step: Progress) -> None:
    """Draw a step of a job of which nothing else is told; see ``follow``."""
    draw(step)


def n_images(n: int) -> str:
    """Say how many images: ``1 image``, ``2 images``."""
    return f"{n} image{'s' * (n != 1)}"

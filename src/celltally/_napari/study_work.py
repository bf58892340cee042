"""What the *Study* widget does to a project, and gets out of it: jobs. Free of Qt."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celltally.errors import UserError, failure
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.methods import Agreed
    from celltally.project.store import Store

__all__ = [
    "Added",
    "add_images_job",
    "excel_job",
    "find_moved_job",
    "methods_job",
    "sheet_job",
    "training_job",
]

#: Names of files that are listed in a sentence.
_LISTED = 3


@dataclass(frozen=True)
class Added:
    """How adding images went.

    Attributes
    ----------
    new, known
        Number of images that are new, and of those that the project had.
    failed
        Sentences on files that could not be added.
    """

    new: int
    known: int
    failed: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """In words."""
        said = f"{_images(self.new)} added"
        said += f", {self.known} known already" if self.known else ""
        if self.failed:
            more = len(self.failed) - 1
            said += f"; {self.failed[0]}" + (f" (and {more} more)" if more else "")
        return f"{said}."


def add_images_job(store: Store, paths: Sequence[Path]) -> Generator[Progress, None, Added]:
    """Take images into the project, from folders and what is below them as well.

    A file that cannot be read is told of, and the others are added.

    Raises
    ------
    UserError
        When there is no image, or the project cannot be written.
    """
    yield Progress(0, 0, "looking for images")
    from celltally.io import find_images, list_scenes, read_image
    from celltally.project.images import all_images, register

    if store.read_only:
        raise UserError(f"{store.path.name} is open for reading only: no image can be added")
    files = find_images(paths, recursive=True)
    before = {entry.id for entry in all_images(store)}
    numbers: set[int] = set()
    failed = []
    for done, path in enumerate(files, start=1):
        try:
            found = [read_image(path, scene=scene) for scene in list_scenes(path) or [None]]
        except Exception as error:  # of any reader
            failed.append(failure(error, path))
            found = []
        for image in found:
            sizes = image.sizes
            number = register(
                store,
                name=path.name,
                path=path,
                scene=image.scene if len(found) > 1 else None,
                shape=(sizes["Y"], sizes["X"]),
                pixel_size_um=image.pixel_size_um,
            )
            numbers.add(number)
        yield Progress(done, len(files), f"adding {path.name}")
    return Added(len(numbers - before), len(numbers & before), tuple(failed))


def find_moved_job(store: Store, folder: Path) -> Generator[Progress, None, str]:
    """Look in a folder, and below, for images whose files are gone; say what was found."""
    yield Progress(0, 0, "looking for moved files")
    from celltally.project.images import find_again

    if store.read_only:
        raise UserError(f"{store.path.name} is open for reading only: new places cannot be kept")
    found, missing = yield from find_again(store, [folder])
    if not found and not missing:
        return "No file is missing."
    said = f"{_files(len(found))} found again."
    if missing:
        names = ", ".join(entry.name for entry in missing[:_LISTED])
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        said += f" Not in {folder.name}: {names}{more}."
    return said


# ---- out of the project ----


def sheet_job(store: Store, path: Path) -> Generator[Progress, None, str]:
    """Write the table as one tidy CSV."""
    rows = yield from _rows(store)
    from celltally.project.sheet import write_csv

    write_csv(path, rows, lineages=_lineages(store))
    return f"Saved {path.name}."


def excel_job(
    store: Store, path: Path, by: Sequence[str], agreed: Agreed | None = None
) -> Generator[Progress, None, str]:
    """Write the table, groups, methods and the log as an Excel file."""
    rows = yield from _rows(store)
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise UserError(
            "Excel files need openpyxl: pip install openpyxl, or save the table as CSV"
        ) from None
    from celltally.project.history import history
    from celltally.project.methods import methods
    from celltally.project.sheet import write_excel
    from celltally.project.study_groups import groups

    yield Progress(0, 0, "writing the Excel file")
    made = _lineages(store)
    write_excel(
        path,
        rows,
        groups=groups(rows, by),
        methods=methods(store, rows, agreed, lineages=made),
        log=history(store),
        lineages=made,
    )
    return f"Saved {path.name}."


def methods_job(store: Store, agreed: Agreed | None = None) -> Generator[Progress, None, str]:
    """Write the paragraph for the methods section."""
    rows = yield from _rows(store)
    from celltally.project.methods import methods

    return methods(store, rows, agreed, lineages=_lineages(store))


def training_job(store: Store, folder: Path) -> Generator[Progress, None, str]:
    """Write what was reviewed as a data set folder."""
    from celltally.project.dataset import iter_export

    done = yield from iter_export(store, folder)
    said = (
        f"{done.folder.name}: {_images(done.images)}, {done.regions} "
        f"region{'s' * (done.regions != 1)} and {done.dots} dot{'s' * (done.dots != 1)}."
    )
    if done.missing:
        said += f" {len(done.missing)} left out: {done.missing[0]}."
    return said


def _rows(store: Store) -> Generator[Progress, None, Any]:
    """Rows of the study as they are now: what is stale is worked out before."""
    yield Progress(0, 0, "reading the project")
    from celltally.project import study
    from celltally.project.remembering import iter_refresh

    fresh = yield from iter_refresh(store)
    return study.rows(store, fresh=fresh)


def _lineages(store: Store) -> dict[str, str]:
    """Where the models come from that counted, by their sha256."""
    from celltally import zoo
    from celltally.project.lineage import lineages

    return lineages(store, zoo.available())


def _images(n: int) -> str:
    return f"{n} image{'s' * (n != 1)}"


def _files(n: int) -> str:
    return f"{n} file{'s' * (n != 1)}"

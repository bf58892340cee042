"""*My counts*: the project that is there when the user has opened none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.project.store import Store

__all__ = ["PROJECTS", "UNNAMED", "is_unnamed", "open_unnamed", "projects_dir"]

#: What it is called.
UNNAMED = "My counts"
#: Environment variable that names another folder for it.
PROJECTS = "CELLTALLY_PROJECTS"
#: How many programs may have one of their own at once.
MOST_UNNAMED = 20


def projects_dir() -> Path:
    """Folder of the projects that nobody chose a place for (it need not exist).

    In the user's data folder, unless the environment names another.
    """
    from platformdirs import user_data_path

    if chosen := os.environ.get(PROJECTS):
        return Path(chosen)
    return Path(user_data_path("celltally", appauthor=False)) / "projects"


def open_unnamed() -> Store:
    """Open *My counts*; another program's is left to that."""
    from celltally.project.store import SUFFIX, ProjectInUseError, Store

    folder = projects_dir()
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_UNNAMED + 1):
        name = UNNAMED if number == 1 else f"{UNNAMED} {number}"
        try:
            return Store(folder / f"{name}{SUFFIX}")
        except ProjectInUseError:
            continue
    raise UserError(f"too many programs have a project in {folder}; close one of them")


def is_unnamed(store: Store) -> bool:
    """Whether a project is *My counts*, or the one that stands in for it in this program."""
    return (
        store.path.parent == projects_dir().absolute()
        and store.path.stem.startswith(UNNAMED)
        and not store.read_only
    )

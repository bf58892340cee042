"""The table of a study, read and worked out beside the window. Free of Qt.

Nothing here is called on the window's thread but ``Partial.take``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celltally._napari.study_lines import Column, Line, columns_of, lines_of
from celltally.types import Progress

if TYPE_CHECKING:
    from celltally.project.store import Store
    from celltally.project.study import StudyRow
    from celltally.project.study_lock import Lock

__all__ = ["Loaded", "Partial", "load_job", "refresh_job"]

#: Seconds between two looks at what is worked out by then; and as many times what one takes.
LOOK_EVERY, LOOK_SHARE = 1.0, 8


@dataclass(frozen=True, eq=False)
class Loaded:
    """A study, as the table shows it.

    Attributes
    ----------
    rows, columns, lines
        See ``study_lines``.
    missing
        Numbers of the images whose files are missing.
    lock, suggested
        What the study is locked to, and what it could be; None where it is not, or cannot.
    level
        Nominal coverage of the intervals.
    stale
        Number of images whose figures are still to be worked out.
    """

    rows: tuple[StudyRow, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    missing: frozenset[int]
    lock: Lock | None
    suggested: Lock | None
    level: float
    stale: int


class Partial:
    """What is worked out so far: put here by a job, taken by the window."""

    def __init__(self) -> None:
        self._held: Loaded | None = None
        self._guard = threading.Lock()

    def put(self, loaded: Loaded) -> None:
        """Give what is known by now; what nobody took is replaced."""
        with self._guard:
            self._held = loaded

    def take(self) -> Loaded | None:
        """Take it; None where there is nothing new."""
        with self._guard:
            held, self._held = self._held, None
        return held


def load_job(
    store: Store, missing: Collection[int] | None = None
) -> Generator[Progress, None, Loaded]:
    """Read the table of a study; nothing is worked out.

    Parameters
    ----------
    store
        The project.
    missing
        Numbers of the images whose files are missing; without, they are looked for.
    """
    yield Progress(0, 0, "reading the project")
    from celltally.project import study
    from celltally.project.images import all_images

    if missing is None:
        missing = study.missing_files(all_images(store))
    yield Progress(0, 0, "reading the project")
    return _loaded(store, frozenset(missing))


def refresh_job(
    store: Store, missing: Collection[int], partial: Partial
) -> Generator[Progress, None, Loaded]:
    """Work out the figures that are older than the last change, and read the table again.

    Parameters
    ----------
    partial
        Gets the table as it is from time to time.
    """
    yield Progress(0, 0, "working out the counts")
    from celltally.project.remembering import iter_refresh

    gone = frozenset(missing)
    steps = iter_refresh(store)
    due = time.monotonic() + LOOK_EVERY
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return _loaded(store, gone, end.value if store.read_only else None)
            if time.monotonic() > due and not store.read_only:
                began = time.monotonic()
                partial.put(_loaded(store, gone))
                took = time.monotonic() - began
                due = began + took + max(LOOK_EVERY, LOOK_SHARE * took)
            yield step
    finally:
        steps.close()


def _loaded(store: Store, missing: frozenset[int], fresh: object = None) -> Loaded:
    from celltally.project import study
    from celltally.project.figures import level_of
    from celltally.project.study_lock import locked, suggested_lock

    rows = study.rows(store, missing=missing, fresh=fresh)
    level = level_of(store)
    columns = columns_of(rows, level)
    return Loaded(
        rows=tuple(rows),
        columns=columns,
        lines=tuple(lines_of(rows, columns)),
        missing=missing,
        lock=locked(store),
        suggested=suggested_lock(store),
        level=level,
        stale=len({row.entry.id for row in rows if row.stale}),
    )

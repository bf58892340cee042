"""What keeps a count, and what a project gives back of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from celltally.types import Interval

if TYPE_CHECKING:
    from celltally._napari.counting import PlaneCount
    from celltally.project.counts import StoredCount
    from celltally.project.edits import Work

__all__ = ["Keeper", "Restored"]


@dataclass(frozen=True, eq=False)
class Restored:
    """What the project knows of an image.

    Attributes
    ----------
    counts
        Those that no later one took the place of.
    work
        Dots, regions, and the edits that can be undone.
    """

    counts: tuple[StoredCount, ...]
    work: Work


class Keeper(Protocol):
    """Keeps a count of an image; may be called on any thread.

    ``on_kept`` and ``on_failed`` are called on the window's thread; ``on_failed`` with a
    ``TryAgainError`` means that it is tried again.
    """

    def __call__(
        self,
        counted: PlaneCount,
        interval: Interval,
        *,
        unlike: bool | None,
        on_kept: Callable[[StoredCount], None],
        on_failed: Callable[[Exception], None],
    ) -> None:
        """Put the count into the line of what is saved."""

"""What each row of a table was counted from, so that a resumed batch takes over no other count.

The columns of ``counts.csv`` tell neither the channel nor which of two files of one name
was counted; a line for every image in a hidden file beside the table does.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from celltally.io.planes import PlaneChoice

__all__ = ["Origin", "OriginsFile", "origin_of", "times_of"]

#: What a count was made from: the file as it was, and the settings that the table lacks.
Origin = Mapping[str, Any]


def origin_of(image: Path, settings: Mapping[str, Any]) -> Origin:
    """Tell an image file by size and time of its last change, and how it is counted."""
    state = {"size": -1, "changed": -1}
    with contextlib.suppress(OSError):  # what cannot be read will fail as an image
        found = image.stat()
        state = {"size": found.st_size, "changed": found.st_mtime_ns}
    return {"image": image.name, **state, **settings}


def times_of(
    origin: Origin, recorded: Iterable[Origin], choice: PlaneChoice | None
) -> tuple[int, ...]:
    """Time points of which an image has rows when it is wholly counted.

    Parameters
    ----------
    origin
        Of the image, as it would be counted now.
    recorded
        What is known of earlier counts.
    choice
        The time point, or points, that are chosen.

    Returns
    -------
    tuple of int
        Empty where the image was not counted so before.
    """
    same = [found for found in recorded if {**found, "times": ""} == {**origin, "times": ""}]
    if not same:
        return ()
    if not isinstance(choice, slice):
        return (choice or 0,)
    times = same[-1].get("times", ())
    known = isinstance(times, list) and all(isinstance(t, int) for t in times)
    return tuple(times) if known else ()


class OriginsFile:
    """Origins of a table's rows; where they cannot be written, nothing can be resumed.

    Parameters
    ----------
    table
        The table that they belong to.
    """

    def __init__(self, table: Path) -> None:
        self.path = table.with_name(f".{table.name}.origins")

    def read(self) -> list[Origin]:
        """Return all that can be read."""
        origins: list[Origin] = []
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):  # cut off by a kill
                    origins.append(json.loads(line))
        return origins

    def start(self, kept: Iterable[Origin]) -> None:
        """Begin anew with some."""
        with contextlib.suppress(OSError):
            self.path.write_text("".join(_line(o) for o in kept), encoding="utf-8")

    def append(self, origin: Origin) -> None:
        """Add one, before its row is written."""
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(origin))


def _line(origin: Origin) -> str:
    return json.dumps(origin, sort_keys=True) + "\n"

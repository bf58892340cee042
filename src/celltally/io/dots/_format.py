"""What a format of dots is, and what it can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from celltally.types import Dots

__all__ = ["NOTHING_KNOWN", "About", "DotFormat", "Keeps", "Writer"]


@dataclass(frozen=True)
class About:
    """What some formats say of the image besides its dots.

    Attributes
    ----------
    image
        Its file name, or the title of its window in Fiji.
    pixel_size_um
        ``(y, x)`` in micrometres.
    planes
        Number of z planes, for formats that number the slices of a stack through.
    """

    image: str = ""
    pixel_size_um: tuple[float, float] | None = None
    planes: int | None = None


NOTHING_KNOWN = About()


@dataclass(frozen=True)
class Keeps:
    """What a format has a place for.

    Attributes
    ----------
    place
        ``exact``, ``single`` (precision) or ``pixels`` (whole ones).
    id, t, z, label, score, state, source
        Whether it keeps that column of ``Dots``.
    removed
        Whether the program that reads it can tell removed dots from others.
    """

    place: Literal["exact", "single", "pixels"] = "exact"
    id: bool = True
    t: bool = True
    z: bool = True
    label: bool = True
    score: bool = True
    state: bool = True
    source: bool = True
    removed: bool = True


class Writer(Protocol):
    """Dots → a file's content."""

    def __call__(self, dots: Dots, about: About = ..., /) -> bytes: ...


def _nothing(dots: Dots) -> list[str]:
    return []


@dataclass(frozen=True)
class DotFormat:
    """How one program writes points.

    Attributes
    ----------
    name
        What ``--from`` and ``--to`` call it.
    suffixes
        Lower case, with the dot; used where no header is recognised, and for a new file
        whose format is not given. The first one is what a new file gets.
    recognises
        Given a file's first bytes, whether it is this format.
    read
        File → dots, in our coordinates.
    write
        Dots → the file's content; None for formats that are only read.
    title
        The program's name, and the file's where it has several.
    keeps
        What it has a place for.
    also_lost
        Sentences about what else of some dots it loses.
    sidecar
        Whether what is known of the count goes into a file beside it.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    read: Callable[[Path], Dots]
    write: Writer | None
    title: str = ""
    keeps: Keeps = Keeps()
    also_lost: Callable[[Dots], list[str]] = _nothing
    sidecar: bool = False

"""Which tiles, which halo, how they are put together: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Tile", "plan_tiles"]


@dataclass(frozen=True)
class Tile:
    """One piece of work, in model-scale pixels.

    Attributes
    ----------
    core
        ``(y0, x0, y1, x1)``: what is kept of the result; cores of a plan cover the
        image once.
    window
        ``(y0, x0, y1, x1)``: what the network is shown: the core and its halo, cut
        at the image's borders.
    """

    core: tuple[int, int, int, int]
    window: tuple[int, int, int, int]


def plan_tiles(shape: tuple[int, int], tile: int, halo: int, multiple: int) -> list[Tile]:
    """Tiles that cover an image.

    Parameters
    ----------
    shape
        Height and width, multiples of ``multiple``.
    tile
        Largest side of a core; rounded down to a multiple.
    halo
        Pixels around a core that its result depends on, a multiple of ``multiple``.
    multiple
        Every corner is a multiple of this, so that strided layers of a tile fall
        where those of the whole image do.

    Raises
    ------
    ValueError
        When shape or halo is no multiple.
    """
    if any(side % multiple or side <= 0 for side in shape) or halo % multiple or halo < 0:
        raise ValueError(f"shape {shape} and halo {halo} must be multiples of {multiple}")
    rows, columns = (_cuts(side, max(tile, multiple), multiple) for side in shape)
    return [
        Tile(
            core=(y0, x0, y1, x1),
            window=(
                max(0, y0 - halo),
                max(0, x0 - halo),
                min(shape[0], y1 + halo),
                min(shape[1], x1 + halo),
            ),
        )
        for y0, y1 in rows
        for x0, x1 in columns
    ]


def _cuts(side: int, tile: int, multiple: int) -> list[tuple[int, int]]:
    """Nearly equal pieces of at most ``tile``, each a multiple."""
    units, largest = side // multiple, tile // multiple
    pieces = -(-units // largest)
    edges = [round(i * units / pieces) * multiple for i in range(pieces + 1)]
    return list(pairwise(edges))

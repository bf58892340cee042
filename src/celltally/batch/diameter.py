"""One cell diameter for all of an image that is compared or merged."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from numpy.typing import NDArray

from celltally.batch.settings import Settings
from celltally.progress import drain
from celltally.types import Progress

__all__ = ["iter_common_diameter"]


def iter_common_diameter(
    settings: Settings,
    times: Sequence[int],
    planes: Sequence[int],
    read: Callable[[int, int], NDArray[Any]],
    project: Callable[[int], Generator[Progress, None, NDArray[Any]]],
) -> Generator[Progress, None, tuple[bool, float | None]]:
    """Estimate one diameter, where it is not given and several things are counted.

    Parameters
    ----------
    settings
        How it is counted.
    times, planes
        Time points, and planes of each.
    read, project
        Pixels of a time point and plane, and the projection of a time point: what is counted
        is what is looked at.

    Returns
    -------
    tuple of bool and float or None
        Whether one is needed, and the diameter in pixels; None where no cell can be seen.
    """
    from celltally.stack import SAMPLED_PLANES, iter_shared_diameter, spread

    n = max(len(times), len(planes) if settings.z_stack == "merged" else 1)
    if settings.diameter_px is not None or n == 1:
        return False, settings.diameter_px
    n = min(n, SAMPLED_PLANES)
    places = list(zip(spread(times, n), spread(planes, n), strict=True))

    def look(place: tuple[int, int]) -> NDArray[Any]:
        t, z = place
        return drain(project(t)) if settings.z_stack == "projection" else read(t, z)

    return True, (yield from iter_shared_diameter(look, places))

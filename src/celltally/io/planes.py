"""Several planes of an image: which ones are meant, and their projection onto one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io.channels import guess_channel, select_pixels
from celltally.progress import drain
from celltally.types import Image, Progress

__all__ = [
    "PlaneChoice",
    "brightest_planes",
    "check_choice",
    "choice_text",
    "iter_brightest",
    "iter_depths",
    "iter_highest",
    "iter_project",
    "look_around",
    "planes_along",
    "project_pixels",
]

#: One index along an axis, or a run of them; ``slice(None)`` for all.
PlaneChoice = int | slice

#: The brightest plane at a dot of a projection is looked for in a square of this side, in cell
#: diameters.
_LOOK_AROUND = 0.25


def planes_along(image: Image, axis: str, choice: PlaneChoice | None) -> range:
    """Return the indices along an axis that are meant.

    Parameters
    ----------
    image
        From ``read_image``; an axis that it lacks has the index 0 only.
    axis
        ``"t"`` or ``"z"``.
    choice
        An index; a slice such as ``slice(2, 6)`` (2, 3, 4, 5) with ends that may be left out;
        None for what ``select_pixels`` takes: the first time point, the middle z.

    Raises
    ------
    UserError
        When the image lacks one of them, or a slice is empty, counts from the end or leaves
        out planes in between.
    """
    letter = axis.upper()
    size = image.sizes.get(letter, 1)
    if choice is None:
        middle = size // 2 if letter == "Z" else 0
        return range(middle, middle + 1)
    first, end = _bounds(axis, choice)
    end = size if end is None else end
    if not (first < end <= size):
        missing = first if first >= size else end - 1
        raise UserError(
            f"{image.name} has no plane {axis}={missing}; valid: {axis} 0 to {size - 1}"
        )
    return range(first, end)


def choice_text(choice: PlaneChoice) -> int | str:
    """Return a choice as ``--plane`` has it: ``3``, ``2:6``, ``2:``, ``all``."""
    if not isinstance(choice, slice):
        return int(choice)
    if choice.start in (None, 0) and choice.stop is None:
        return "all"
    ends = ("" if end is None else str(end) for end in (choice.start, choice.stop))
    return ":".join(ends)


def _bounds(axis: str, choice: PlaneChoice) -> tuple[int, int | None]:
    """First index and the one after the last (None: the axis' end) of a choice."""
    ends = (
        (choice.start or 0, choice.stop, choice.step or 1)
        if isinstance(choice, slice)
        else (choice, None, 1)
    )
    whole = all(
        isinstance(end, int | np.integer) and not isinstance(end, bool) and end >= 0
        for end in ends
        if end is not None
    )
    first, stop, step = ends
    if not whole or step != 1 or (stop is not None and stop <= first):
        text = choice_text(choice) if isinstance(choice, slice) else repr(choice)
        raise UserError(
            f"planes cannot be chosen by {axis}={text}: give a number from 0 on, a run such as "
            f"{axis}=2:6 (2, 3, 4 and 5), or {axis}=all"
        )
    return int(first), stop if isinstance(choice, slice) else int(first) + 1


def check_choice(axis: str, choice: PlaneChoice) -> str | None:
    """Why planes cannot be chosen so in any image, in words; None where they can."""
    try:
        _bounds(axis, choice)
    except UserError as error:
        return str(error)
    return None


def project_pixels(
    image: Image,
    *,
    channel: int | str | None = None,
    t: int = 0,
    z: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Maximum-intensity projection over z; see ``iter_project``."""
    return drain(iter_project(image, channel=channel, t=t, z=z))


def iter_project(
    image: Image,
    *,
    channel: int | str | None = None,
    t: int = 0,
    z: Sequence[int] | None = None,
) -> Generator[Progress, None, NDArray[Any]]:
    """Project an image over z, keeping of every pixel its largest value.

    Planes are read one by one, so that there are never more than two in memory. Cells must be
    brighter than their surroundings: of dark cells on a bright ground a projection keeps the
    ground. Of colour images each colour is projected by itself.

    Parameters
    ----------
    image
        From ``read_image``; without an axis z the projection is the plane itself.
    channel
        As ``select_pixels`` takes it; None for a guess.
    t
        Time point.
    z
        Planes to be projected; None for all.

    Yields
    ------
    Progress
        After every plane.

    Returns
    -------
    (H, W) or (H, W, 3) array
        In the file's dtype; values that are not a number count as none at all.

    Raises
    ------
    UserError
        As ``select_pixels``.
    ValueError
        When there is no plane to be projected.
    """
    planes = planes_along(image, "z", slice(None)) if z is None else z
    if not len(planes):
        raise ValueError("a projection needs a plane at least")
    if channel is None:  # guessed once, so that all planes are of one kind
        channel = guess_channel(image)
    return (
        yield from iter_highest(
            lambda z: select_pixels(image, channel=channel, plane={"t": t, "z": z}), planes
        )
    )


def iter_highest(
    read: Callable[[int], NDArray[Any]], planes: Sequence[int]
) -> Generator[Progress, None, NDArray[Any]]:
    """Largest value of every pixel over some planes; see ``iter_project``.

    Parameters
    ----------
    read
        Given the index of a plane, its pixels, which are not changed.
    planes
        Indices, one at least.
    """
    highest: NDArray[Any] | None = None
    for done, index in enumerate(planes, start=1):
        pixels = read(index)
        if highest is None:
            highest = pixels.copy()
        else:
            # A plane of a colour image in which all colours are equal comes without them.
            highest, pixels = _alike(highest, pixels)
            np.fmax(highest, pixels, out=highest)
        yield Progress(done, len(planes), "projecting")
    assert highest is not None
    return highest


def brightest_planes(
    image: Image,
    yx: NDArray[np.float64],
    *,
    channel: int | str | None = None,
    t: int = 0,
    z: Sequence[int] | None = None,
    window_px: int = 3,
) -> NDArray[np.int64]:
    """In which plane each of some places is brightest: where a dot of a projection belongs.

    Parameters
    ----------
    image, channel, t, z
        As of ``iter_project``; the planes are read once more, one at a time.
    yx
        ``(n, 2)`` places in image pixels.
    window_px
        Side of the square round a place whose mean brightness is compared.

    Returns
    -------
    (n,) int64 array
        Index of the plane; of equally bright ones the lowest.
    """
    return drain(iter_depths(image, yx, channel=channel, t=t, z=z, window_px=window_px))


def iter_depths(
    image: Image,
    yx: NDArray[np.float64],
    *,
    channel: int | str | None = None,
    t: int = 0,
    z: Sequence[int] | None = None,
    window_px: int = 3,
) -> Generator[Progress, None, NDArray[np.int64]]:
    """Find the plane in which each of some places is brightest; see ``brightest_planes``.

    Yields
    ------
    Progress
        After every plane.
    """
    planes = planes_along(image, "z", slice(None)) if z is None else z
    if len(planes) > 1 and len(yx) and channel is None:
        channel = guess_channel(image)
    return (
        yield from iter_brightest(
            lambda z: select_pixels(image, channel=channel, plane={"t": t, "z": z}),
            planes,
            yx,
            window_px=window_px,
        )
    )


def look_around(diameter_px: float) -> int:
    """Side of the square in pixels, round a dot, in which its plane is looked for."""
    return max(1, round(_LOOK_AROUND * diameter_px))


def iter_brightest(
    read: Callable[[int], NDArray[Any]],
    planes: Sequence[int],
    yx: NDArray[np.float64],
    *,
    window_px: int = 3,
) -> Generator[Progress, None, NDArray[np.int64]]:
    """In which of some planes each of some places is brightest; see ``brightest_planes``.

    Parameters
    ----------
    read, planes
        As of ``iter_highest``.
    yx, window_px
        As of ``brightest_planes``.
    """
    from scipy.ndimage import uniform_filter

    found = np.full(len(yx), planes[0], dtype=np.int64)
    if len(planes) == 1 or not len(yx):
        return found
    best = np.full(len(yx), -np.inf)
    for done, index in enumerate(planes, start=1):
        grey = np.nan_to_num(read(index).astype(np.float32), posinf=0, neginf=0)
        grey = grey.mean(axis=-1) if grey.ndim == 3 else grey
        grey = uniform_filter(grey, window_px, mode="nearest")
        rows, columns = np.clip(np.rint(yx), 0, np.array(grey.shape) - 1).astype(int).T
        brighter = grey[rows, columns] > best
        best[brighter], found[brighter] = grey[rows, columns][brighter], index
        yield Progress(done, len(planes), "looking for the plane of each dot")
    return found


def _alike(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Give both planes colours where one of them has some."""
    if a.ndim == b.ndim:
        return a, b
    a, b = (p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=-1) for p in (a, b))
    return a, b

"""Axis letters of all kinds of files → ours: T, C, Z, Y, X and S, each at most once."""

from __future__ import annotations

from pathlib import Path

from celltally.errors import UserError

__all__ = ["MAX_CHANNELS_GUESSED", "leading_axes", "micrometres", "pixel_size", "scene_index"]

#: An axis that nobody named is taken for channels up to this length, else for z.
MAX_CHANNELS_GUESSED = 4

_MICROMETRES = {
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "um": 1.0,
    "µm": 1.0,  # U+00B5, the micro sign
    "μm": 1.0,  # U+03BC, the Greek letter
    "\\u00b5m": 1.0,  # as ImageJ escapes it
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
}


def micrometres(unit: str | None) -> float | None:
    """Return a unit's length in micrometres, or None for pixels and unknown units."""
    return _MICROMETRES.get(str(unit or "").strip().lower())


def pixel_size(y: float | None, x: float | None, unit: float | None) -> tuple[float, float] | None:
    """Return (y, x) in micrometres where both are positive numbers, else None."""
    if not (y and x and unit) or not (0 < y * unit < 1e6 and 0 < x * unit < 1e6):
        return None
    return float(y * unit), float(x * unit)


def leading_axes(path: Path, letters: str, lengths: tuple[int, ...], taken: str) -> list[str]:
    """Name the axes before the plane's.

    Known letters (T, C, Z) stay. Every other axis, or one whose letter is
    already in use, is taken for channels when it is at most
    ``MAX_CHANNELS_GUESSED`` long, else for z; then for whatever of z, time and
    channels is free. Axes of length 1 without a place get the letter "".

    Parameters
    ----------
    path
        For the error's sentence.
    letters, lengths
        One per axis, as the file has them.
    taken
        Letters of the plane itself (``YX``, ``YXS``, …).

    Raises
    ------
    UserError
        When there are more axes than letters.
    """
    used = set(taken)
    names = ["" for _ in letters]
    for i, letter in enumerate(letters):
        if letter in "TCZ" and letter not in used:
            names[i] = letter
            used.add(letter)
    # From the innermost axis outwards: planes of a stack lie next to each other.
    for i in reversed(range(len(letters))):
        if names[i] or lengths[i] == 1:
            continue
        order = "CZT" if lengths[i] <= MAX_CHANNELS_GUESSED else "ZTC"
        free = [letter for letter in order if letter not in used]
        if not free:
            raise UserError(
                f"{path} has more axes than time, channel and z ({letters} of lengths "
                f"{', '.join(map(str, lengths))}); save the part to be counted as a file of its own"
            )
        names[i] = free[0]
        used.add(free[0])
    return names


def scene_index(path: Path, names: list[str], scene: str | int | None) -> int:
    """Return which of a file's scenes is meant: a name, or an index also as text.

    Raises
    ------
    UserError
        When there is no such scene; it lists those there are.
    """
    if scene is None:
        return 0
    if isinstance(scene, str) and scene in names:
        return names.index(scene)
    try:
        index = int(scene)
    except ValueError:
        index = -1
    if 0 <= index < len(names):
        return index
    shown = ", ".join(f"{i}: {name}" for i, name in enumerate(names[:20]))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    raise UserError(f"{path} has no scene {scene!r}; its scenes are {shown}{more}")

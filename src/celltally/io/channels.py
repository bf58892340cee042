"""One plane of one channel out of an image of any number of axes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltally.errors import UserError
from celltally.io._files import unreadable
from celltally.types import Image

__all__ = ["channel_names", "guess_channel", "select_pixels"]

COLOURS = ("colour", "red", "green", "blue", "gray")
_SYNONYMS = {"color": "colour", "rgb": "colour", "grey": "gray"}
#: Luminance weights (ITU-R BT.601), as ImageJ and Pillow use them.
_LUMINANCE = (0.299, 0.587, 0.114)
#: A colour that holds this share of the signal is the only one that was recorded.
ONE_COLOUR_SHARE = 0.9
#: Guessing looks at no more than about this many pixels.
_GUESS_PIXELS = 65_000

_NUCLEAR = re.compile(
    r"dapi|hoechst|hoescht|draq|sytox|syto(?!pl)|to-?pro|propidium|nuc|dna|h2[abx]|histone|"
    r"7-?aad|\bpi\b|405|bisbenzimide",
    re.IGNORECASE,
)


def channel_names(image: Image) -> list[str]:
    """Return the choices for a channel, in words; each is valid for ``select_pixels``.

    ``["colour", "red", "green", "blue", "gray"]`` for RGB, ``["0: DAPI", "1: GFP"]``
    (or ``["0", "1"]``) for channels, ``["gray"]`` for an image that has neither.
    Of several channels the entry's place in the list is the channel's index.
    """
    if image.is_rgb:
        return list(COLOURS)
    count = image.sizes.get("C")
    if count is None:
        return ["gray"]
    if len(image.channel_names) == count:
        return [f"{i}: {name}" for i, name in enumerate(image.channel_names)]
    return [str(i) for i in range(count)]


def guess_channel(image: Image) -> int | str | None:
    """Guess which channel shows the cells.

    Returns
    -------
    int, str or None
        For RGB ``"colour"``, or ``"red"``, ``"green"`` or ``"blue"`` where nearly
        all signal is in that one (a fluorescence picture stored in colour). Of
        several channels the first that is named like a nuclear stain, else 0.
        None where there is nothing to choose. The same for all planes: RGB is
        judged by the default plane.

    Raises
    ------
    UserError
        When the pixels of an RGB image cannot be read.
    """
    if image.is_rgb:
        return _guess_colour(_read_plane(image, _plane(image, None), None))
    if "C" not in image.axes:
        return None
    for i, name in enumerate(image.channel_names):
        if _NUCLEAR.search(name):
            return i
    return 0


def select_pixels(
    image: Image,
    *,
    channel: int | str | None = None,
    plane: Mapping[str, int] | None = None,
) -> NDArray[Any]:
    """Read one plane of one channel, and nothing else of the file.

    Parameters
    ----------
    image
        From ``read_image``.
    channel
        Index, name (case does not matter), an entry of ``channel_names``, or for
        RGB ``"colour"``, ``"red"``, ``"green"``, ``"blue"``, ``"gray"`` or 0 to 2;
        without, ``guess_channel``.
    plane
        ``{"t": 0, "z": 3}``; without, the first time point and the middle z.

    Returns
    -------
    (H, W) or (H, W, 3) array
        In the file's dtype and this machine's byte order; alpha is left out, and
        colours that are all equal are returned as ``(H, W)``.

    Raises
    ------
    UserError
        When there is no such channel or plane (the valid ones are listed), or
        the file turns out to be truncated or damaged.
    """
    at = _plane(image, plane)
    if not image.is_rgb:
        return _read_plane(image, at, _channel_index(image, channel))
    choice = _colour(image, channel)
    pixels = _read_plane(image, at, None)
    if choice is None:
        default = _plane(image, None)
        choice = _guess_colour(pixels if at == default else _read_plane(image, default, None))
    if choice == "colour":
        same = bool((pixels == pixels[..., :1]).all())
        return np.ascontiguousarray(pixels[..., 0]) if same else pixels
    if choice == "gray":
        grey = pixels @ np.asarray(_LUMINANCE)
        whole = np.rint(grey) if pixels.dtype.kind in "iu" else grey
        return np.asarray(whole.astype(pixels.dtype))
    return np.ascontiguousarray(pixels[..., COLOURS.index(choice) - 1])


def _plane(image: Image, plane: Mapping[str, int] | None) -> dict[str, int]:
    """Index on every axis that is neither the plane's nor the chosen channel's."""
    sizes = {
        axis: length
        for axis, length in image.sizes.items()
        if axis not in "YXS" and (axis != "C" or image.is_rgb)
    }
    at = {axis: length // 2 if axis == "Z" else 0 for axis, length in sizes.items()}
    for key, value in (plane or {}).items():
        axis = str(key).upper()
        if axis not in "TZ" and axis not in sizes:
            raise UserError(f"{image.name} has no axis {key!r} to pick a plane on; {_axes(sizes)}")
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise UserError(f"plane {key}={value!r} is no whole number; {_axes(sizes)}")
        if not 0 <= value < sizes.get(axis, 1):
            raise UserError(f"{image.name} has no plane {key}={value}; {_axes(sizes)}")
        if axis in sizes:
            at[axis] = int(value)
    return at


def _axes(sizes: Mapping[str, int]) -> str:
    if not sizes:
        return "it is a single plane, leave the choice out"
    return "valid: " + ", ".join(f"{axis.lower()} 0 to {n - 1}" for axis, n in sizes.items())


def _channel_index(image: Image, channel: int | str | None) -> int | None:
    count = image.sizes.get("C")
    names = channel_names(image)
    if channel is None:
        guess = guess_channel(image)
        return guess if isinstance(guess, int) else None
    index = _index(channel)
    if isinstance(channel, str):
        wanted = channel.strip().casefold()
        for known in (image.channel_names if count else (), names):
            matches = [i for i, name in enumerate(known) if name.strip().casefold() == wanted]
            if matches:
                index = matches[0]
                break
    if count is None:
        if index == 0 or str(channel).strip().casefold() == "grey":
            return None
        raise UserError(f"{image.name} has one channel only, not {channel!r}; leave it out")
    if index is None or not 0 <= index < count:
        raise UserError(f"{image.name} has no channel {channel!r}; valid: {', '.join(names)}")
    return index


def _colour(image: Image, channel: int | str | None) -> str | None:
    if channel is None:
        return None
    index = _index(channel)
    if index is not None and 0 <= index < 3:
        return COLOURS[1 + index]
    wanted = str(channel).strip().casefold()
    wanted = _SYNONYMS.get(wanted, wanted)
    if wanted not in COLOURS:
        raise UserError(
            f"{image.name} is a colour image and has no channel {channel!r}; "
            f"valid: {', '.join(COLOURS)}"
        )
    return wanted


def _index(channel: int | str) -> int | None:
    if isinstance(channel, bool):
        return None
    try:
        return int(channel)
    except ValueError:
        return None


def _guess_colour(pixels: NDArray[Any]) -> str:
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / _GUESS_PIXELS) ** 0.5))
    sample = pixels[::step, ::step].reshape(-1, pixels.shape[-1]).astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        return "colour"
    signal = np.clip(sample - np.percentile(sample, 0.5, axis=0), 0, None).mean(axis=0)
    total = signal.sum()
    strongest = int(signal.argmax())
    if total > 0 and signal[strongest] / total >= ONE_COLOUR_SHARE:
        return COLOURS[1 + strongest]
    return "colour"


def _read_plane(image: Image, at: Mapping[str, int], channel: int | None) -> NDArray[Any]:
    """Read (H, W), or (H, W, 3) of an RGB image."""
    where = dict(at) if channel is None else {**at, "C": channel}
    key = tuple(where.get(axis, slice(None)) for axis in image.axes)
    try:
        pixels = np.asarray(image.data[key])
    except Exception as error:  # a damaged file can fail in any part of its decoder
        raise unreadable(image.path or Path(image.name), error) from error
    left = [axis for axis in image.axes if axis not in where]
    pixels = pixels.transpose([left.index(axis) for axis in "YXS" if axis in left])
    if image.is_rgb:
        pixels = pixels[..., :3]
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))

"""Pixels of any kind → the numbers that networks are shown.

Percentiles are taken once per image, so that a tile is scaled as its image is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from celltally.errors import UserError

__all__ = [
    "IntensityRange",
    "finite",
    "image_statistics",
    "intensity_range",
    "normalise",
    "settings",
]

#: Lower and upper percentile that become 0 and 1.
PERCENTILES = (0.5, 99.9)
#: The range is at least this many noise standard deviations wide, so that the
#: noise of an empty field is not blown up to look like cells.
NOISE_FLOOR = 8.0
#: Brighter than the upper percentile by more than this is clipped.
CEILING = 3.0
#: Finite pixels beyond this are brought back to it, so that differences stay finite.
LARGEST_VALUE = 1e37
#: Larger than this many times their spread, values lose digits that matter in float32.
FEW_DIGITS = 2.0**14
#: An image whose pixels are correlated by more than ALIKE at a distance of LAG shows
#: something; else it is smoothed with the sigma BLUR. Noise then spreads over less than
#: WIDEST standard deviations, with skewness and excess kurtosis as here (dark fields of
#: cameras that cut off at zero, and of few photons, are somewhat skewed).
LAG, ALIKE, BLUR, WIDEST, SKEWNESS, KURTOSIS = 4, 0.2, 2.0, 12.0, (-0.3, 1.1), 1.1
#: Before this the light is taken off, and the level of the noise divided out: polynomials
#: of these degrees along each axis, or of one degree per REACH pixels if that is less, for
#: what changes over a shorter distance may be a cell. The level is at least FAINTEST times
#: its mean.
LIGHT_DEGREE, NOISE_DEGREE, REACH, FAINTEST = 6, 2, 64, 0.2
#: Percentiles of larger images are taken from a regular subsample.
SAMPLE_PIXELS = 4_000_000


def settings() -> dict[str, Any]:
    """Everything here that a count depends on, as a model records it."""
    return {
        "percentiles": list(PERCENTILES),
        "noise_floor": NOISE_FLOOR,
        "ceiling": CEILING,
        "emptiness": [
            *(LAG, ALIKE, BLUR, WIDEST, *SKEWNESS, KURTOSIS),
            *(LIGHT_DEGREE, NOISE_DEGREE, REACH, FAINTEST),
        ],
        "sample_pixels": SAMPLE_PIXELS,
    }


@dataclass(frozen=True)
class IntensityRange:
    """What an image's intensities were scaled by.

    Attributes
    ----------
    low, high
        Values that become 0 and 1.
    noise
        Robust standard deviation of the pixel noise, in image units.
    empty
        Whether the image shows nothing: it is constant, or pixel noise alone.
    """

    low: float
    high: float
    noise: float
    empty: bool


def finite(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Pixels as float32 with NaN and infinities replaced by the finite median.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype or bool.

    Raises
    ------
    UserError
        When the shape or dtype is no image plane's, or no pixel is finite.
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise UserError(
            f"an image plane has the shape (height, width) or (height, width, 3), not "
            f"{pixels.shape}; choose a channel and a plane"
        )
    if 0 in pixels.shape:
        raise UserError(f"the image is empty: its shape is {pixels.shape}; choose another file")
    if not (np.issubdtype(pixels.dtype, np.number) or pixels.dtype == bool) or np.iscomplexobj(
        pixels
    ):
        raise UserError(f"pixels of type {pixels.dtype} cannot be counted; save them as numbers")
    good = np.isfinite(pixels)
    with np.errstate(over="ignore"):  # beyond float32: infinite, and brought back below
        values = _near_zero(pixels, good).astype(np.float32)
    np.clip(values, -LARGEST_VALUE, LARGEST_VALUE, out=values)
    if good.all():
        return values
    if not good.any():
        raise UserError("every pixel is NaN or infinite; check how the image was saved")
    values[~good] = np.median(values[good])
    return values


def _near_zero(pixels: NDArray[np.generic], good: NDArray[np.bool_]) -> NDArray[Any]:
    """Take off an offset, or a size, that would leave float32 no digits for the differences."""
    if pixels.dtype.itemsize < 4 or pixels.dtype == np.float32 or not good.any():
        return pixels
    seen = pixels[good].astype(np.float64)
    largest = float(np.abs(seen).max())
    spread = float(seen.max() / 2 - seen.min() / 2) * 2
    if not spread > 0 or (largest <= LARGEST_VALUE and largest < FEW_DIGITS * spread):
        return pixels
    values = pixels.astype(np.float64) - (float(np.median(seen)) if np.isfinite(spread) else 0.0)
    return values / (largest / LARGEST_VALUE) if largest > LARGEST_VALUE else values


def intensity_range(values: NDArray[np.float32]) -> IntensityRange:
    """Range by percentiles of the whole image, at least ``NOISE_FLOOR`` × noise wide."""
    height, width = values.shape[:2]
    stride = max(1, int(np.ceil(np.sqrt(height * width) / np.sqrt(SAMPLE_PIXELS))))
    sample = values[::stride, ::stride].astype(np.float64)
    low, high = np.percentile(sample, PERCENTILES)
    grey = values.mean(axis=2) if values.ndim == 3 else values
    noise = _noise(grey)
    lowest, highest = float(sample.min()), float(sample.max())
    if high - low <= 0:  # fewer than a thousandth of the pixels differ
        low, high = lowest, highest
    empty = _shows_nothing(grey, highest - lowest)
    return IntensityRange(
        low=float(low),
        high=float(max(high, low + NOISE_FLOOR * noise))
        if high > low
        else float(low + max(1.0, abs(low))),
        noise=noise,
        empty=empty,
    )


def _shows_nothing(grey: NDArray[np.float32], spread: float) -> bool:
    """Whether an image is constant, or holds nothing but light and noise.

    Noise, also that of cameras that interpolate and of compressed files, is alike over
    a pixel or two; cells are over several. Where nothing is, the smoothed image is noise
    as well: near to normal, and its extremes keep close to its standard deviation. Fat
    cells with thin walls and coarse tissue have as little likeness over ``LAG`` pixels,
    but are far from normal. Light that is uneven is alike too, and makes noise uneven, so
    both are evened out first (of 1,234 real images one is taken for empty: a field of
    ``bbbc039`` that is labelled as holding no cell).
    """
    if not spread > 0:
        return True
    if min(grey.shape) <= 3 * LAG or not np.ptp(grey) > 0:  # the latter: colours differ
        return False
    rest = grey - _slow(grey, LIGHT_DEGREE)
    if _likeness(rest) > ALIKE:
        return False
    # Without the border, where the filter sees the same noise twice.
    smooth = gaussian_filter(rest, BLUR)[LAG:-LAG, LAG:-LAG]
    level = np.abs(smooth)
    least = FAINTEST * float(level.mean(dtype=np.float64))
    smooth /= np.maximum(_slow(level, NOISE_DEGREE), least or 1.0)
    typical = np.median(np.abs(smooth - np.median(smooth))) / 0.6745
    # Of a hundred thousand independent values the extremes lie nine deviations apart.
    if np.ptp(smooth) >= WIDEST * typical:
        return False
    z = (smooth - smooth.mean()) / smooth.std()
    return bool(SKEWNESS[0] < (z**3).mean() < SKEWNESS[1] and abs((z**4).mean() - 3) < KURTOSIS)


def _slow(plane: NDArray[np.float32], degree: int) -> NDArray[np.float32]:
    """Fit a plane's slow changes: the polynomial in y and x that is closest to it."""
    rows, columns = (
        legvander(np.linspace(-1, 1, n), min(degree, n // REACH)).astype(np.float32)
        for n in plane.shape
    )
    inner = np.linalg.pinv(rows) @ plane @ np.linalg.pinv(columns).T
    return np.asarray(rows @ inner @ columns.T)


def _likeness(grey: NDArray[np.float32]) -> float:
    """Correlation of pixels that lie ``LAG`` apart, along rows or columns, whichever is more."""
    values = [0.0]
    for lines in (grey, grey.T):
        part = lines[:: max(1, len(lines) // 512)].astype(np.float64)
        part -= part.mean()
        if variance := (part**2).mean():
            values.append(float((part[:, :-LAG] * part[:, LAG:]).mean() / variance))
    return max(values)


def _noise(grey: NDArray[np.float32]) -> float:
    """Noise from the median absolute second difference along rows (robust to edges)."""
    if grey.shape[1] < 3:
        return 0.0
    rows = grey[:: max(1, grey.shape[0] // 512)].astype(np.float64)
    second = rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2]
    # A Gaussian's second difference has a standard deviation of sqrt(6) sigma,
    # and its median absolute value is 0.6745 of that.
    return float(np.median(np.abs(second)) / 0.6745 / np.sqrt(6.0))


def normalise(
    pixels: NDArray[np.generic],
) -> tuple[NDArray[np.float32], IntensityRange]:
    """Scale a plane so that its range becomes 0 … 1.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``; the samples of a colour image share one range,
        so that colours are kept.

    Returns
    -------
    values
        float32 of shape ``(C, H, W)``, C = 1 or 3, clipped to
        ``[-CEILING, CEILING]``.
    scaling
        What it was scaled by.
    """
    values = finite(pixels)
    scaling = intensity_range(values)
    with np.errstate(over="ignore"):  # what overflows is clipped
        values = (values - np.float32(scaling.low)) / np.float32(scaling.high - scaling.low)
    np.clip(values, -CEILING, CEILING, out=values)
    return (
        np.ascontiguousarray(values.transpose(2, 0, 1)) if values.ndim == 3 else values[None],
        scaling,
    )


def image_statistics(values: NDArray[np.float32], scaling: IntensityRange) -> Mapping[str, float]:
    """Figures by which an image is compared with those a model was trained on.

    Parameters
    ----------
    values
        Normalised ``(C, H, W)``.

    Returns
    -------
    mapping
        ``contrast`` (log10 of range / noise), ``colour`` (mean absolute
        difference between samples), ``brightness`` (mean of the normalised
        image).
    """
    span = scaling.high - scaling.low
    contrast = span / max(scaling.noise, 1e-3 * span)
    colour = (
        float(np.abs(values - values.mean(axis=0, keepdims=True)).mean())
        if values.shape[0] == 3
        else 0.0
    )
    return {
        "contrast": float(np.log10(contrast)),
        "colour": colour,
        "brightness": float(values.mean()),
    }

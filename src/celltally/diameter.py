"""An estimate of the cell diameter from the image alone, without torch.

An image's energy in bands of a scale space says how large the things in it are.
Enlarging an image by √2 moves its spectrum along by one band, so a small
convolutional network over the bands, ending in the mean position of a softmax,
gives an estimate that grows with the image by construction. Its few hundred
weights come from ``celltally.learn.diameter``.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from celltally.preprocess import normalise

__all__ = ["band_features", "check_diameter", "diameter_of", "estimate_diameter", "position"]

#: Bands of the scale space, two an octave, the first at this sigma in pixels.
BANDS, FIRST_SIGMA = 14, 0.7
#: Larger images are looked at through a 3 × 3 mosaic of windows of this side.
WINDOW = 448
#: What looks smaller than this is noise; cells that small would make huge images.
SMALLEST_PX = 3.0
#: Images that are narrower than this, in pixels, show no cell to be measured.
SHORTEST_SIDE = 8
#: Cell diameter in pixels that no image has room for.
LARGEST_DIAMETER = 100_000
WEIGHTS = Path(__file__).with_suffix(".npz")


def check_diameter(diameter_px: float) -> str | None:
    """Why a cell diameter cannot be used, in words; None where it can."""
    if not (isinstance(diameter_px, int | float) and math.isfinite(diameter_px)):
        return f"the cell diameter {diameter_px} is no number; give pixels, such as 12"
    if diameter_px <= 0:
        return f"the cell diameter {diameter_px:g} px is not above 0; give pixels, such as 12"
    if diameter_px < 1:
        return f"cells of {diameter_px:g} px cannot be seen; give the diameter in image pixels"
    if diameter_px > LARGEST_DIAMETER:
        return (
            f"cells of {diameter_px:g} px are larger than any image; give their diameter in pixels"
        )
    return None


def estimate_diameter(pixels: NDArray[np.generic]) -> float | None:
    """Typical cell diameter in pixels; None for an image that shows nothing.

    Parameters
    ----------
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype.

    Raises
    ------
    UserError
        When the pixels are no image plane.
    """
    values, scaling = normalise(pixels)
    return None if scaling.empty else diameter_of(values)


def diameter_of(values: NDArray[np.float32]) -> float | None:
    """Typical cell diameter in pixels of a normalised ``(C, H, W)`` image.

    To a tenth of a pixel, as people type it, so that a count can be repeated with the
    diameter that was shown. None where a side is too short to see a cell.
    """
    if min(values.shape[1:]) < SHORTEST_SIDE:
        return None
    bands = position(band_features(values.mean(axis=0)), _weights())
    return round(max(SMALLEST_PX, float(FIRST_SIGMA * 2 ** (bands / 2))), 1)


def band_features(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Figures of a normalised image's bands, ``(4, BANDS)`` float32.

    Energy (log, against the bands' mean), skewness, excess kurtosis (log) and the
    share of energy in bright parts of each difference of Gaussians.
    """
    mosaic = _mosaic(grey)
    features = np.zeros((4, BANDS), dtype=np.float64)
    # From the pixel's own blur to the first sigma; every second band halves the size.
    level, sigma = gaussian_filter(mosaic, FIRST_SIGMA, mode="reflect"), FIRST_SIGMA
    for band in range(BANDS):
        blurred = gaussian_filter(level, sigma, mode="reflect")  # √(2σ² − σ²) = σ
        difference = (level - blurred).astype(np.float64)
        power = float(np.mean(difference**2)) + 1e-12
        features[0, band] = 0.5 * np.log(power)
        features[1, band] = np.mean(difference**3) / power**1.5
        features[2, band] = np.log(np.mean(difference**4) / power**2 + 1e-3)
        features[3, band] = np.mean(np.clip(difference, 0, None) ** 2) / power
        level, sigma = blurred, sigma * 2**0.5
        if band % 2 and min(level.shape) >= 16:
            level, sigma = level[::2, ::2], sigma / 2
    features[0] -= features[0].mean()
    features[1] = np.arcsinh(features[1])
    return features.astype(np.float32)


def position(features: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]) -> float:
    """Position along the bands at which the cells are, from ``(4, BANDS)`` features."""
    x = features
    for layer in (1, 2):
        x = np.maximum(_convolve(x, weights[f"kernel{layer}"], weights[f"bias{layer}"]), 0.0)
    logits = _convolve(x, weights["kernel3"], weights["bias3"])[0]
    share = np.exp(logits - logits.max())
    return float((share / share.sum()) @ np.arange(BANDS) + weights["shift"][0])


def _convolve(
    x: NDArray[np.float32], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``(C, BANDS)`` × ``(O, C, k)`` → ``(O, BANDS)``, edges repeated."""
    half = kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (half, half)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2], axis=1)
    result: NDArray[np.float32] = np.einsum("cbk,ock->ob", windows, kernel) + bias[:, None]
    return result


def _mosaic(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = (_slices(side) for side in grey.shape)
    return np.block([[grey[y, x] for x in columns] for y in rows])


def _slices(side: int) -> list[slice]:
    """Return the whole side, or three evenly spread windows where they do not overlap."""
    if side <= 3 * WINDOW:
        return [slice(0, side)]
    return [slice(int(s), int(s) + WINDOW) for s in np.linspace(0, side - WINDOW, 3)]


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}

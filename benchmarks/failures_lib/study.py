"""How far counts are off by overlap, by shape and by focus, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from errors_lib.counted import Counted
from numpy.typing import NDArray
from scipy import ndimage

from celltally.density import density_map
from celltally.learn.batches import SIGMA
from celltally.types import Grid
from failures_lib.nuclei import Nuclei, masses

__all__ = [
    "BLURS",
    "Figure",
    "blurred",
    "by_level",
    "compare",
    "from_images",
    "groups_by_shape",
    "nucleus_rows",
]

#: Standard deviations of the blurs, in pixels; the first is the image as it is.
BLURS = (0, 2, 4, 8)
#: Of the nuclei that lie alone, the share that counts as irregular, or as elongated.
ODD = 0.1
#: Resamplings for an interval.
RESAMPLINGS = 2000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A measured value and its 95 % interval; NaN where there is nothing to measure."""

    value: float
    low: float
    high: float


def nucleus_rows(nuclei: Nuclei, counted: Counted, diameter_px: float) -> pd.DataFrame:
    """Look how the density falls to the nuclei of an image.

    Returns
    -------
    DataFrame
        A row per nucleus: its look as in ``Nuclei``; ``mass``, the density in its part;
        and ``ideal``, the same of a density that is as good as the model's grid allows:
        the true dots, each with the kernel of a training of `tally`.
    """
    height, width = counted.density.shape
    grid = Grid((height, width), counted.step, counted.origin)
    ideal = Counted(
        density_map(nuclei.yx, grid, SIGMA * diameter_px),
        counted.step, counted.origin, counted.image_shape, diameter_px, nuclei.yx,
    )  # fmt: skip
    looks = ("touching", "whole", "solidity", "eccentricity", "area_px")
    return pd.DataFrame(
        {name: getattr(nuclei, name) for name in looks}
        | {"mass": masses(counted, nuclei), "ideal": masses(ideal, nuclei)}
    )


def groups_by_shape(nuclei: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Divide the nuclei that lie alone, whole in the image, by their shape.

    Returns
    -------
    dict
        Which rows are ``round`` (the more convex half and the less elongated half at once),
        ``irregular`` (the tenth with the smallest solidity) and ``elongated`` (the tenth
        with the largest eccentricity, as far as it is not irregular).
    """
    alone = (nuclei["whole"] & ~nuclei["touching"]).to_numpy()
    solidity, eccentricity = nuclei["solidity"].to_numpy(), nuclei["eccentricity"].to_numpy()
    if not alone.any():
        return dict.fromkeys(("round", "irregular", "elongated"), alone)
    irregular = alone & (solidity <= np.quantile(solidity[alone], ODD))
    convex = solidity >= np.median(solidity[alone])
    compact = eccentricity <= np.median(eccentricity[alone])
    elongated = eccentricity >= np.quantile(eccentricity[alone], 1 - ODD)
    return {
        "round": alone & convex & compact,
        "irregular": irregular,
        "elongated": alone & elongated & ~irregular,
    }


def compare(
    nuclei: pd.DataFrame, usual: NDArray[np.bool_], odd: NDArray[np.bool_]
) -> dict[str, Figure]:
    """Compare the errors of two groups of nuclei, of one model.

    Parameters
    ----------
    nuclei
        Rows of ``nucleus_rows`` with their ``group``; those of one group are not
        independent.
    usual, odd
        Which rows belong to either.

    Returns
    -------
    dict
        For ``usual`` and ``odd`` the mean error mass − 1 (``usual``), its size
        (``usual size``) and the size that the grid alone makes (``usual grid``); the
        ``difference`` odd − usual of the errors, and of their sizes (``size difference``).
    """
    error, ideal = nuclei["mass"] - 1, (nuclei["ideal"] - 1).abs()
    columns = {}
    for name, chosen in (("usual", usual), ("odd", odd)):
        columns[name] = error.where(chosen, 0)
        columns[f"{name} size"] = error.abs().where(chosen, 0)
        columns[f"{name} grid"] = ideal.where(chosen, 0)
        columns[f"{name} number"] = pd.Series(chosen.astype(float), index=nuclei.index)
    sums = pd.DataFrame(columns).groupby(nuclei["group"]).sum()
    place = {str(name): i for i, name in enumerate(sums)}

    def mean(name: str) -> Callable[[Floats], Floats]:
        number = place[f"{name.split()[0]} number"]
        return lambda s: _ratio(s[:, place[name]], s[:, number])

    asked = {name: mean(name) for name in place if not name.endswith("number")}
    for name in ("", "size "):
        odd_mean, usual_mean = (mean(f"{group} {name}".strip()) for group in ("odd", "usual"))
        asked[f"{name}difference"] = _difference(odd_mean, usual_mean)
    return {name: _with_interval(sums.to_numpy(), ask) for name, ask in asked.items()}


def from_images(images: pd.DataFrame) -> Figure:
    """Tell from the counts of whole images how much more a touching nucleus is off.

    Fits error = a · (nuclei that lie alone) + b · (those that touch) by least squares over
    the images, so the density's resolution is of no account.

    Parameters
    ----------
    images
        Rows with ``alone``, ``touching``, ``error`` and ``group``.

    Returns
    -------
    Figure
        b − a, cells per nucleus.
    """
    alone, touching, error = (images[name] for name in ("alone", "touching", "error"))
    products = {
        "aa": alone * alone,
        "at": alone * touching,
        "tt": touching * touching,
        "ae": alone * error,
        "te": touching * error,
    }
    sums = pd.DataFrame(products).groupby(images["group"]).sum().to_numpy(float)

    def slope(s: Floats) -> Floats:
        aa, at, tt, ae, te = s.T
        # b − a of the normal equations; their determinant is zero where all images are alike.
        return _ratio((aa * te - at * ae) - (tt * ae - at * te), aa * tt - at * at)

    return _with_interval(sums, slope)


def by_level(images: pd.DataFrame, levels: Sequence[Any]) -> dict[Any, dict[str, Figure]]:
    """Errors of counts by level of focus or blur, of one model.

    Parameters
    ----------
    images
        Rows with ``level``, ``true``, ``error`` and ``group``.
    levels
        The levels; the first is the one that others are compared with.

    Returns
    -------
    dict
        By level ``mae`` and ``bias`` in cells, and their ``mae share`` and ``bias share``
        of the mean true count; ``more`` is the share of the mean absolute error less that
        of the first level.
    """
    columns: dict[tuple[Any, str], pd.Series[float]] = {}
    for level in levels:
        here = images["level"] == level
        columns |= {
            (level, "bias"): images["error"].where(here, 0),
            (level, "mae"): images["error"].abs().where(here, 0),
            (level, "true"): images["true"].where(here, 0),
            (level, "number"): here.astype(float),
        }
    table = pd.DataFrame(columns).groupby(images["group"].to_numpy()).sum()
    sums = table.to_numpy()
    place = {name: i for i, name in enumerate(columns)}

    def part(level: Any, name: str, of: str) -> Callable[[Floats], Floats]:
        return lambda s: _ratio(s[:, place[level, name]], s[:, place[level, of]])

    found = {}
    for level in levels:
        share, first = part(level, "mae", "true"), part(levels[0], "mae", "true")
        asked = {
            "mae": part(level, "mae", "number"),
            "bias": part(level, "bias", "number"),
            "mae share": share,
            "bias share": part(level, "bias", "true"),
            "more": _difference(share, first),
        }
        found[level] = {name: _with_interval(sums, ask) for name, ask in asked.items()}
    return found


def blurred(pixels: NDArray[np.generic], sigma_px: float) -> NDArray[np.generic]:
    """Blur a grey plane by a Gaussian, in its own dtype; as it is where sigma is 0."""
    if not sigma_px:
        return pixels
    values: NDArray[np.generic] = ndimage.gaussian_filter(np.asarray(pixels, np.float64), sigma_px)
    return np.rint(values).astype(pixels.dtype) if pixels.dtype.kind in "ui" else values


def _difference(
    one: Callable[[Floats], Floats], other: Callable[[Floats], Floats]
) -> Callable[[Floats], Floats]:
    return lambda sums: one(sums) - other(sums)


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(whole != 0, part / whole, np.nan)
    return ratio


def _with_interval(sums: Floats, ask: Callable[[Floats], Floats]) -> Figure:
    """Value of a figure of the sums over all groups, and its bootstrap interval.

    Parameters
    ----------
    sums
        ``(groups, columns)``: what each independent group adds.
    ask
        ``(m, columns)`` sums → ``(m,)`` values.
    """
    n = len(sums)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLINGS)
    value = float(ask(sums.sum(axis=0, keepdims=True))[0])
    tried = ask(draws @ sums)
    tried = tried[np.isfinite(tried)]
    low, high = np.percentile(tried, (2.5, 97.5)) if len(tried) else (np.nan, np.nan)
    return Figure(value, float(low), float(high))

"""Tiles of images that could be reviewed, and what is known of each without a person."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celltally.appearance import APPEARANCE, appearance
from celltally.density.inside import inside_any
from celltally.devices import resolve_device
from celltally.errors import UserError
from celltally.explain.similarity import compare_tiles
from celltally.intervals import likeness_score
from celltally.intervals.uncertainty import standard_error
from celltally.model import Model
from celltally.network_input import ScaledImage, scaled_image, within_memory
from celltally.networks import HasPrototypes
from celltally.predict import iter_predict
from celltally.scale import density_grid
from celltally.types import Grid, Prediction, Progress, Region

__all__ = ["SIDE", "Candidate", "Window", "iter_candidates", "side_of", "tiles"]

#: ``(y0, x0, y1, x1)`` in image pixels.
Window = tuple[float, float, float, float]

#: Least side of a tile in image pixels, and in cell diameters, where no side is asked for.
SIDE, DIAMETERS = 256.0, 8.0
#: Points along a side of a tile at which is asked what regions hold.
POINTS = 16
#: Octaves of ``appearance`` that hold what is of the size of cells and their parts.
OF_CELLS = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tile that could be reviewed, and what is known of it without a person.

    Attributes
    ----------
    image
        Name of the image, or whatever else tells it from others.
    window
        ``(y0, x0, y1, x1)`` in image pixels.
    unsure
        Standard error of the count in what is open of it, in cells.
    disagreement
        |Σ density − dots| there, in cells; 0 where no dots are known.
    count
        Σ density there, ≥ 0.
    unfamiliar
        Mean squared distance of its features to the nearest prototype, in the network's
        units; NaN for networks without prototypes.
    structure
        How much there is to see, beyond slow changes of the light: deviation of the
        normalised brightness in the octaves of cells and their parts.
    features
        What it looks like to the model: means and deviations of the similarities to its
        prototypes; to a network without some: figures of appearance.
    open_share, reviewed_share
        Shares of its area that are neither reviewed, stated, excluded nor outside of the
        tissue, and that a model can learn from already.
    likeness
        How much its image is like those that the model knows, 0 to 1
        (``intervals.likeness_score``); NaN where that cannot be told.
    """

    image: str
    window: Window
    unsure: float
    disagreement: float
    count: float
    unfamiliar: float
    structure: float
    features: NDArray[np.float64]
    open_share: float = 1.0
    reviewed_share: float = 0.0
    likeness: float = math.nan

    @property
    def expected_error(self) -> float:
        """Expected error of the count in what is open of it, in cells."""
        return float(np.hypot(self.unsure, self.disagreement))


def tiles(image_shape: tuple[int, int], side_px: float = SIDE) -> list[Window]:
    """Cut an image into windows, row by row.

    They are spread evenly and reach its borders on all sides (which cells count that a border
    cuts, only regions at borders can teach), each of them exactly ``side_px`` wide and high
    where the image is large enough. So neighbours overlap by a part, or leave a gap.

    Parameters
    ----------
    image_shape
        ``(H, W)``.
    side_px
        In image pixels.

    Raises
    ------
    ValueError
        When the side is no positive number.
    """
    rows, columns = (_spread(length, side_px) for length in image_shape)
    return [(y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns]


def side_of(diameter_px: float) -> float:
    """Side of a tile in image pixels, for cells of a diameter: a few cells fit into it."""
    return max(SIDE, DIAMETERS * diameter_px)


def iter_candidates(
    model: Model,
    pixels: NDArray[np.generic],
    *,
    image: str,
    prediction: Prediction | None = None,
    dots: ArrayLike | None = None,
    regions: Sequence[Region] = (),
    side_px: float | None = None,
    diameter_px: float | None = None,
    device: str = "auto",
) -> Generator[Progress, None, list[Candidate]]:
    """Look at the tiles of an image plane.

    Parameters
    ----------
    model
        The one that is to learn.
    pixels
        ``(H, W)`` or ``(H, W, 3)``, any numeric dtype.
    image
        Its name.
    prediction
        What the model said of it, where that is known; else it counts the image.
    dots
        ``(n, 2)`` positions of the dots, without those that were removed; None where none
        are known.
    regions
        Of this plane.
    side_px
        Side of a tile in image pixels; None for ``side_of`` the cell diameter.
    diameter_px
        Cell diameter in pixels; None for that of the prediction, else it is estimated.
    device
        See ``iter_predict``.

    Yields
    ------
    Progress
        After every tile that the network is shown.

    Raises
    ------
    UserError
        When the side is less than a cell diameter, and as ``iter_predict``.
    """
    if diameter_px is None and prediction is not None:
        diameter_px = prediction.diameter_px
    if prediction is None:
        prediction = yield from iter_predict(
            model, pixels, diameter_px=diameter_px, device=device, image=image
        )
    side = side_of(prediction.diameter_px) if side_px is None else side_px
    if not side >= prediction.diameter_px:
        raise UserError(
            f"a region {side:g} px wide is smaller than a cell of {prediction.diameter_px:.3g} px "
            f"in {image or 'the image'}; ask for larger ones"
        )
    plane = scaled_image(pixels, prediction.diameter_px, model.diameter_px)
    rows, columns = (_spread(length, side) for length in plane.image_shape)
    seen = yield from _features(model, plane, rows, columns, device)
    return _candidates(image, prediction, seen, rows, columns, dots, regions)


def _spread(length: int, side_px: float) -> list[tuple[float, float]]:
    """Windows along one side of an image."""
    if not side_px > 0:
        raise ValueError(f"a tile's side is a positive number of pixels, not {side_px}")
    side = min(float(side_px), float(length))
    number = max(round(length / side), 1)
    starts = np.linspace(-0.5, length - 0.5 - side, number).tolist()
    return [(start, start + side) for start in starts]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a network's features are in the windows of an image.

    Attributes
    ----------
    features
        ``(rows, columns, d)``.
    unfamiliar, structure
        ``(rows, columns)``.
    """

    features: NDArray[np.float64]
    unfamiliar: NDArray[np.float64]
    structure: NDArray[np.float64]


def _features(
    model: Model,
    plane: ScaledImage,
    rows: Sequence[tuple[float, float]],
    columns: Sequence[tuple[float, float]],
    device: str,
) -> Generator[Progress, None, _Seen]:
    """Look at every window of an image.

    With the network of the chosen model, even where its base counts the image: features of
    two networks cannot be compared.
    """
    network = model.network
    shape = (len(rows), len(columns))
    looks = [_look(plane, model.diameter_px, row, column) for row in rows for column in columns]
    structure = np.array([_structure(look) for look in looks]).reshape(shape)
    if not isinstance(network, HasPrototypes):
        figures = [[look.get(name, 0.0) for name in APPEARANCE] for look in looks]
        return _Seen(
            np.array(figures).reshape(*shape, len(APPEARANCE)), np.full(shape, np.nan), structure
        )
    kinds = len(network.prototype_kinds)
    if plane.values is None:
        return _Seen(np.zeros((*shape, 2 * kinds)), np.zeros(shape), structure)
    values, grid = plane.values, density_grid(plane.image_shape, plane.shape, network.stride)
    down, across = (_covered(windows, grid, axis) for axis, windows in enumerate((rows, columns)))
    sums, _ = yield from within_memory(
        lambda where, side: _similarity_sums(network, values, down, across, where, side),
        device=resolve_device(device),
        tile=None,
        whole=network.halo is None,
        done="looked at",
        bytes_per_pixel=network.bytes_per_pixel,
        shape=plane.shape,
    )
    area = down.sum(axis=1)[:, None] * across.sum(axis=1)
    means = np.moveaxis(sums / np.maximum(area, 1e-9), 0, -1)
    first, second, strange = means[..., :kinds], means[..., kinds:-1], means[..., -1]
    deviations = np.sqrt(np.maximum(second - first**2, 0.0))
    return _Seen(np.concatenate([first, deviations], axis=-1), strange, structure)


def _similarity_sums(
    network: HasPrototypes,
    values: Tensor,
    down: NDArray[np.float64],
    across: NDArray[np.float64],
    device: torch.device,
    side: int,
) -> Generator[Progress, None, NDArray[np.float64]]:
    """Sum over windows what a network's features are like, ``(2 K + 1, rows, columns)``.

    The similarities to its K prototypes, their squares, and how far the features are from all
    of them, from about 0 to 1.
    """
    kinds = len(network.prototype_kinds)
    sums = np.zeros((2 * kinds + 1, len(down), len(across)))
    for cells, part, step in compare_tiles(network, values, range(kinds), device, side):
        rows, columns = down[:, cells[0] : cells[2]], across[:, cells[1] : cells[3]]
        # exp(−log((d + 1) / (d + ε))): the same for all ε, but for where it begins.
        apart = np.exp(-part.max(axis=0, keepdims=True))
        for first, maps in ((0, part), (kinds, part**2), (2 * kinds, apart)):
            sums[first : first + len(maps)] += rows @ maps @ columns.T
        yield Progress(step.done, step.total, "looking for what to review")
    return sums


def _covered(
    windows: Sequence[tuple[float, float]], grid: Grid, axis: int
) -> NDArray[np.float64]:  # fmt: skip
    """``(n, cells)``: the share of every cell along an axis that a window covers."""
    edges = (np.array(windows) - grid.origin[axis]) / grid.step[axis]
    cells = np.arange(grid.shape[axis])
    low, high = np.maximum(edges[:, :1], cells), np.minimum(edges[:, 1:], cells + 1)
    return np.asarray(np.clip(high - low, 0.0, 1.0))


def _look(
    plane: ScaledImage, diameter_px: float, row: tuple[float, float], column: tuple[float, float]
) -> dict[str, float]:
    """Figures of what a window looks like; none of one that shows nothing."""
    if plane.values is None:
        return {}
    cut = []
    for (low, high), length, scaled in zip(
        (row, column), plane.image_shape, plane.shape, strict=True
    ):
        first, last = (round((edge + 0.5) * scaled / length) for edge in (low, high))
        first = min(first, scaled - 1)
        cut.append(slice(first, max(last, first + 1)))
    return appearance(plane.values[:, cut[0], cut[1]].float().numpy(), diameter_px)


def _structure(look: Mapping[str, float]) -> float:
    if not look:
        return 0.0
    return math.sqrt(sum(math.exp(2 * look[f"strength_{octave}"]) for octave in OF_CELLS))


def _candidates(
    image: str,
    prediction: Prediction,
    seen: _Seen,
    rows: Sequence[tuple[float, float]],
    columns: Sequence[tuple[float, float]],
    dots: ArrayLike | None,
    regions: Sequence[Region],
) -> list[Candidate]:
    """Put together what network, calibration, dots and regions say of every window."""
    grid = prediction.grid
    done = [r for r in regions if r.kind in ("reviewed", "audit", "exclude") or r.by_stated]
    teaching = [r for r in regions if r.kind == "reviewed" or r.stated is not None]
    tissue = [r for r in regions if r.kind == "tissue"]

    def is_open(yx: NDArray[np.float64]) -> NDArray[np.bool_]:
        free = ~_in_any(yx, done)
        return free & _in_any(yx, tissue) if tissue else free

    known = None if prediction.calibration is None else prediction.calibration.appearances
    alike = math.nan
    if known is not None and prediction.appearance:
        alike = likeness_score(known, prediction.appearance)
    middles = grid.to_image(
        np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in grid.shape), indexing="ij"), axis=-1)
    )
    free = is_open(middles).reshape(grid.shape)
    down, across = (_covered(w, grid, axis) for axis, w in enumerate((rows, columns)))

    def total(maps: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(down @ (maps.sum(axis=0, dtype=np.float64) * free) @ across.T)

    count, variance = np.maximum(total(prediction.density), 0.0), total(prediction.variance)
    unsure = standard_error(prediction, count.astype(np.float32), variance.astype(np.float32))
    apart = np.zeros(count.shape)
    if dots is not None:
        yx = np.asarray(dots, dtype=np.float64).reshape(-1, 2)
        yx = yx[is_open(yx)]
        apart = np.abs(count - [[_inside(yx, r, c) for c in columns] for r in rows])
    found = []
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            points = _points(row, column)
            found.append(
                Candidate(
                    image=image,
                    window=(row[0], column[0], row[1], column[1]),
                    unsure=float(unsure[i, j]),
                    disagreement=float(apart[i, j]),
                    count=float(count[i, j]),
                    unfamiliar=float(seen.unfamiliar[i, j]),
                    structure=float(seen.structure[i, j]),
                    features=seen.features[i, j],
                    open_share=float(is_open(points).mean()),
                    reviewed_share=float(_in_any(points, teaching).mean()),
                    likeness=alike,
                )
            )
    return found


def _in_any(yx: NDArray[np.float64], regions: Sequence[Region]) -> NDArray[np.bool_]:
    return inside_any(yx, [region.polygon for region in regions])


def _inside(yx: NDArray[np.float64], row: tuple[float, float], column: tuple[float, float]) -> int:
    """Count the dots in a window."""
    low, high = np.array([row[0], column[0]]), np.array([row[1], column[1]])
    return int(((yx >= low) & (yx < high)).all(axis=1).sum())


def _points(row: tuple[float, float], column: tuple[float, float]) -> NDArray[np.float64]:
    """``(n, 2)`` points spread evenly over a window."""
    at = (np.arange(POINTS) + 0.5) / POINTS
    y, x = (low + at * (high - low) for low, high in (row, column))
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)

"""The records that travel between the rooms; frozen, and free of torch and Qt.

Coordinates are ``(y, x)`` in pixels of the full-resolution image, with the
origin at the centre of the top-left pixel, as napari's Points layer has them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DOT_STATES",
    "REGION_KINDS",
    "Appearances",
    "ArrayLazy",
    "Audited",
    "Calibration",
    "DotState",
    "Dots",
    "Grid",
    "Image",
    "Interval",
    "IntervalKind",
    "Known",
    "Neighbours",
    "Prediction",
    "Progress",
    "Region",
    "RegionBin",
    "RegionCalibration",
    "RegionKind",
]

DotState = Literal["proposed", "confirmed", "added", "moved", "removed"]
DOT_STATES: tuple[DotState, ...] = ("proposed", "confirmed", "added", "moved", "removed")

RegionKind = Literal["count", "reviewed", "exclude", "tissue", "audit"]
REGION_KINDS: tuple[RegionKind, ...] = ("count", "reviewed", "exclude", "tissue", "audit")

IntervalKind = Literal["calibrated", "provisional", "not calibrated", "exact"]


class ArrayLazy(Protocol):
    """What is asked of pixels that may still be on disk (numpy, zarr, memmap)."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels as they are in the file, and what the file says of them.

    Attributes
    ----------
    data
        Array in the file's own dtype, read on indexing where the file allows it.
    axes
        One letter per axis of ``data``: T, C, Z, Y, X, and S for the samples of
        RGB(A). Y and X are always there.
    name
        The file's name (what ``counts.csv`` calls ``image``).
    path
        Where it was read from, if from a file.
    pixel_size_um
        ``(y, x)`` in micrometres, or None where the file does not say.
    channel_names
        One name per channel, or empty.
    scene
        Name of the scene in files that hold several, or None.
    """

    data: ArrayLazy
    axes: str
    name: str
    path: Path | None = None
    pixel_size_um: tuple[float, float] | None = None
    channel_names: tuple[str, ...] = ()
    scene: str | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every axis, by its letter."""
        return dict(zip(self.axes, self.data.shape, strict=True))

    @property
    def is_rgb(self) -> bool:
        """Whether the last axis holds colour samples."""
        return "S" in self.axes


@dataclass(frozen=True)
class Grid:
    """Where the cells of a density lie on the image.

    Cell ``(i, j)`` covers ``[origin + i·step, origin + (i+1)·step)`` in image
    pixels along each axis.

    Attributes
    ----------
    shape
        Rows and columns of the density.
    step
        Height and width of one cell in image pixels.
    origin
        Top-left corner of cell (0, 0); −0.5 is the corner of the first pixel.
    """

    shape: tuple[int, int]
    step: tuple[float, float] = (1.0, 1.0)
    origin: tuple[float, float] = (-0.5, -0.5)

    def to_cells(self, yx: ArrayLike) -> NDArray[np.float64]:
        """Image coordinates ``(n, 2)`` → fractional cell edges (cell i covers [i, i+1))."""
        return (np.asarray(yx, dtype=np.float64).reshape(-1, 2) - self.origin) / self.step

    def to_image(self, cells: ArrayLike) -> NDArray[np.float64]:
        """Fractional cell edges ``(n, 2)`` → image coordinates."""
        return np.asarray(cells, dtype=np.float64).reshape(-1, 2) * self.step + self.origin


def _column(value: ArrayLike, n: int, dtype: Any) -> NDArray[Any]:
    column = np.asarray(value, dtype=dtype)
    column = np.full(n, column, dtype=column.dtype) if column.ndim == 0 else column
    if column.shape != (n,):
        raise ValueError(f"a column of {column.shape} entries does not fit {n} dots")
    return column


@dataclass(frozen=True, eq=False)
class Dots:
    """Positions of cells, one row per dot.

    Attributes
    ----------
    yx
        ``(n, 2)`` float64, image pixels.
    id
        ``(n,)`` str: a UUID (hex) that survives moves, saves and exports.
    t, z
        ``(n,)`` int64: time point and plane.
    label
        ``(n,)`` str: the cell's class (the CSV column ``class``).
    score
        ``(n,)`` float32 in [0, 1]-like units; NaN where nobody scored it.
    state
        ``(n,)`` str, one of ``DOT_STATES``.
    source
        ``(n,)`` str: the sha256 of the model, or the person, that it came from.
    """

    yx: NDArray[np.float64]
    id: NDArray[np.str_]
    t: NDArray[np.int64]
    z: NDArray[np.int64]
    label: NDArray[np.str_]
    score: NDArray[np.float32]
    state: NDArray[np.str_]
    source: NDArray[np.str_]

    @classmethod
    def new(
        cls,
        yx: ArrayLike = (),
        *,
        id: ArrayLike | None = None,  # noqa: A002  (the column's name)
        t: ArrayLike = 0,
        z: ArrayLike = 0,
        label: ArrayLike = "cell",
        score: ArrayLike = np.nan,
        state: ArrayLike = "proposed",
        source: ArrayLike = "",
    ) -> Dots:
        """Dots from positions; scalars are repeated, missing ids are drawn.

        Raises
        ------
        ValueError
            When a column's length is not the number of positions, or a state is
            not one of ``DOT_STATES``.
        """
        points = np.asarray(yx, dtype=np.float64).reshape(-1, 2)
        n = len(points)
        ids = [uuid.uuid4().hex for _ in range(n)] if id is None else id
        states = _column(state, n, np.str_)
        if unknown := set(states.tolist()) - set(DOT_STATES):
            raise ValueError(f"unknown dot state {sorted(unknown)}; valid: {', '.join(DOT_STATES)}")
        return cls(
            yx=points,
            id=_column(ids, n, np.str_),
            t=_column(t, n, np.int64),
            z=_column(z, n, np.int64),
            label=_column(label, n, np.str_),
            score=_column(score, n, np.float32),
            state=states,
            source=_column(source, n, np.str_),
        )

    def __len__(self) -> int:
        return len(self.yx)

    def __getitem__(self, rows: ArrayLike | slice) -> Dots:
        """Pick rows by slice, mask or indices."""
        key = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(key, np.ndarray) and key.size == 0 and key.dtype != bool:
            key = key.astype(np.intp)  # an empty list is an array of floats
        return replace(self, **{f.name: getattr(self, f.name)[key] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Region:
    """A part of an image, and what it is for.

    Attributes
    ----------
    polygon
        ``(n, 2)`` float64 corners (y, x) in image pixels, the last joined to the first;
        its inside is where it is drawn filled (even–odd).
    kind
        ``count`` (cells in it are asked for), ``reviewed`` (a human said: the dots in here
        are right), ``exclude`` (nothing in it counts), ``tissue`` (areas are those of the
        tissue) or ``audit`` (a reviewed one that was chosen at random).
    name
        What the user calls it.
    stated
        A count that a human states for it; None where there is none. In a reviewed or audit
        region it stands in the place of dots, for which nobody vouches then.
    id
        A UUID (hex) that survives changes, saves and exports.
    t, z
        Time point and plane that it lies in.
    """

    polygon: NDArray[np.float64]
    kind: RegionKind = "count"
    name: str = ""
    stated: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    t: int = 0
    z: int = 0

    def __post_init__(self) -> None:
        """Check the kind, and that corners are pairs of finite numbers.

        Raises
        ------
        ValueError
            Where they are not.
        """
        if self.kind not in REGION_KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; valid: {', '.join(REGION_KINDS)}")
        corners = np.asarray(self.polygon, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
            raise ValueError("a polygon's corners are pairs (y, x) of finite numbers")
        object.__setattr__(self, "polygon", corners)

    @property
    def by_dots(self) -> bool:
        """Whether its dots are the count there: reviewed or audited, and no count is stated."""
        return self.kind in ("reviewed", "audit") and self.stated is None

    @property
    def by_stated(self) -> bool:
        """Whether the stated count is the count there: reviewed or audited, without its dots."""
        return self.kind in ("reviewed", "audit") and self.stated is not None


@dataclass(frozen=True)
class Interval:
    """A count's confidence interval.

    Attributes
    ----------
    low, high
        Bounds in cells; ``low`` is never below zero. NaN where there is none.
    level
        Nominal coverage, in (0, 1).
    kind
        ``calibrated``, ``provisional`` (too few data), ``not calibrated`` (image
        unlike the training data, or a model without calibration) or ``exact``.
    reason
        In words, why the kind is not ``calibrated``, or that it is approximate for a region
        of such a shape; empty otherwise.
    """

    low: float
    high: float
    level: float
    kind: IntervalKind
    reason: str = ""


@dataclass(frozen=True)
class Appearances:
    """What the images look like that a model knows, to tell those that are unlike them.

    Attributes
    ----------
    names
        Of the figures that an image is described by.
    least
        Difference from which on each is one.
    points
        Figures of every image.
    groups
        What is independent: well or slide of each, or the image itself.
    """

    names: tuple[str, ...]
    least: tuple[float, ...]
    points: tuple[tuple[float, ...], ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Neighbours:
    """Calibration images by what they look like, to tell how hard an image is.

    Attributes
    ----------
    names
        Of the figures of an image's appearance; the points have two further ones, of the
        count and of where the diameter is from.
    least
        Difference from which on each figure is one.
    points
        Figures of every image.
    surprise
        How many s² the square of its count error was.
    """

    names: tuple[str, ...]
    least: tuple[float, ...]
    points: tuple[tuple[float, ...], ...]
    surprise: tuple[float, ...]


@dataclass(frozen=True)
class RegionBin:
    """Scores of regions by the count that was predicted for them.

    Attributes
    ----------
    low
        Least predicted count; the next bin's, if there is one, is too much.
    scores
        Sorted; every group of images has equally many.
    groups
        Number of independent groups.
    """

    low: float
    scores: tuple[float, ...]
    groups: int


@dataclass(frozen=True)
class RegionCalibration:
    """What was learned from random rectangles in the calibration images.

    Attributes
    ----------
    alpha, beta, gamma
        Coefficients of s², as of a ``Calibration``.
    bins
        From small predicted counts to large ones; the first begins at 0.
    """

    alpha: float
    beta: float
    gamma: float
    bins: tuple[RegionBin, ...]


@dataclass(frozen=True)
class Audited:
    """What a user's audits made of another calibration.

    Attributes
    ----------
    parent, parent_calibration
        Name of the model that was audited, and sha256 of its calibration ("" without one).
    units
        What is independent: ``images`` or ``wells``.
    groups, regions
        Number of independent groups, and of audited regions in them.
    whole
        Number of groups with an image that was audited whole.
    low, high
        Least and largest predicted count of an audited region.
    region_factor, image_factor
        How many times as wide as the parent's the 95 % intervals became.
    """

    parent: str
    parent_calibration: str
    units: str
    groups: int
    regions: int
    whole: int
    low: float
    high: float
    region_factor: float
    image_factor: float


@dataclass(frozen=True)
class Known:
    """What the images look like that a model knows.

    Attributes
    ----------
    learned
        Those that it learned from when it was made from another; None for a model that was
        not, or where they show nothing.
    seen
        The ``Calibration.appearances`` of its calibration; None without.
    """

    learned: Appearances | None
    seen: Appearances | None


@dataclass(frozen=True)
class Calibration:
    """What was learned from images that chose nothing else (design §7).

    The score of an image is ``|count error| / (m·s)`` with
    ``s² = alpha·Σ variance + beta·(Σ density)² + gamma`` and m the difficulty of its kind
    of image, from its ``neighbours``; of a region with the coefficients of ``regions``
    and the m of its image.

    Attributes
    ----------
    alpha, beta, gamma
        Non-negative coefficients of s².
    scores
        Sorted scores of the calibration images; the level curve.
    n, groups
        Number of images and of independent groups among them.
    date
        ISO date of the calibration.
    sets
        Names of the data sets.
    ranges
        For every image statistic the (low, high) that was seen, in the same images as the
        ``appearances``; outside of it an image is *unlike* them.
    kind
        ``calibrated``, or ``provisional`` where the data were too few.
    neighbours
        None: all images are taken to be equally hard.
    regions
        None where no calibration image had dots.
    audits
        None for a calibration that was not made from audits.
    appearances
        Of the images that taught, chose or calibrated the model (of a copy that was calibrated
        anew: that calibrated it); None: only ``ranges`` tell an unlike image.
    """

    alpha: float
    beta: float
    gamma: float
    scores: tuple[float, ...]
    n: int
    groups: int
    date: str
    sets: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    kind: Literal["calibrated", "provisional"] = "calibrated"
    neighbours: Neighbours | None = None
    regions: RegionCalibration | None = None
    audits: Audited | None = None
    appearances: Appearances | None = None


@dataclass(frozen=True)
class Progress:
    """One step of a long job; jobs are generators that yield these.

    Attributes
    ----------
    done, total
        Steps done, and steps in all (0 where unknown).
    message
        What is being done, or a sentence that the user should read.
    values
        Figures that go with the step (``loss``, ``val_mae``, …).
    """

    done: int
    total: int
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says about one image (one plane of it).

    Attributes
    ----------
    density
        ``(K, h, w)`` float32, cells per density cell; its sum is the count. One
        map per class.
    variance
        ``(K, h, w)`` float32 ≥ 0, the model's aleatoric variance per density cell.
    grid
        Where the density's cells lie on the image.
    image_shape
        ``(H, W)`` of the image in pixels.
    classes
        Names of the K classes.
    diameter_px
        Cell diameter in image pixels that the image was rescaled by.
    model, model_sha256
        Name and identity of the model that was chosen to count.
    calibration, calibration_sha256
        The calibration of the model that counted (``Model.counting``), and its hash; None and
        "" where it has none.
    statistics
        Figures of the image (contrast, focus, …) that ``calibration.ranges``
        bounds.
    appearance
        What the image looks like, to be compared with ``calibration.appearances``; empty
        where it shows too little.
    image
        Name of the image.
    seconds
        Time that the prediction took.
    notes
        Sentences that the user should read (smaller tiles, other device, …).
    """

    density: NDArray[np.float32]
    variance: NDArray[np.float32]
    grid: Grid
    image_shape: tuple[int, int]
    diameter_px: float
    model: str
    model_sha256: str
    classes: tuple[str, ...] = ("cell",)
    calibration: Calibration | None = None
    calibration_sha256: str = ""
    statistics: Mapping[str, float] = field(default_factory=dict)
    appearance: Mapping[str, float] = field(default_factory=dict)
    image: str = ""
    seconds: float = float("nan")
    notes: tuple[str, ...] = ()

    @property
    def look(self) -> Mapping[str, float]:
        """Statistics and appearance of the image: what tells how hard it is to count."""
        return {**self.statistics, **self.appearance}

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """Integral of the density per class, never below zero."""
        sums: NDArray[np.float64] = self.density.sum(axis=(1, 2), dtype=np.float64)
        return np.maximum(sums, 0.0)

    @property
    def count(self) -> float:
        """Integral of the density over all classes, never below zero."""
        return float(self.counts.sum())

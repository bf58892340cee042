"""What came of learning from a person's corrections: a new model, and whether it counts better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from celltally.model import Model

__all__ = ["Compared", "Example", "FineTuned", "Judge", "RegionCounts"]

#: What judges: reviewed regions of images that taught nothing, or random audit regions.
Judge = Literal["kept back", "audit"]


@dataclass(frozen=True)
class RegionCounts:
    """A region that a person counted, and the counts of two models.

    Attributes
    ----------
    image
        Name of the image.
    group
        Images of one group are not independent.
    region
        Id of the region.
    counted
        The person's count.
    before, after
        Counts of the model in use and of the new one.
    """

    image: str
    group: str
    region: str
    counted: float
    before: float
    after: float


@dataclass(frozen=True)
class Compared:
    """Regions that taught nothing, counted before and after.

    Attributes
    ----------
    judge
        What kind of regions.
    regions
        At least one.
    """

    judge: Judge
    regions: tuple[RegionCounts, ...]

    @property
    def images(self) -> int:
        """Number of images that the regions lie in."""
        return len({region.image for region in self.regions})

    @property
    def mae_before(self) -> float:
        """Mean absolute error of the model in use, in cells."""
        return float(np.mean([abs(r.before - r.counted) for r in self.regions]))

    @property
    def mae_after(self) -> float:
        """Mean absolute error of the new model, in cells."""
        return float(np.mean([abs(r.after - r.counted) for r in self.regions]))


@dataclass(frozen=True, eq=False)
class Example:
    """A place where the count changed.

    Attributes
    ----------
    image
        Name of the image.
    judge
        Kind of the region; None for one that taught.
    pixels
        ``(h, w)`` or ``(h, w, 3)`` uint8, to be looked at.
    counted, before, after
        Of the region that the place is cut out of: the person's count, that of the model in
        use, that of the new one.
    dots, dots_before, dots_after
        ``(n, 2)`` (y, x) in ``pixels``: the person's (empty where only a count was stated),
        and those of both models.
    """

    image: str
    judge: Judge | None
    pixels: NDArray[np.uint8]
    counted: float
    before: float
    after: float
    dots: NDArray[np.float64]
    dots_before: NDArray[np.float64]
    dots_after: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """A new model, not saved yet, and how it compares with the one that it was made from.

    Attributes
    ----------
    model
        The child; ``model.record.learned`` says what it learned from.
    compared
        Before and after on kept-back and on audit regions, where there are some.
    helped
        Whether the new model counts them better; None where nothing was kept back.
    sentences
        What the user should know: whether it helped, and what would help (more).
    examples
        Places where the count changed most, the largest change first.
    """

    model: Model
    compared: tuple[Compared, ...]
    helped: bool | None
    sentences: tuple[str, ...]
    examples: tuple[Example, ...] = ()

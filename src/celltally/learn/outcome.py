"""What came of learning from a person's corrections: a new model, and whether it counts better."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from celltally.model import Model

__all__ = ["FEWEST_JUDGES", "Compared", "Example", "FineTuned", "Judge", "RegionCounts"]

#: What judges: reviewed regions of images that taught nothing, or random audit regions.
Judge = Literal["kept back", "audit"]
#: With fewer independent images than this, chance may always have decided: the errors of five
#: all shrink, or all grow, once in 16 times where nothing has changed.
FEWEST_JUDGES = 6
#: Changes of an error below this are none, in cells: nobody reads them.
SAME = 0.05


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

    @property
    def change(self) -> float:
        """By how much the error grew, in cells; below 0 where the new model counts better."""
        return abs(self.after - self.counted) - abs(self.before - self.counted)


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
        return len({(region.group, region.image) for region in self.regions})

    @property
    def mae_before(self) -> float:
        """Mean absolute error of the model in use, in cells."""
        return float(np.mean([abs(r.before - r.counted) for r in self.regions]))

    @property
    def mae_after(self) -> float:
        """Mean absolute error of the new model, in cells."""
        return float(np.mean([abs(r.after - r.counted) for r in self.regions]))

    @property
    def is_better(self) -> bool:
        """Whether the mean error became smaller."""
        return self.mae_after < self.mae_before

    @property
    def groups(self) -> frozenset[str]:
        """Independent images, or groups of images, that the regions lie in."""
        return frozenset(region.group for region in self.regions)

    @property
    def against(self) -> int:
        """Number of regions whose error went the other way than the mean."""
        sign = 1 if self.is_better else -1
        return sum(sign * region.change > SAME for region in self.regions)

    def p(self, kindly: Collection[str] = ()) -> float | None:
        """How often chance alone would change errors as evenly as this; None: too few judge.

        Of a Wilcoxon signed-rank test, on the mean change of each independent image and in the
        direction of the mean, doubled, as that direction was not known before.

        Parameters
        ----------
        kindly
            Groups that judge kindly (see ``RegionPlan``), which are left out.
        """
        from scipy.stats import wilcoxon

        changes: dict[str, list[float]] = {}
        for region in self.regions:
            if region.group not in kindly:
                changes.setdefault(region.group, []).append(region.change)
        means = np.array([np.mean(own) for own in changes.values()])
        means = means[np.abs(means) > SAME]
        if len(means) < FEWEST_JUDGES:
            return None
        found = wilcoxon(means, alternative="less" if self.is_better else "greater")
        return min(2 * float(found.pvalue), 1.0)


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
        Whether the new model counts them better; None where nothing was kept back. How firm that
        is ``model.record.learned.is_firm`` says.
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

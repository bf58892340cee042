"""Corrected counts of an image: what is known of each of its planes and regions.

They are worked out by ``measuring`` and remembered by ``remembering``.

**Over time** every time point has figures of its own; they are a curve and never summed.
**Over z** the newest count of a time point decides: planes that were counted by themselves
have figures each; of a projection there is one, with the dots and regions of all its planes;
of planes that were merged there is one as well, whose count is its number of cells (dots of
neighbouring planes merged by distance, see ``density.stacks``) and has no interval, unless
all of it was reviewed.

**In tissue.** Where tissue regions are drawn, all figures are those of the tissue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from celltally.project.store import Store
from celltally.types import Interval

__all__ = ["LEVEL", "NOT_COUNTED", "NOT_OVER_Z", "Figures", "level_of"]

#: Nominal coverage of intervals where a project states no other.
LEVEL = 0.95
NOT_COUNTED = "it was not counted"
NOT_OVER_Z = "cells merged over z have no interval: models are calibrated on single planes"
_NOTHING = Interval(math.nan, math.nan, LEVEL, "not calibrated", NOT_COUNTED)


@dataclass(frozen=True)
class Figures:
    """What is known of a counted plane, or of a region of it, after corrections.

    Attributes
    ----------
    image_id
        Number of the image.
    t, z
        Time point and plane (of merged planes the lowest).
    z_method
        ``plane``, ``projection`` or ``merged``.
    region_id, name
        Of a region of kind ``count``; "" for the whole plane.
    stated
        Count that a person stated for the region; None without.
    count, interval
        After corrections: dots where it was reviewed, density elsewhere. NaN where it was
        neither counted nor wholly reviewed.
    density_count
        What the model said, without corrections; NaN where it was not counted.
    n_dots
        Number of dots (of merged planes: of cells), without removed and excluded ones.
    states
        Number of dots by state, excluded ones left out: ``proposed`` are the model's, untouched;
        ``confirmed``, ``added``, ``moved`` and ``removed`` a person's.
    classes
        Number of dots by class, without removed and excluded ones.
    class_counts
        Corrected count by class, where it is known: the model tells classes, or all was
        reviewed.
    area_px
        Area in image pixels, without excluded regions; of the tissue where some is drawn.
    reviewed_share
        Share of the area that was reviewed, in [0, 1].
    in_tissue
        Whether the figures are those of tissue regions only.
    prediction_id
        The count that they were made from; None without.
    """

    image_id: int
    t: int = 0
    z: int = 0
    z_method: str = "plane"
    region_id: str = ""
    name: str = ""
    stated: float | None = None
    count: float = math.nan
    interval: Interval = _NOTHING
    density_count: float = math.nan
    n_dots: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, float] = field(default_factory=dict)
    area_px: float = math.nan
    reviewed_share: float = 0.0
    in_tissue: bool = False
    prediction_id: int | None = None

    @property
    def by_hand(self) -> int:
        """Number of dots that a person added, moved, removed or confirmed."""
        return sum(n for state, n in self.states.items() if state != "proposed")

    def area_mm2(self, pixel_size_um: tuple[float, float] | None) -> float:
        """Area in square millimetres; NaN where the pixel size is not known."""
        if pixel_size_um is None:
            return math.nan
        return self.area_px * pixel_size_um[0] * pixel_size_um[1] * 1e-6

    def cells_per_mm2(self, pixel_size_um: tuple[float, float] | None) -> float:
        """Cells per square millimetre; NaN without an area or its size."""
        area = self.area_mm2(pixel_size_um)
        return self.count / area if area > 0 else math.nan


def level_of(store: Store) -> float:
    """Nominal coverage of a project's intervals."""
    return float(store.setting("level", LEVEL))

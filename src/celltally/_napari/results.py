"""What was counted, plane by plane, and where each plane's threshold stands. Free of Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celltally._napari.counting import PlaneCount
from celltally._napari.planes import Plane

if TYPE_CHECKING:
    from celltally.project.counts import StoredCount

__all__ = ["Result", "Results"]


@dataclass
class Result:
    """The count of one plane, and where its threshold stands."""

    counted: PlaneCount
    threshold: float

    @property
    def n_dots(self) -> int:
        """Number of candidates above the threshold, without making dots of them."""
        return int(np.count_nonzero(self.counted.candidates.score >= np.float32(self.threshold)))


class Results:
    """The results of images, by the key of their layer and the plane's place.

    Those that a project keeps are known by their figures at first; their maps are loaded when
    the plane is looked at.
    """

    def __init__(self) -> None:
        self._results: dict[str, dict[tuple[int, ...], Result]] = {}
        self._stored: dict[str, tuple[StoredCount, ...]] = {}

    def put(self, key: str, counted: PlaneCount, threshold: float | None = None) -> Result:
        """Keep a result, in place of an earlier one of the same plane."""
        result = Result(counted, counted.threshold if threshold is None else threshold)
        self._results.setdefault(key, {})[counted.plane.position] = result
        return result

    def at(self, key: str | None, position: Sequence[int] | None) -> Result | None:
        """Return the result of a plane; None where it was not counted, or is not loaded."""
        if key is None or position is None:
            return None
        return self._results.get(key, {}).get(tuple(position))

    def counted(self, key: str | None) -> bool:
        """Whether any plane of an image was counted."""
        return bool(self._results.get(key or "")) or bool(self._stored.get(key or ""))

    def set_stored(self, key: str, counts: Sequence[StoredCount]) -> None:
        """Know of counts that the project keeps of an image."""
        self._stored[key] = tuple(counts)

    def stored(self, key: str, plane: Plane) -> StoredCount | None:
        """Return what the project keeps of a plane, if that is not loaded yet."""
        if self.at(key, plane.position) is not None:
            return None
        place = (plane.index("T"), plane.index("Z"))
        for count in self._stored.get(key, ()):
            if (count.t, count.z) == place and count.z_method == "plane":
                return count
        return None

    def images(self) -> set[str]:
        """Keys of the images that anything is known of."""
        return {*self._results, *self._stored}

    def forget(self, key: str) -> None:
        """Forget an image."""
        self._results.pop(key, None)
        self._stored.pop(key, None)

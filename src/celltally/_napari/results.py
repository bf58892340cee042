"""What was counted, plane by plane, and where each plane's threshold stands. Free of Qt.

The newest count of a time point decides what is shown of it: planes that were counted by
themselves, their projection over z, or planes whose dots are merged. Which earlier counts it
takes the place of is told by ``project.counts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from celltally._napari.counting import PlaneCount
from celltally._napari.planes import Plane

if TYPE_CHECKING:
    from celltally.project.counts import StoredCount

__all__ = ["NOT_KEPT", "Known", "Result", "Results"]

#: Number of a count that the project does not keep, or not yet: only its figures are known.
NOT_KEPT = 0
#: Results with their maps that are kept in memory of an image, beside the one in view and
#: those that the project does not keep.
MOST_LOADED = 2

#: What tells the results of an image apart: how z was counted, and the position, without z
#: where that is of all z.
_Place = tuple[str, tuple[int, ...]]


@dataclass
class Result:
    """The count of one plane, and where its threshold stands.

    Attributes
    ----------
    counted
        The count.
    threshold
        Least score of a dot.
    kept
        Whether the project has it, so that it may be let go of.
    """

    counted: PlaneCount
    threshold: float
    kept: bool = False

    @property
    def n_dots(self) -> int:
        """Number of candidates above the threshold, without making dots of them."""
        return int(np.count_nonzero(self.counted.candidates.score >= np.float32(self.threshold)))


@dataclass(frozen=True, eq=False)
class Known:
    """A plane that was counted: its result where that is loaded, else what the project keeps.

    Attributes
    ----------
    plane
        Which, and how it was counted.
    result, stored
        One of them at least.
    """

    plane: Plane
    result: Result | None
    stored: StoredCount | None


class Results:
    """The results of images, by the key of their layer and the plane's place.

    Those that a project keeps are known by their figures at first; their maps are loaded when
    the plane is looked at, and let go of when others are.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, dict[_Place, Result]] = {}
        self._stored: dict[str, dict[tuple[str, int, int], StoredCount]] = {}
        self._methods: dict[str, dict[int, str]] = {}

    # ---- what becomes known ----

    def put(
        self, key: str, counted: PlaneCount, threshold: float | None = None, *, kept: bool = False
    ) -> Result:
        """Have a result, in place of an earlier one of the same plane."""
        plane = counted.plane
        result = Result(counted, counted.threshold if threshold is None else threshold, kept)
        self._count_so(key, plane.index("T"), plane.z_method)
        loaded = self._loaded.setdefault(key, {})
        loaded.pop(_place(plane), None)
        loaded[_place(plane)] = result
        return result

    def set_stored(self, key: str, counts: Sequence[StoredCount]) -> None:
        """Know of counts that the project keeps of an image."""
        from celltally.project.counts import in_force

        self._stored[key] = {}
        for count in sorted(in_force(counts), key=lambda count: count.id):
            self._know(key, count)

    def add_stored(self, key: str, count: StoredCount, plane: Plane) -> None:
        """Know that a plane was counted, and once more when the project keeps that count."""
        loaded = self._loaded.get(key, {})
        result = loaded.get(_place(plane))
        if result is not None and result.counted.plane is not plane:  # of an earlier count
            del loaded[_place(plane)]
        elif result is not None:
            result.kept = count.id != NOT_KEPT
            count = replace(count, threshold=result.threshold)
        self._know(key, count)

    def set_threshold(self, key: str, result: Result, threshold: float) -> None:
        """Know where the threshold of a result stands now."""
        result.threshold = threshold
        plane = result.counted.plane
        count = self._stored_at(key, plane.index("T"), plane.index("Z"))
        if count is not None:
            self._stored[key][_where(count)] = replace(count, threshold=threshold)

    def _know(self, key: str, count: StoredCount) -> None:
        """Know of a count that is the newest, and forget those that it takes the place of."""
        from celltally.project.counts import replaces

        self._count_so(key, count.t, count.z_method)
        loaded, stored = self._loaded.get(key, {}), self._stored.setdefault(key, {})
        for place, result in list(loaded.items()):
            plane = result.counted.plane
            if plane.index("T") == count.t and replaces(count, plane.z_method, plane.index("Z")):
                del loaded[place]
        for where in list(stored):
            z_method, t, z = where
            if t == count.t and replaces(count, z_method, z):
                del stored[where]
        stored[_where(count)] = count

    def _count_so(self, key: str, t: int, z_method: str) -> None:
        """Show a time point as counted so from now on."""
        methods = self._methods.setdefault(key, {})
        methods.pop(t, None)  # the one that was counted last comes last
        methods[t] = z_method

    # ---- what is known ----

    def method(self, key: str | None, t: int) -> str | None:
        """How a time point was counted last; None where it was not."""
        return self._methods.get(key or "", {}).get(t)

    def at(self, key: str | None, plane: Plane | None) -> Result | None:
        """Return the result of the plane in view; None where it was not counted, or not loaded."""
        if key is None or plane is None:
            return None
        method = self.method(key, plane.index("T"))
        return None if method is None else self._loaded.get(key, {}).get(_place(plane, method))

    def stored(self, key: str, plane: Plane) -> StoredCount | None:
        """Return what the project keeps of the plane in view, if that is not loaded yet."""
        if self.at(key, plane) is not None:
            return None
        return self._stored_at(key, plane.index("T"), plane.index("Z"))

    def _stored_at(self, key: str, t: int, z: int) -> StoredCount | None:
        method = self.method(key, t)
        if method is None:
            return None
        place = (method, t, 0 if method == "projection" else z)
        return self._stored.get(key, {}).get(place)

    def counted(self, key: str | None) -> bool:
        """Whether any plane of an image was counted."""
        return bool(self._loaded.get(key or "")) or bool(self._stored.get(key or ""))

    def over_time(self, key: str | None, plane: Plane | None) -> list[Known]:
        """Return what was counted at the z in view, or of all z, in the order of time.

        Of several ways to count, only what was counted as the time point in view was; where
        that was not counted, as the last that was.
        """
        if key is None or plane is None or not self._methods.get(key):
            return []
        methods = self._methods[key]
        method = methods.get(plane.index("T")) or methods[next(reversed(methods))]
        found = []
        for t in sorted(t for t, one in methods.items() if one == method):
            at = _as(plane.moved(t=t), method)
            result = self._loaded.get(key, {}).get(_place(at))
            stored = self._stored_at(key, t, at.index("Z"))
            if method == "merged" and result is None and stored is None:
                stored = next(iter(self.over_z(key, t)), None)
            if result is not None or stored is not None:
                found.append(Known(at, result, stored))
        return found

    def times(self, key: str) -> list[int]:
        """Return the time points of an image that were counted."""
        return sorted(self._methods.get(key, {}))

    def over_z(self, key: str, t: int) -> list[StoredCount]:
        """Return the counts of the planes that are merged at a time point, lowest z first."""
        return sorted(
            (count for (method, at, _), count in self._stored.get(key, {}).items()
             if (method, at) == ("merged", t)),
            key=lambda count: count.z,
        )  # fmt: skip

    def images(self) -> set[str]:
        """Keys of the images that anything is known of."""
        return {
            *(key for key, there in self._loaded.items() if there),
            *(key for key, there in self._stored.items() if there),
        }

    # ---- memory ----

    def loaded(self, key: str) -> int:
        """Return how many results of an image are in memory with their maps."""
        return len(self._loaded.get(key, {}))

    def look(self, key: str, plane: Plane, most: int = MOST_LOADED) -> None:
        """Keep the result in view, and of those that the project keeps only a few others."""
        loaded, method = self._loaded.get(key, {}), self.method(key, plane.index("T"))
        place = _place(plane, method or "plane")
        if place in loaded:
            loaded[place] = loaded.pop(place)  # the one looked at last
        others = [one for one, result in loaded.items() if result.kept and one != place]
        for one in others[: max(len(others) - most, 0)]:
            del loaded[one]

    def forget(self, key: str) -> None:
        """Forget an image."""
        for known in (self._loaded, self._stored, self._methods):
            known.pop(key, None)


def _where(count: StoredCount) -> tuple[str, int, int]:
    return count.z_method, count.t, count.z


def _as(plane: Plane, z_method: str) -> Plane:
    return replace(plane, z_method=z_method)


def _place(plane: Plane, z_method: str | None = None) -> _Place:
    method = z_method or plane.z_method
    if method != "projection":
        return method, plane.position
    return method, plane.moved(z=-1).position

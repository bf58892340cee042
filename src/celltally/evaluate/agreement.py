"""How well two people, or a person and a model, agree on the same fields.

**Which dots are the same cell.** Dots of A and B are matched one to one where they are no
farther apart than a radius, by default half the cell diameter, in the same plane (time point
and z); what their class is plays no part in it. Over z, merge the cells of neighbouring
planes before: here the same cell on two planes is two dots.

**At the border of a region.** All dots are matched before any are left out, and a matched
pair lies where the middle between its two dots is. So a cell that A placed a little inside
of the border and B a little outside is one matched cell, in the region or not, and never
two errors; A and B may be exchanged, and regions side by side share the cells out. For the
counts to follow from it (count = matched + only this one's), they may differ by such a cell
from the number of dots that lie inside.

**What kappa is asked of.** Of the matched cells only: there both gave a class, and there is a
table of A's classes against B's. What only one of them saw has no second class. Taking it
for a further class "nothing" would need the number of times when both saw nothing, the true
negatives, which do not exist for points in a plane: the cell of that table would be empty by
construction, and the agreement by chance wrong. For the same reason there is no kappa of
finding cells; its place takes F1, which kappa tends to as the true negatives become many
(Hripcsak & Rothschild 2005). A class's own F1 counts unmatched cells, and those that the
other gave another class, as disagreement.

References
----------
Hripcsak G, Rothschild AS. Agreement, the F-measure, and reliability in information
retrieval. Journal of the American Medical Informatics Association 12 (2005), 296–298.

See ``celltally.evaluate.comparison`` for those of the figures.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celltally.density import match_dots, rates
from celltally.density.inside import inside, inside_any
from celltally.errors import UserError
from celltally.evaluate.comparison import (
    Limits,
    Line,
    cohen_kappa,
    concordance,
    deming,
    limits_of_agreement,
)
from celltally.types import Dots

__all__ = [
    "PER_FIELD",
    "Agreement",
    "ClassAgreement",
    "Field",
    "FieldAgreement",
    "agreement",
    "split_times",
]

#: Columns of ``agreement.csv``.
PER_FIELD = (
    *("field", "region", "t", "z", "count_a", "count_b", "difference"),
    *("matched", "only_a", "only_b", "f1", "mean_distance_px", "same_class", "radius_px"),
)


@dataclass(frozen=True, eq=False)
class Field:
    """An image, or a region of one, that A and B both looked at.

    Attributes
    ----------
    name
        The image's.
    a, b
        The dots of each, of the whole image; removed ones are left out.
    region
        Name of the region; empty for a whole image.
    t, z
        Time point and plane; None for all there are.
    polygon
        ``(n, 2)`` corners (y, x) of the region in image pixels; None for a whole image.
    tissue
        Polygons; where there are any, cells outside of all of them are left out.
    exclude
        Polygons, inside of any of which cells are left out.
    within
        Further sets of polygons; cells outside of all polygons of any set are left out.
    """

    name: str
    a: Dots
    b: Dots
    region: str = ""
    t: int | None = None
    z: int | None = None
    polygon: ArrayLike | None = None
    tissue: Sequence[ArrayLike] = ()
    exclude: Sequence[ArrayLike] = ()
    within: Sequence[Sequence[ArrayLike]] = ()


class _Numbers(ABC):
    """What follows from how many cells both have, and how many only one of them."""

    @property
    @abstractmethod
    def matched(self) -> int:
        """Number of cells that both have."""

    @property
    @abstractmethod
    def only_a(self) -> int:
        """Number of cells that only A has: missed by B, where A is right."""

    @property
    @abstractmethod
    def only_b(self) -> int:
        """Number of cells that only B has: B's extra ones, where A is right."""

    @property
    def count_a(self) -> int:
        """Number of A's cells."""
        return self.matched + self.only_a

    @property
    def count_b(self) -> int:
        """Number of B's cells."""
        return self.matched + self.only_b

    @property
    def difference(self) -> int:
        """Count of B − count of A."""
        return self.count_b - self.count_a

    @property
    def matched_of_a(self) -> float:
        """Share of A's cells that B has as well: B's recall, where A is right.

        Where a side is empty, this, ``matched_of_b`` and ``f1`` are as in
        ``celltally.density.rates``.
        """
        return rates(self.matched, self.count_a, self.count_b).recall

    @property
    def matched_of_b(self) -> float:
        """Share of B's cells that A has as well: B's precision, where A is right."""
        return rates(self.matched, self.count_a, self.count_b).precision

    @property
    def f1(self) -> float:
        """2 × matched / (count of A + count of B)."""
        return rates(self.matched, self.count_a, self.count_b).f1


@dataclass(frozen=True, eq=False)
class FieldAgreement(_Numbers):
    """What A and B have in common in one field, and what only one of them has.

    Attributes
    ----------
    name, region, t, z
        Of the field.
    radius_px
        Largest distance of two dots that can be the same cell.
    pairs
        ``(m, 2)`` int64: rows of the matched dots in the field's ``a`` and ``b``.
    distances
        ``(m,)`` float64, image pixels between the two.
    rows_only_a, rows_only_b
        Rows of the others, in ``a`` and in ``b``: the places to look at together.
    same_class
        Number of matched cells that both gave the same class.
    """

    name: str
    region: str
    t: int | None
    z: int | None
    radius_px: float
    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    rows_only_a: NDArray[np.intp]
    rows_only_b: NDArray[np.intp]
    same_class: int

    @property
    def matched(self) -> int:  # noqa: D102
        return len(self.pairs)

    @property
    def only_a(self) -> int:  # noqa: D102
        return len(self.rows_only_a)

    @property
    def only_b(self) -> int:  # noqa: D102
        return len(self.rows_only_b)

    @property
    def mean_distance_px(self) -> float:
        """Of the matched dots, in image pixels; NaN where there are none."""
        return float(self.distances.mean()) if len(self.distances) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Its figures, by the names of ``PER_FIELD``."""
        return {"field": self.name, **{name: getattr(self, name) for name in PER_FIELD[1:]}}


@dataclass(frozen=True)
class ClassAgreement:
    """One class of cells against all others.

    Attributes
    ----------
    name
        Of the class.
    count_a, count_b
        Cells that A, and that B, gave this class, matched or not.
    both
        Matched cells that both gave this class.
    kappa
        Cohen's, over the matched cells: this class or another one. NaN where no matched
        cell, or every one, is of this class for both.
    """

    name: str
    count_a: int
    count_b: int
    both: int
    kappa: float

    @property
    def f1(self) -> float:
        """2 × both / (count of A + count of B)."""
        return rates(self.both, self.count_a, self.count_b).f1


@dataclass(frozen=True, eq=False)
class Agreement(_Numbers):
    """What A and B have in common over all fields.

    Attributes
    ----------
    fields
        Each for itself.
    limits
        Bias, second − first = B − A, and limits of agreement of the counts of fields.
    line
        Deming's line of B's counts on A's.
    concordance
        Lin's coefficient of the counts.
    classes
        A record a class that anybody used, by name.
    class_table
        ``(K, K)`` int64: matched cells that A gave class i and B class j, in the order of
        ``classes``.
    kappa
        Cohen's, of all classes, over the matched cells; NaN where there is one class only.
    """

    fields: tuple[FieldAgreement, ...]
    limits: Limits
    line: Line
    concordance: float
    classes: tuple[ClassAgreement, ...]
    class_table: NDArray[np.int64]
    kappa: float

    @property
    def matched(self) -> int:  # noqa: D102
        return sum(field.matched for field in self.fields)

    @property
    def only_a(self) -> int:  # noqa: D102
        return sum(field.only_a for field in self.fields)

    @property
    def only_b(self) -> int:  # noqa: D102
        return sum(field.only_b for field in self.fields)

    @property
    def mean_distance_px(self) -> float:
        """Of all matched dots, in image pixels; NaN where there are none."""
        distances = np.concatenate([field.distances for field in self.fields])
        return float(distances.mean()) if len(distances) else math.nan

    @property
    def same_class(self) -> int:
        """Number of matched cells that both gave the same class."""
        return sum(field.same_class for field in self.fields)

    @property
    def same_class_share(self) -> float:
        """Share of the matched cells that this is; NaN where there are none."""
        return self.same_class / self.matched if self.matched else math.nan

    def table(self) -> pd.DataFrame:
        """Give a row per field, with the columns ``PER_FIELD``."""
        rows = [field.to_dict() for field in self.fields]
        return pd.DataFrame(rows, columns=list(PER_FIELD)).astype({"t": "Int64", "z": "Int64"})

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; figures that do not exist are NaN."""
        figures = ("count_a", "count_b", "matched", "only_a", "only_b")
        shares = ("matched_of_a", "matched_of_b", "f1", "mean_distance_px")
        return {
            "fields": len(self.fields),
            **{name: getattr(self, name) for name in (*figures, *shares)},
            "bias": self.limits.bias,
            "bias_ci": self.limits.bias_ci,
            "sd": self.limits.sd,
            "limit_low": self.limits.low,
            "limit_low_ci": self.limits.low_ci,
            "limit_high": self.limits.high,
            "limit_high_ci": self.limits.high_ci,
            "slope": self.line.slope,
            "slope_ci": self.line.slope_ci,
            "intercept": self.line.intercept,
            "concordance": self.concordance,
            "same_class": self.same_class,
            "same_class_share": self.same_class_share,
            "kappa": self.kappa,
            "classes": [{**asdict(c), "f1": c.f1} for c in self.classes],
            "class_table": self.class_table.tolist(),
            "per_field": [field.to_dict() for field in self.fields],
        }

    @property
    def overlapping(self) -> tuple[str, ...]:
        """Names of the images with cells in several of their regions: in all, these count twice."""
        seen: dict[str, list[NDArray[np.intp]]] = {}
        for field in self.fields:
            # Rows of B are told from those of A by their sign.
            rows = [field.pairs[:, 0], field.rows_only_a, -1 - field.rows_only_b]
            seen.setdefault(field.name, []).append(np.concatenate(rows))
        joined = {name: np.concatenate(rows) for name, rows in seen.items()}
        return tuple(n for n, rows in joined.items() if len(np.unique(rows)) < len(rows))


def agreement(fields: Sequence[Field], radius_px: float | Sequence[float]) -> Agreement:
    """Compare two annotators' dots.

    Parameters
    ----------
    fields
        Images or regions that both looked at. The intervals of the figures take them to be
        independent of each other.
    radius_px
        Largest distance (inclusive) at which two dots can be the same cell, for all fields
        or for each; half the cell diameter is usual.

    Returns
    -------
    Agreement

    Raises
    ------
    UserError
        When there are no fields, or a radius is not a positive number.
    ValueError
        When there are not as many radii as fields.
    """
    if not fields:
        raise UserError("there is no field to compare; give dots of two annotators of one image")
    radii = np.broadcast_to(np.asarray(radius_px, dtype=np.float64), len(fields)).tolist()
    found = tuple(_compare(field, radius) for field, radius in zip(fields, radii, strict=True))
    a = [one.count_a for one in found]
    b = [one.count_b for one in found]
    classes, table = _classes(fields, found)
    return Agreement(
        fields=found,
        limits=limits_of_agreement(a, b),
        line=deming(a, b),
        concordance=concordance(a, b),
        classes=classes,
        class_table=table,
        kappa=cohen_kappa(table),
    )


def split_times(field: Field) -> list[Field]:
    """Give a field for every time point that a dot of it has; itself where there is one only.

    Counts over time are a curve: their sum says nothing of agreement. A time point at which
    only one of the two has dots is compared as well; one at which neither has is left out.
    """
    times = np.unique(np.concatenate([d.t[_rows(d)] for d in (field.a, field.b)])).tolist()
    return [field] if len(times) < 2 else [replace(field, t=time) for time in times]


def _compare(field: Field, radius_px: float) -> FieldAgreement:
    match_dots((), (), radius_px)  # says what is wrong with a radius where there are no dots, too
    a, b = (_rows(dots, field.t, field.z) for dots in (field.a, field.b))
    pairs, distances = _match(field.a, a, field.b, b, radius_px)
    kept = _within((field.a.yx[pairs[:, 0]] + field.b.yx[pairs[:, 1]]) / 2, field)
    rest_a, rest_b = np.setdiff1d(a, pairs[:, 0]), np.setdiff1d(b, pairs[:, 1])
    pairs, distances = pairs[kept], distances[kept]
    return FieldAgreement(
        name=field.name,
        region=field.region,
        t=field.t,
        z=field.z,
        radius_px=radius_px,
        pairs=pairs,
        distances=distances,
        rows_only_a=rest_a[_within(field.a.yx[rest_a], field)],
        rows_only_b=rest_b[_within(field.b.yx[rest_b], field)],
        same_class=int((field.a.label[pairs[:, 0]] == field.b.label[pairs[:, 1]]).sum()),
    )


def _rows(dots: Dots, t: int | None = None, z: int | None = None) -> NDArray[np.intp]:
    """Rows of the dots that are not removed, of a time point and plane where these are given."""
    kept = dots.state != "removed"
    for plane, wanted in ((dots.t, t), (dots.z, z)):
        if wanted is not None:
            kept = kept & (plane == wanted)
    return np.flatnonzero(kept)


def _match(
    a: Dots, rows_a: NDArray[np.intp], b: Dots, rows_b: NDArray[np.intp], radius_px: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of rows, and their distances, plane by plane."""
    planes_a, planes_b = (
        np.stack([dots.t[rows], dots.z[rows]], axis=1) for dots, rows in ((a, rows_a), (b, rows_b))
    )
    pairs, distances = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
    for plane in np.unique(planes_a, axis=0):
        here_a = rows_a[(planes_a == plane).all(axis=1)]
        here_b = rows_b[(planes_b == plane).all(axis=1)]
        matching = match_dots(a.yx[here_a], b.yx[here_b], radius_px)
        one, two = matching.pairs.T
        pairs.append(np.stack([here_a[one], here_b[two]], axis=1))
        distances.append(matching.distances)
    return np.concatenate(pairs), np.concatenate(distances)


def _within(yx: NDArray[np.float64], field: Field) -> NDArray[np.bool_]:
    """Whether places ``(n, 2)`` are in what is compared of a field."""
    kept = np.ones(len(yx), dtype=bool) if field.polygon is None else inside(yx, field.polygon)
    if field.tissue:
        kept &= inside_any(yx, field.tissue)
    for polygons in field.within:
        kept &= inside_any(yx, polygons)
    return kept & ~inside_any(yx, field.exclude)


def _classes(
    fields: Sequence[Field], found: Sequence[FieldAgreement]
) -> tuple[tuple[ClassAgreement, ...], NDArray[np.int64]]:
    """Every class that was used, and the table of the matched cells' classes."""
    both = list(zip(fields, found, strict=True))
    matched_a = _labels((field.a, one.pairs[:, 0]) for field, one in both)
    matched_b = _labels((field.b, one.pairs[:, 1]) for field, one in both)
    only_a = _labels((field.a, one.rows_only_a) for field, one in both)
    only_b = _labels((field.b, one.rows_only_b) for field, one in both)
    names = np.unique(np.concatenate([matched_a, matched_b, only_a, only_b]))
    k = len(names)
    cells = np.searchsorted(names, matched_a) * k + np.searchsorted(names, matched_b)
    table = np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)
    given_a, given_b = table.sum(axis=1), table.sum(axis=0)
    total = int(table.sum())
    classes = []
    for i, name in enumerate(names.tolist()):
        same, a, b = int(table[i, i]), int(given_a[i]), int(given_b[i])
        against_rest = [[same, a - same], [b - same, total - a - b + same]]
        classes.append(
            ClassAgreement(
                name=name,
                count_a=a + int((only_a == name).sum()),
                count_b=b + int((only_b == name).sum()),
                both=same,
                kappa=cohen_kappa(against_rest),
            )
        )
    return tuple(classes), table


def _labels(parts: Iterable[tuple[Dots, NDArray[Any]]]) -> NDArray[np.str_]:
    return np.concatenate([dots.label[rows] for dots, rows in parts])

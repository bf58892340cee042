"""What another model changes in the counts of a study, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celltally import intervals
from celltally.project.counts import StoredCount, load_prediction
from celltally.project.edits import Work
from celltally.project.figures import NOT_OVER_Z, Figures
from celltally.project.images import ImageEntry
from celltally.project.measuring import figures_of
from celltally.project.new_counts import NewCount, proposed
from celltally.project.remembering import of_image
from celltally.project.store import Store
from celltally.project.work import load_work
from celltally.types import Interval, Prediction

__all__ = [
    "AFTER_OUTSIDE",
    "BEFORE_OUTSIDE",
    "KNOWN",
    "Difference",
    "Side",
    "Total",
    "compare",
    "largest_first",
    "not_recounted",
    "records",
    "totals",
]

AFTER_OUTSIDE = "outside the interval before"
BEFORE_OUTSIDE = "the count before is outside the new interval"
KNOWN = "counted with it already"


@dataclass(frozen=True)
class Side:
    """What is said of a plane before, or after.

    Attributes
    ----------
    count, interval
        What the model says of the whole plane. (Of merged planes: the number of cells.)
    corrected
        The count after corrections; NaN where nobody reviewed, excluded or drew tissue.
    """

    count: float
    interval: Interval
    corrected: float = math.nan

    @property
    def in_study(self) -> float:
        """What stands in the table of the study: the corrected count, where there is one."""
        return self.count if math.isnan(self.corrected) else self.corrected


@dataclass(frozen=True)
class Difference:
    """A plane of an image, counted by the model in force and by another one.

    Attributes
    ----------
    entry
        The image.
    t, z, z_method
        As of ``figures.Figures``.
    before
        By the model in force.
    after
        By the other one; None where it could not be recounted.
    known
        Whether the count in force is the other model's already.
    problem
        Why it could not be recounted, in a sentence; "" where it was.
    """

    entry: ImageEntry
    t: int
    z: int
    z_method: str
    before: Side
    after: Side | None = None
    known: bool = False
    problem: str = ""

    @property
    def label(self) -> str:
        """Name of the image, with t and z where they are not 0."""
        parts = [self.entry.name]
        parts += [f"t {self.t}"] if self.t else []
        parts += [f"z {self.z}"] if self.z and self.z_method == "plane" else []
        return " · ".join(parts)

    @property
    def difference(self) -> float:
        """Cells more after than before, as the models count; NaN where it was not recounted."""
        return math.nan if self.after is None else self.after.count - self.before.count

    @property
    def percent(self) -> float:
        """The difference in percent of the count before; NaN where that is 0 and there is one."""
        if self.difference == 0:
            return 0.0
        return 100 * self.difference / self.before.count if self.before.count > 0 else math.nan

    @property
    def flags(self) -> tuple[str, ...]:
        """What sets it apart, in words."""
        if self.after is None:
            return (f"not recounted: {self._brief_problem}",)
        said = [KNOWN] if self.known else []
        if _outside(self.after.count, self.before.interval):
            said.append(AFTER_OUTSIDE)
        if _outside(self.before.count, self.after.interval):
            said.append(BEFORE_OUTSIDE)
        if self.after.interval.kind == "not calibrated" and self.z_method != "merged":
            said.append("interval not calibrated")
        return tuple(said)

    @property
    def _brief_problem(self) -> str:
        """The problem with the file's name, without its folders."""
        path = self.entry.path
        return self.problem if path is None else self.problem.replace(str(path), path.name)

    @property
    def stands_out(self) -> bool:
        """Whether one of the counts lies outside the other's interval."""
        return any(flag in (AFTER_OUTSIDE, BEFORE_OUTSIDE) for flag in self.flags)


def _outside(count: float, interval: Interval) -> bool:
    return not math.isnan(interval.low) and not interval.low <= count <= interval.high


@dataclass(frozen=True)
class Total:
    """The planes of a condition together, at one time point; those that were recounted.

    Attributes
    ----------
    condition
        "" for images without one.
    t
        Time point.
    images
        Number of images.
    before, after
        Sum of the models' counts.
    study_before, study_after
        Sum of what stands in the table of the study: corrected counts, where there are any.
    outside
        Number of planes of which one count lies outside the other's interval.
    left_out
        Number of planes that could not be recounted; they are in no sum.
    """

    condition: str
    t: int
    images: int
    before: float
    after: float
    study_before: float
    study_after: float
    outside: int
    left_out: int

    @property
    def difference(self) -> float:
        """Cells more after than before."""
        return self.after - self.before

    @property
    def percent(self) -> float:
        """The difference in percent of the sum before; NaN where that is 0."""
        return 100 * self.difference / self.before if self.before > 0 else math.nan


# ---- comparing ----


def compare(
    store: Store,
    entry: ImageEntry,
    before: Sequence[StoredCount],
    after: Sequence[StoredCount] | None,
    load: Callable[[StoredCount], NewCount],
    level: float,
) -> list[Difference]:
    """Compare the counts of an image that are in force with new ones; nothing is changed.

    What is corrected stays: the new corrected count is the one that the study would have with
    the new counts in force.

    Parameters
    ----------
    store
        The project.
    entry, before
        The image, and its counts that are in force.
    after
        New counts of the same planes; None where those in force are the other model's already.
    load
        Gives a new count with its maps.
    level
        Nominal coverage of the intervals.

    Returns
    -------
    list of Difference
        By t and z; one for planes that were merged.
    """
    now = _planes(of_image(store, entry.id, level=level))
    work = load_work(store, entry.id)

    def new(count: StoredCount) -> Prediction:
        return load(count).prediction

    old = _sides(before, now, _loading(store), work, level)
    if after is None:
        return [_difference(entry, now[at], old[at], old[at], known=True) for at in sorted(old)]
    for t in sorted({count.t for count in after if count.z_method == "merged"}):
        # A count of merged planes is a number of dots; elsewhere proposals count nothing.
        work.do(proposed(work, [load(count) for count in after if count.t == t]).edit)
    regions = [region for region in work.regions if len(region.polygon) >= 3]
    then = _planes(figures_of(entry, after, work.dots, regions, new, level))
    found = _sides(after, then, new, work, level)
    both = [at for at in sorted(old) if at in found]
    return [_difference(entry, now[at], old[at], found[at]) for at in both]


def not_recounted(
    store: Store, entry: ImageEntry, before: Sequence[StoredCount], problem: str, level: float
) -> list[Difference]:
    """Return what is known of an image that could not be recounted, and why it was not."""
    now = _planes(of_image(store, entry.id, level=level))

    old = _sides(before, now, _loading(store), load_work(store, entry.id), level)
    return [_difference(entry, now[at], old[at], None, problem=problem) for at in sorted(old)]


def _loading(store: Store) -> Callable[[StoredCount], Prediction | None]:
    """Return what gives the maps of counts that are in force."""

    def load(count: StoredCount) -> Prediction | None:
        loaded = load_prediction(store, count)
        return None if loaded is None else loaded[0]

    return load


def _planes(figures: Iterable[Figures]) -> dict[tuple[int, int], Figures]:
    """Figures of whole planes by t and z."""
    return {(one.t, one.z): one for one in figures if not one.region_id}


def _sides(
    counts: Sequence[StoredCount],
    figures: dict[tuple[int, int], Figures],
    load: Callable[[StoredCount], Prediction | None],
    work: Work,
    level: float,
) -> dict[tuple[int, int], Side]:
    by_id = {count.id: count for count in counts}
    found = {}
    for at, one in figures.items():
        count = by_id.get(one.prediction_id or 0)
        if count is not None:
            interval = count.interval
            if interval.level != level and (maps := load(count)) is not None:
                interval = intervals.of(maps, level)
            found[at] = _side(one, count.count, interval, work)
    return found


def _side(figures: Figures, count: float, interval: Interval, work: Work) -> Side:
    """Return what is said of a plane; ``count`` and ``interval`` are the model's."""
    over_z = figures.z_method != "plane"
    drawn = any(
        region.t == figures.t
        and (over_z or region.z == figures.z)
        and region.kind in ("reviewed", "audit", "exclude", "tissue")
        for region in work.regions
    )
    if figures.z_method == "merged":  # its cells are dots, so that nothing is left uncorrected
        nothing = Interval(math.nan, math.nan, interval.level, "not calibrated", NOT_OVER_Z)
        return Side(figures.count, nothing)
    return Side(count, interval, corrected=figures.count if drawn else math.nan)


def _difference(
    entry: ImageEntry, figures: Figures, before: Side, after: Side | None, **more: Any
) -> Difference:
    return Difference(
        entry, figures.t, figures.z, figures.z_method, before=before, after=after, **more
    )


# ---- the table ----


def largest_first(differences: Iterable[Difference]) -> list[Difference]:
    """Return differences by their size, the largest first; what was not recounted is last."""

    def size(one: Difference) -> float:
        return math.inf if math.isnan(one.difference) else -abs(one.difference)

    return sorted(differences, key=size)


def totals(differences: Iterable[Difference]) -> list[Total]:
    """Add up the planes of each condition and time point, which are no sum with each other."""
    groups: dict[tuple[str, int], list[Difference]] = {}
    for one in differences:
        groups.setdefault((one.entry.condition, one.t), []).append(one)
    found = []
    for (condition, t), alike in sorted(groups.items()):
        both = [(one, one.after) for one in alike if one.after is not None]
        found.append(
            Total(
                condition=condition,
                t=t,
                images=len({one.entry.id for one, _ in both}),
                before=math.fsum(one.before.count for one, _ in both),
                after=math.fsum(after.count for _, after in both),
                study_before=math.fsum(one.before.in_study for one, _ in both),
                study_after=math.fsum(after.in_study for _, after in both),
                outside=sum(one.stands_out for one, _ in both),
                left_out=len(alike) - len(both),
            )
        )
    return found


def records(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """Return the rows of a table: numbers as numbers, None where there is nothing."""
    found = []
    for one in differences:
        after = one.after
        nothing = Interval(math.nan, math.nan, one.before.interval.level, "not calibrated")
        then = nothing if after is None else after.interval
        row = {
            "image": one.entry.name,
            "t": one.t,
            "z": one.z if one.z_method == "plane" else None,
            "z_method": one.z_method,
            "plate": one.entry.plate,
            "well": one.entry.well,
            "condition": one.entry.condition,
            "replicate": one.entry.replicate,
            "count_before": one.before.count,
            "ci_low_before": one.before.interval.low,
            "ci_high_before": one.before.interval.high,
            "interval_kind_before": one.before.interval.kind,
            "count_after": math.nan if after is None else after.count,
            "ci_low_after": then.low,
            "ci_high_after": then.high,
            "interval_kind_after": "" if after is None else then.kind,
            "level": one.before.interval.level,
            "difference": one.difference,
            "difference_percent": one.percent,
            "corrected_before": one.before.corrected,
            "corrected_after": math.nan if after is None else after.corrected,
            "flags": "; ".join(one.flags),
        }
        found.append({name: _value(value) for name, value in row.items()})
    return found


def _value(value: Any) -> Any:
    """Give None for what there is not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return None if value == "" else value

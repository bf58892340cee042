"""How well a person and a model, or two people, agree in regions that were reviewed. Free of Qt."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally._napari.pictures import Ink, axes_in, colour_words
from celltally.density.inside import inside_any
from celltally.density.matching import SAME_CELL
from celltally.density.stacks import MERGE_DISTANCE, join_dots, merge_planes
from celltally.errors import UserError
from celltally.types import Dots, Progress, Region

if TYPE_CHECKING:
    from celltally.evaluate.agreement import Agreement, Field
    from celltally.project.counts import StoredCount
    from celltally.project.methods import Agreed
    from celltally.project.store import Store

__all__ = ["KINDS", "Compared", "compare_job", "figures_of", "paint_agreement", "save_agreement"]

#: Kinds of regions that may be compared, and what the choice is called.
KINDS: dict[str, tuple[str, ...]] = {
    "audit regions": ("audit",),
    "reviewed and audit regions": ("reviewed", "audit"),
}
_NONE = "–"
#: Said of regions in merged planes.
_OVER_Z = (
    " Where planes are merged, cells of all planes in a region's outline are compared, and so are "
    "dots in planes that nobody reviewed."
)


@dataclass(frozen=True, eq=False)
class Compared:
    """What was found.

    Attributes
    ----------
    names
        Of A and B; differences are B − A.
    found
        The figures.
    note
        What the reader should know of them, in sentences.
    """

    names: tuple[str, str]
    found: Agreement
    note: str

    @property
    def agreed(self) -> Agreed:
        """As the paragraph for the methods section takes it."""
        from celltally.project.methods import Agreed

        limits = self.found.limits
        first, second = self.names
        return Agreed(
            first=f"the {first}" if first in ("person", "model") else first,
            second=f"the {second}" if second in ("person", "model") else second,
            fields=len(self.found.fields),
            f1=self.found.f1,
            bias=limits.bias,
            low=limits.low,
            high=limits.high,
            kappa=self.found.kappa,
        )


def compare_job(
    store: Store, kinds: Collection[str], other: Path | None = None
) -> Generator[Progress, None, Compared]:
    """Compare what people say with the model's dots, or with those of another project.

    Each region is a field. A person's dots are those that are there now; the model's are those
    of its newest count, at the threshold as it stands. Of another project, what both
    reviewed is compared; its images are found by their content.

    Parameters
    ----------
    store
        The project.
    kinds
        Of regions that are compared.
    other
        The file of another project; None for the model.

    Raises
    ------
    UserError
        When there is nothing to compare, or the other project cannot be opened.
    """
    yield Progress(0, 0, "reading the project")
    if other is None:
        return (yield from _with_model(store, kinds))
    from celltally.project.store import Store

    if Path(other).absolute() == store.path:
        raise UserError(f"{store.path.name} is this project itself; choose another one")
    with Store(other, read_only=True) as second:
        return (yield from _with_project(store, second, kinds))


def _with_model(store: Store, kinds: Collection[str]) -> Generator[Progress, None, Compared]:
    from celltally.evaluate.agreement import Field, agreement
    from celltally.project.images import all_images
    from celltally.project.work import load_dots

    fields: list[Field] = []
    radii: list[float] = []
    uncounted = stated = 0
    merged = False
    entries = all_images(store)
    for done, entry in enumerate(entries):
        yield Progress(done, len(entries), f"comparing {entry.name}")
        regions = _regions(store, entry.id)
        wanted = [r for r in regions if r.kind in kinds]
        if not wanted:
            continue
        person = load_dots(store, entry.id)
        counts = _in_force(store, entry.id)
        sides: dict[_Place, tuple[Dots, Dots] | None] = {}
        for region in wanted:
            if region.stated is not None:
                stated += 1
                continue
            place = _place_of(region, counts)
            if place.counts and place not in sides:
                model = _shown(store, place)
                both = None if model is None else [place.flat(d, regions) for d in (person, model)]
                sides[place] = None if both is None else (both[0], both[1])
            found = sides.get(place)
            if found is None:
                uncounted += 1
                continue
            fields.append(_field(Field, entry.name, found, region, place, [regions]))
            radii.append(place.radius_px)
            merged |= place.z_method == "merged"
    if not fields:
        raise UserError(_nothing(kinds, uncounted, stated))
    note = (
        "The model's dots are those of its newest count at the threshold as it stands; dots up to "
        "half a cell diameter apart can be one cell."
    )
    if merged:
        note += _OVER_Z
    if uncounted:
        note += f" {uncounted} region{'s' * (uncounted != 1)} in planes without a count left out."
    if stated:
        note += (
            f" {stated} region{'s' * (stated != 1)} left out, where a number was stated and "
            "nobody said which dots are right."
        )
    if "reviewed" in kinds:
        note += (
            " Reviewed regions begin with the model's dots, which makes the two more alike than "
            "they are: audit regions do not."
        )
    return Compared(("person", "model"), agreement(fields, radii), note)


def _nothing(kinds: Collection[str], uncounted: int, stated: int) -> str:
    if uncounted:
        return "no region lies in a plane that was counted; count these images first"
    if stated:
        return "only numbers were stated, not which dots are right; set a dot on every cell"
    if "reviewed" in kinds:
        return "nothing was reviewed; draw a region in the Tally widget, and review its dots"
    return "there are no audit regions; count one with “Audit a region…” in the Tally widget"


def _regions(store: Store, image_id: int) -> list[Region]:
    from celltally.project.work import load_regions

    return [region for region in load_regions(store, image_id) if len(region.polygon) >= 3]


# ---- what a region is compared in ----


@dataclass(frozen=True)
class _Place:
    """What a region belongs to: one plane, or all planes of its time point.

    Attributes
    ----------
    t, z
        Of the plane; z is None for all of them.
    counts
        In force there; none where nothing was counted.
    diameter_px
        Cell diameter.
    """

    t: int
    z: int | None
    counts: tuple[StoredCount, ...]
    diameter_px: float

    @property
    def z_method(self) -> str:
        """How it was counted."""
        return self.counts[0].z_method if self.counts else "plane"

    @property
    def radius_px(self) -> float:
        """Largest distance of two dots that can be the same cell."""
        return SAME_CELL * self.diameter_px

    def holds(self, region: Region) -> bool:
        """Whether a region lies in it."""
        return region.t == self.t and self.z in (None, region.z)

    def flat(self, dots: Dots, regions: Sequence[Region]) -> Dots:
        """Return the dots that are compared; of all planes, these are put into one.

        Of merged planes they are cells, without what is excluded in the dots' own planes.
        """
        if self.z is not None:
            return dots
        dots = dots[(dots.t == self.t) & (dots.state != "removed")]
        if self.z_method == "merged":
            for region in regions:
                if region.kind == "exclude" and self.holds(region):
                    out = (dots.z == region.z) & inside_any(dots.yx, [region.polygon])
                    dots = dots[~out]
            dots = merge_planes(dots, MERGE_DISTANCE * self.diameter_px).dots
        return replace(dots, z=np.zeros(len(dots), dtype=np.int64))


def _in_force(store: Store, image_id: int) -> list[StoredCount]:
    from celltally.project.counts import in_force, latest_counts

    return in_force(latest_counts(store, [image_id]))


def _place_of(region: Region, counts: Sequence[StoredCount], usual_px: float = 0.0) -> _Place:
    """Return what a region belongs to; without counts there, its plane with a usual diameter."""
    here = tuple(
        count
        for count in counts
        if count.t == region.t and (count.z == region.z or count.z_method != "plane")
    )
    z = region.z if not here or here[0].z_method == "plane" else None
    diameter = max((count.diameter_px for count in here), default=usual_px)
    return _Place(region.t, z, here, diameter)


def _shown(store: Store, place: _Place) -> Dots | None:
    """Return the dots that counts show at their thresholds; None where one is not there."""
    from celltally.project.counts import load_prediction

    parts = []
    for count in place.counts:
        loaded = load_prediction(store, count)
        if loaded is None:
            return None
        dots = loaded[1][loaded[1].score >= count.threshold]
        n = len(dots)
        parts.append(replace(dots, t=np.full(n, count.t), z=np.full(n, count.z)))
    return join_dots(parts)


def _field(
    make: Any,
    name: str,
    sides: tuple[Dots, Dots],
    region: Region,
    place: _Place,
    drawn: Sequence[Sequence[Region]],
    reviewed: Sequence[Region] = (),
) -> Field:
    """Return what is compared in a region.

    ``drawn`` are the regions of each project, ``reviewed`` those of another one that have to
    cover a place as well.
    """
    here = [[r for r in regions if place.holds(r)] for regions in drawn]
    within = [[r.polygon for r in regions if r.kind == "tissue"] for regions in here]
    within.append([r.polygon for r in reviewed])
    exclude = [r.polygon for regions in here for r in regions if r.kind == "exclude"]
    return make(
        name,
        *sides,
        region=region.name,
        t=region.t,
        z=place.z,
        polygon=region.polygon,
        within=[polygons for polygons in within if polygons],
        exclude=[] if place.z_method == "merged" else exclude,  # left out plane by plane
    )


def _with_project(
    store: Store, second: Store, kinds: Collection[str]
) -> Generator[Progress, None, Compared]:
    from celltally.evaluate.agreement import Field, agreement
    from celltally.project.images import all_images
    from celltally.project.work import load_dots

    others: dict[tuple[str, str | None], int] = {}
    for entry in all_images(second):
        for content in (entry.file_sha256, entry.pixel_sha256):
            if content:
                others.setdefault((content, entry.scene), entry.id)
    fields: list[Field] = []
    radii: list[float] = []
    merged = False
    entries = all_images(store)
    for done, entry in enumerate(entries):
        yield Progress(done, len(entries), f"comparing {entry.name}")
        known = [others.get((c, entry.scene)) for c in (entry.file_sha256, entry.pixel_sha256) if c]
        number = next((n for n in known if n is not None), None)
        if number is None:
            continue
        drawn = [_regions(store, entry.id), _regions(second, number)]
        ours, theirs = (
            [r for r in regions if r.kind in kinds and not r.by_stated] for regions in drawn
        )
        counts = [_in_force(store, entry.id), _in_force(second, number)]
        newest = [max(part, key=lambda count: count.id) for part in counts if part]
        if not ours or not newest:
            continue
        dots = [load_dots(store, entry.id), load_dots(second, number)]
        sides: dict[_Place, tuple[Dots, Dots]] = {}
        for region in ours:
            # Counted here, or there; else with the cell diameter of the image's other counts.
            places = [_place_of(region, part, newest[0].diameter_px) for part in counts]
            place = next((one for one in places if one.counts), places[0])
            same = [r for r in theirs if place.holds(r)]
            if not same:
                continue
            if place not in sides:
                a, b = (place.flat(part, [*drawn[0], *drawn[1]]) for part in dots)
                sides[place] = a, b
            fields.append(_field(Field, entry.name, sides[place], region, place, drawn, same))
            radii.append(place.radius_px)
            merged |= place.z_method == "merged"
    if not fields:
        raise UserError(
            f"{second.path.name} and {store.path.name} have no region in common that both "
            "reviewed; the images are found by their content"
        )
    note = "Compared where both reviewed; dots up to half a cell diameter apart can be one cell."
    if merged:
        note += _OVER_Z
    return Compared((store.path.stem, second.path.stem), agreement(fields, radii), note)


# ---- shown and saved ----


def figures_of(compared: Compared) -> list[tuple[str, str]]:
    """Return the figures in words: names and values."""
    found, (a, b) = compared.found, compared.names
    limits, line = found.limits, found.line
    rows = [
        ("fields", str(len(found.fields))),
        (f"cells of {a} / {b}", f"{found.count_a} / {found.count_b}"),
        ("matched", str(found.matched)),
        (f"only {a} / only {b}", f"{found.only_a} / {found.only_b}"),
        ("F1", _number(found.f1)),
        (f"bias ({b} − {a}) per field", _ranged(limits.bias, limits.bias_ci)),
        ("limits of agreement", _range(limits.low, limits.high)),
        ("slope", _ranged(line.slope, line.slope_ci)),
        ("Lin's concordance", _number(found.concordance)),
        ("mean distance", f"{_number(found.mean_distance_px)} px"),
    ]
    if len(found.classes) > 1:
        rows.append(("Cohen's kappa, all classes", _number(found.kappa)))
        rows += [(f"kappa, {one.name}", _number(one.kappa)) for one in found.classes]
    return rows


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else _NONE


def _range(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}" if math.isfinite(low) else _NONE


def _ranged(value: float, bounds: tuple[float, float]) -> str:
    between = f" (95 %: {_range(*bounds)})" if math.isfinite(bounds[0]) else ""
    return f"{_number(value)}{between}"


def paint_agreement(figure: Any, ink: Ink, compared: Compared) -> str:
    """Draw differences over means, with bias and limits (Bland & Altman 1986)."""
    from celltally.evaluate.plots import draw_bland_altman

    fields, axes = compared.found.fields, axes_in(figure, ink)
    draw_bland_altman(
        axes, [f.count_a for f in fields], [f.count_b for f in fields], compared.names
    )
    colour_words(axes, ink)
    return compared.note


def save_agreement(compared: Compared, path: Path) -> Generator[Progress, None, str]:
    """Write a row per field as CSV."""
    yield Progress(0, 0, "writing")
    from celltally.io._files import write_atomically

    table = compared.found.table().to_csv(index=False, lineterminator="\n")
    write_atomically(path, table.encode("utf-8"))
    return f"Saved {path.name}."

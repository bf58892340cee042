"""How well a person and a model, or two people, agree in regions that were reviewed. Free of Qt."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celltally._napari.pictures import Ink, axes_in, colour_words
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
    from celltally.project.counts import latest_counts, load_prediction
    from celltally.project.images import all_images
    from celltally.project.work import load_dots

    fields: list[Field] = []
    radii: list[float] = []
    uncounted = stated = 0
    entries = all_images(store)
    for done, entry in enumerate(entries):
        yield Progress(done, len(entries), f"comparing {entry.name}")
        regions = _regions(store, entry.id)
        wanted = [r for r in regions if r.kind in kinds and not r.by_stated]
        if not wanted:
            continue
        person = load_dots(store, entry.id)
        models: dict[int, Dots | None] = {}
        counts = latest_counts(store, [entry.id])
        for region in wanted:
            if region.stated is not None:
                stated += 1
                continue
            count = _count_of(region, counts)
            if count is not None and count.id not in models:
                loaded = load_prediction(store, count)
                models[count.id] = None if loaded is None else _shown(loaded[1], count)
            model = None if count is None else models[count.id]
            if count is None or model is None:
                uncounted += 1
                continue
            fields.append(_field(Field, entry.name, person, model, region, regions, count))
            radii.append(count.diameter_px / 2)
    if not fields:
        raise UserError(_nothing(kinds, uncounted, stated))
    note = (
        "The model's dots are those of its newest count at the threshold as it stands; dots up to "
        "half a cell diameter apart can be one cell."
    )
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


def _count_of(region: Region, counts: Sequence[StoredCount]) -> StoredCount | None:
    """Return the newest count of the plane that a region lies in."""
    here = [
        count
        for count in counts
        if count.t == region.t and (count.z == region.z or count.z_method != "plane")
    ]
    return max(here, key=lambda count: count.id, default=None)


def _shown(candidates: Dots, count: StoredCount) -> Dots:
    """Return the dots that a count shows at its threshold."""
    dots = candidates[candidates.score >= count.threshold]
    return replace(dots, t=np.full(len(dots), count.t), z=np.full(len(dots), count.z))


def _field(
    make: Any,
    name: str,
    person: Dots,
    model: Dots,
    region: Region,
    regions: Sequence[Region],
    count: StoredCount,
) -> Field:
    here = [r for r in regions if r.t == region.t and r.z == region.z]
    over_z = count.z_method != "plane"
    if over_z:  # the person's dots lie in the planes where they were seen
        person = replace(person, z=np.full(len(person), count.z))
    return make(
        name,
        person,
        model,
        region=region.name,
        t=region.t,
        z=None if over_z else region.z,
        polygon=region.polygon,
        tissue=[r.polygon for r in here if r.kind == "tissue"],
        exclude=[r.polygon for r in here if r.kind == "exclude"],
    )


def _with_project(
    store: Store, second: Store, kinds: Collection[str]
) -> Generator[Progress, None, Compared]:
    from celltally.evaluate.agreement import Field, agreement
    from celltally.project.counts import latest_counts
    from celltally.project.images import all_images
    from celltally.project.work import load_dots

    others: dict[tuple[str, str | None], int] = {}
    for entry in all_images(second):
        for content in (entry.file_sha256, entry.pixel_sha256):
            if content:
                others.setdefault((content, entry.scene), entry.id)
    fields: list[Field] = []
    radii: list[float] = []
    entries = all_images(store)
    for done, entry in enumerate(entries):
        yield Progress(done, len(entries), f"comparing {entry.name}")
        known = [others.get((c, entry.scene)) for c in (entry.file_sha256, entry.pixel_sha256) if c]
        number = next((n for n in known if n is not None), None)
        if number is None:
            continue
        ours = [r for r in _regions(store, entry.id) if r.kind in kinds and not r.by_stated]
        theirs = [r for r in _regions(second, number) if r.kind in kinds and not r.by_stated]
        counts = latest_counts(store, [entry.id]) or latest_counts(second, [number])
        a, b = load_dots(store, entry.id), load_dots(second, number)
        for region in ours:
            same = [r.polygon for r in theirs if (r.t, r.z) == (region.t, region.z)]
            if same and counts:
                fields.append(
                    Field(
                        entry.name,
                        a,
                        b,
                        region=region.name,
                        t=region.t,
                        z=region.z,
                        polygon=region.polygon,
                        tissue=same,
                    )
                )
                radii.append(counts[0].diameter_px / 2)
    if not fields:
        raise UserError(
            f"{second.path.name} and {store.path.name} have no region in common that both "
            "reviewed; the images are found by their content"
        )
    note = "Compared where both reviewed; dots up to half a cell diameter apart can be one cell."
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

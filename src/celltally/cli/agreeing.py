"""``celltally agree``."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._fields import KINDS, Given, read_fields
from celltally.cli._options import AsJson
from celltally.cli._output import json_text, print_json, print_table, say
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.evaluate.agreement import Agreement

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally agree anna/ ben/ --radius 6 --out agreement/")(agree)


def agree(
    a: Annotated[Path, typer.Argument(metavar="A", help="Dots of one annotator: file or folder.")],
    b: Annotated[
        Path,
        typer.Argument(metavar="B", help="Dots of the other, or of a model: file or folder."),
    ],
    radius: Annotated[
        float | None,
        typer.Option(
            metavar="PX",
            help="Largest distance of two dots of one cell; else half the cell diameter, where "
            "the data set's dataset.json or a file beside the dots states it.",
        ),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of regions, <stem>.geojson: each region is compared by itself, and what "
            "is in none is left out.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="|".join(KINDS), help="Take regions of this kind only."),
    ] = None,
    ignore_z: Annotated[
        bool,
        typer.Option(
            "--ignore-z", help="Match dots of a stack, one a cell, whatever plane they lie in."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for agreement.csv, agreement.json and plots."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the dots of two people, or of a model and a person, on the same images.

    A and B are two files of dots, or two folders whose files are matched by their names
    without suffix. Differences are B − A: name the person first and the model second.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"unknown kind of region {kind!r}; valid: {', '.join(KINDS)}")
    if kind is not None and regions is None:
        raise UserError(f"there are no regions of kind {kind}: name their folder with --regions")
    from celltally.evaluate.agreement import agreement

    given = read_fields(a, b, radius, regions, (kind,) if kind else KINDS, ignore_z)
    found = agreement(given.fields, given.radii)
    result = {"a": str(a), "b": str(b), **found.to_dict()}
    result |= {"without_partner": given.alone, "without_regions": given.bare}
    notes = _notes(found, given)
    if out is not None:
        notes += _write(found, result, out)
    if as_json:
        print_json(result)
    else:
        print_table(("figure", "value"), _rows(found))
        radii = " to ".join(f"{r:g}" for r in sorted({min(given.radii), max(given.radii)}))
        said = " or ".join(dict.fromkeys(given.origins))
        say(f"A is {a}, B is {b}; dots up to {radii} px apart can be one cell ({said}).")
    for note in notes:
        say(note)


def _notes(found: Agreement, given: Given) -> list[str]:
    notes = []
    if given.alone:
        notes.append(f"Left out, as the other has no dots of that name: {', '.join(given.alone)}.")
    if given.bare:
        notes.append(f"Left out, as there are no regions to compare: {', '.join(given.bare)}.")
    if given.elsewhere:
        notes.append(
            "All dots lie in other planes than these regions, which so seem empty: "
            f"{', '.join(given.elsewhere)}."
        )
    if found.overlapping:
        notes.append(
            "Regions overlap, and cells in several of them count more than once, in "
            f"{', '.join(found.overlapping)}."
        )
    if max(Counter(one.name for one in found.fields).values()) > 1:
        notes.append(
            "The intervals take all fields to be independent; those of one image are alike, "
            "so that the intervals are too narrow."
        )
    return notes


def _rows(found: Agreement) -> list[tuple[str, str]]:
    limits, line = found.limits, found.line
    rows = [
        ("fields", str(len(found.fields))),
        ("cells of A, of B", f"{found.count_a}, {found.count_b}"),
        ("cells of both (matched)", str(found.matched)),
        ("only A, only B", f"{found.only_a}, {found.only_b}"),
        ("of A's cells B has", _percent(found.matched_of_a if found.count_a else math.nan)),
        ("of B's cells A has", _percent(found.matched_of_b if found.count_b else math.nan)),
        ("agreement on cells (F1)", _number(found.f1)),
        ("mean distance of matched dots", f"{_number(found.mean_distance_px)} px"),
        ("bias, B − A in a field", _with(limits.bias, limits.bias_ci)),
        ("limits of agreement, lower", _with(limits.low, limits.low_ci)),
        ("limits of agreement, upper", _with(limits.high, limits.high_ci)),
        ("slope of B's counts on A's", _with(line.slope, line.slope_ci)),
        ("concordance of counts", _number(found.concordance)),
    ]
    if len(found.classes) > 1:
        rows.append(("same class, of matched cells", _percent(found.same_class_share)))
        rows.append(("kappa of classes", _number(found.kappa)))
    if len(found.classes) > 2:  # of two classes each is the other's rest
        rows += [
            (f"kappa of {one.name or 'no class'}", _number(one.kappa)) for one in found.classes
        ]
    return rows


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"


def _with(value: float, bounds: tuple[float, float]) -> str:
    """Give a figure with its interval, where it has one."""
    if not all(map(math.isfinite, bounds)):
        return _number(value)
    return f"{_number(value)} (95 %: {_number(bounds[0])} to {_number(bounds[1])})"


def _write(found: Agreement, result: dict[str, Any], out: Path) -> list[str]:
    from celltally.evaluate.plots import write_agreement

    try:
        out.mkdir(parents=True, exist_ok=True)
        found.table().to_csv(out / "agreement.csv", index=False)
        (out / "agreement.json").write_text(json_text(result) + "\n", encoding="utf-8")
        return list(write_agreement(found, out))
    except OSError as error:
        raise UserError(
            f"the agreement cannot be written to {out} ({str(error.strerror).lower()}); "
            "choose another folder"
        ) from None

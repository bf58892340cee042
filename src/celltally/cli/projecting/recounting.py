"""A study is counted again with another model, and the differences are shown image by image."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Device
from celltally.cli._output import failure, follow, print_json, print_table, say
from celltally.cli.projecting._open import File, command, draw_step, n_images, reading, writing
from celltally.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celltally.project.differences import Difference, Total
    from celltally.types import Interval, Progress

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, recount, "recount study.celltally --model my-cells --out differences.csv")


def recount(
    file: File,
    model: Annotated[
        str | None, typer.Option(help="The model to count with: its name or folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the differences as a .csv, a row per plane.")
    ] = None,
    use: Annotated[
        bool,
        typer.Option(
            "--use", help="Put the new counts in force, and lock the study to the new model."
        ),
    ] = False,
    leave: Annotated[
        bool, typer.Option("--leave", help="Drop what was recounted; the study stays as it is.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Count every image of a study with another model, and show what would change.

    Without --use the study stays as it is. What was recounted is kept beside it: the command
    goes on where it was stopped, and with --use later nothing is counted twice. Ends with 1
    when some images could not be recounted.
    """
    if leave:
        if model is not None or use or out is not None:
            raise UserError("--leave drops what was recounted: give it without other options")
        _leave(file)
        return
    if model is None:
        raise UserError("name the model to count with, such as --model general")
    if out is not None and out.suffix.lower() != ".csv":
        raise UserError(f"{out} cannot be written: give a name that ends in .csv")
    from celltally import zoo

    found_model = zoo.find(model)
    with writing(file) if use else reading(file) as store:
        loaded = zoo.load(found_model)
        from celltally.batch.recount import Recounted, iter_recount, version_of
        from celltally.project.lineage import remember_lineages
        from celltally.project.new_version import iter_use_recount
        from celltally.project.recounts import Recount

        pending = Recount(store, version_of(loaded))
        try:

            def tell(draw: Callable[..., None], step: Progress) -> None:
                draw(step)
                if isinstance(step, Recounted):
                    for problem in dict.fromkeys(d.problem for d in step.differences if d.problem):
                        failure(problem)

            job = iter_recount(store, loaded, pending, device=device)
            found = follow(job, "recounting", tell)
            _show(found, out, as_json)
            if use:
                used = follow(iter_use_recount(store, pending), "using", draw_step)
                remember_lineages(store, [loaded.record, *zoo.available()])
                say(used.text)
            else:
                _say_what_next(file, pending, found)
        finally:
            pending.close()
    if any(one.after is None for one in found):
        raise typer.Exit(1)


def _leave(file: Path) -> None:
    from celltally.project.recounts import drop_recount

    with reading(file) as store:
        there = drop_recount(store)
    say("What was recounted is dropped." if there else "Nothing was recounted.")


def _say_what_next(file: Path, pending: Any, found: Sequence[Difference]) -> None:
    n = len({one.entry.id for one in found if one.after is not None})
    said = f"Recounted {n_images(n)} with {pending.by.text}; nothing of it is in force."
    if pending.stays:
        said += " Run it with --use to use the new version, or with --leave to drop it."
    say(said)


def _show(found: Sequence[Difference], out: Path | None, as_json: bool) -> None:
    from celltally.project.differences import largest_first, records, totals

    ordered = largest_first(found)
    if out is not None:
        from celltally.project.sheet import write_table

        write_table(out, records(ordered))
    if as_json:
        print_json(
            {
                "differences": records(ordered),
                "totals": [
                    asdict(one) | {"difference": one.difference, "percent": one.percent}
                    for one in totals(found)
                ],
            }
        )
        return
    if out is not None:
        say(f"Wrote {out}.")
    else:
        heads = ("image", "well", "condition", "before", "interval", "after", "interval")
        more = ("difference", "%", "corrected before", "corrected after", "flags")
        print_table((*heads, *more), [_row(one) for one in ordered])
    _print_totals(totals(found))


def _row(one: Difference) -> list[str]:
    after = one.after
    return [
        one.label,
        " ".join(part for part in (one.entry.plate, one.entry.well) if part),
        one.entry.condition,
        _number(one.before.count),
        _interval(one.before.interval),
        "" if after is None else _number(after.count),
        "" if after is None else _interval(after.interval),
        _signed(one.difference),
        _signed(one.percent),
        _number(one.before.corrected),
        "" if after is None else _number(after.corrected),
        "; ".join(one.flags),
    ]


def _print_totals(found: Sequence[Total]) -> None:
    films = any(one.t for one in found)
    rows = []
    for one in found:
        name = one.condition or "all images" if len(found) == 1 else one.condition or "no condition"
        row = [name, *([str(one.t)] if films else []), str(one.images)]
        row += [_number(one.before), _number(one.after)]
        row += [_signed(one.difference), _signed(one.percent), str(one.outside)]
        row += [_number(one.study_before), _number(one.study_after)]
        rows.append(row)
    heads = ["total", *(["t"] if films else []), "images", "before", "after", "difference", "%"]
    print_table([*heads, "outside", "corrected before", "corrected after"], rows)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.1f}"


def _interval(interval: Interval) -> str:
    return interval.kind if math.isnan(interval.low) else f"{interval.low:.1f}–{interval.high:.1f}"

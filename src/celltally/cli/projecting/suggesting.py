"""Which regions of a project are worth a review next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from celltally.cli._options import AsJson, Device
from celltally.cli._output import failure, follow, print_json, print_table, say
from celltally.cli.projecting._models import Learner, model_of
from celltally.cli.projecting._open import File, command, draw_step, reading
from celltally.errors import UserError

if TYPE_CHECKING:
    from celltally.batch.suggesting import Suggested, Suggestion

__all__ = ["register"]


def register(project: typer.Typer) -> None:
    """Add the commands."""
    command(project, suggest, "suggest study.celltally --n 10")


def suggest(
    file: File,
    model: Learner = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many regions.")] = 10,
    side: Annotated[
        float | None,
        typer.Option(
            metavar="PX",
            help="Side of a region in pixels; left out, 256, or eight cell diameters where that "
            "is more.",
        ),
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Suggest what to review next: regions from which a model would learn most.

    What was counted with the model is taken from the project; all else is counted now, and not
    kept. Ends with 1 when some images could not be looked at.
    """
    if side is not None and not 0 < side < float("inf"):
        raise UserError(f"--side is {side:g}; give a number of pixels above 0")
    from celltally import zoo
    from celltally.batch.suggesting import iter_suggest

    with reading(file) as store:
        loaded = zoo.load(model_of(store, model))
        job = iter_suggest(store, loaded, n, side_px=side, device=device)
        found = follow(job, "looking", draw_step)
    if as_json:
        print_json([_record(one) for one in found.suggestions])
    elif found.suggestions:
        print_table(("image", "plane", "window", "model's own error", "why"), _rows(found))
    else:
        say(f"Nothing in {file.name} is left to be reviewed.")
    for sentence in found.missing:
        failure(sentence)
    if found.missing:
        raise typer.Exit(1)


def _rows(found: Suggested) -> list[list[str]]:
    stacks = any((one.t, one.z) != (0, 0) for one in found.suggestions)
    rows = []
    for one in found.suggestions:
        y0, x0, y1, x1 = (round(edge + 0.5) for edge in one.window)
        plane = f"t {one.t}, z {one.z}" if stacks else ""
        error = f"±{one.expected_error:.1f}"
        rows.append([one.entry.name, plane, f"y {y0}–{y1}, x {x0}–{x1}", error, one.why])
    return rows


def _record(one: Suggestion) -> dict[str, Any]:
    """Put a suggestion as programs read it; corners as those of regions, -0.5 the first edge."""
    return {
        "image": one.entry.name,
        "path": None if one.entry.path is None else str(one.entry.path),
        "t": one.t,
        "z": one.z,
        "z_method": one.z_method,
        **dict(zip(("y0", "x0", "y1", "x1"), one.window, strict=True)),
        "expected_error": one.expected_error,
        "why": one.why,
    }

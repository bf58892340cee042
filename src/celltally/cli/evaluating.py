"""``celltally evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from celltally.cli._options import AsJson, Device, Level, ModelName
from celltally.cli._output import (
    INTERRUPTED,
    failure,
    follow,
    print_json,
    print_table,
    say,
)
from celltally.errors import UserError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: celltally evaluate my_cells/val --model general --out report/")(
        evaluate
    )


def evaluate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder.")],
    model: ModelName = "general",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for metrics.json, tables and plots."),
    ] = None,
    diameter: Annotated[
        str | None,
        typer.Option(
            metavar="auto|PX",
            help="Cell diameter in pixels, or auto to estimate it; else the data set's.",
        ),
    ] = None,
    explanations: Annotated[
        bool,
        typer.Option(
            "--explanations", help="Measure the explanations of a model with prototypes as well."
        ),
    ] = False,
    level: Level = 0.95,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare a model with a data set's labels.

    Ends with 0 when all images were counted, 1 when some failed, and 2 for wrong
    arguments.
    """
    size = _parse_diameter(diameter)
    from celltally.evaluate.report import iter_evaluate

    job = iter_evaluate(
        data, model=model, out=out, diameter=size, level=level, device=device,
        explanations=explanations,
    )  # fmt: skip
    try:
        report = follow(job, "evaluating", lambda draw, step: draw(step) if step.total else None)
    except KeyboardInterrupt:
        say("Stopped; nothing was written.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(report.to_dict())
    else:
        figures = {**report.metrics, **report.explanations}
        print_table(("figure", "value"), [(k, _figure(v)) for k, v in figures.items()])
        say(f"{report.model} on {report.dataset}; cell diameter: {report.diameter}.")
    for note in report.notes:
        say(note)
    messages = report.per_image["message"][report.per_image["status"] != "ok"]
    for message in messages:
        failure(str(message))
    if report.failed:
        raise typer.Exit(1)


def _parse_diameter(text: str | None) -> float | Literal["auto"] | None:
    if text is None:
        return None
    if text.strip().lower() == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"a cell diameter of {text!r} cannot be used: give a number of pixels, or auto"
        ) from None


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:d}" if isinstance(value, int) else f"{value:.4g}"

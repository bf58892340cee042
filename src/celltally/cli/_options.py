"""Options that several commands share, so that they are called and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "Channel",
    "Data",
    "Device",
    "Diameter",
    "Level",
    "ModelName",
    "NewModel",
    "Recursive",
    "Sample",
    "Seconds",
    "Seed",
    "Steps",
]

ModelName = Annotated[str, typer.Option(help="A model's name or folder.")]
Level = Annotated[float, typer.Option(help="Level of the intervals.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# ---- images ----

Diameter = Annotated[
    float | None,
    typer.Option(metavar="PX", help="Cell diameter in pixels; estimated if left out."),
]
Channel = Annotated[
    str | None,
    typer.Option(metavar="C", help="Channel by name or number from 0; guessed if left out."),
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Look into subfolders as well.")]

# ---- making a model ----

Data = Annotated[list[Path], typer.Argument(metavar="DATA", help="Data set folders.")]
NewModel = Annotated[Path, typer.Option(metavar="MODEL", help="Folder of the new model.")]
Sample = Annotated[
    str, typer.Option(metavar="WORDS", help="What it counts, for the list of models.")
]
Seconds = Annotated[
    float | None,
    typer.Option(help="Learn for so long; left out, so that all is done in about a minute."),
]
Steps = Annotated[int | None, typer.Option(help="Learn for so many steps.")]
Seed = Annotated[int, typer.Option(help="Same seed and --steps, same model.")]
